"""The preview of a change of settings, as its page shows it: one step for each request."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from django.http.response import HttpResponseBase
from django.shortcuts import render

from guardrails.what_if.types import Comparison, Edit
from orchestrator.models import Preview
from orchestrator.what_if import preview
from orchestrator.what_if.deferred import would_run
from smartops.console.acts import person
from smartops.console.filters import as_id
from smartops.console.pages import ConsoleRequest, act
from smartops.people.access import Right

WINDOWS = {
    "day": ("Last 24 hours", timedelta(days=1)),
    "week": ("Last 7 days", timedelta(days=7)),
    "month": ("Last 30 days", timedelta(days=30)),
}
STEP = 1.0  # seconds
MAX_RUNNING = 3  # previews of different persons, in all web processes
TOO_MANY = (
    "No preview was begun: {number} previews of other persons are running, which is the limit. Save without a preview, "
    "or try again in a minute."
)
ENDED = (
    "This preview has ended: you have begun or stopped another one since, or it was not continued for ten minutes. "
    "To see it, preview the change again."
)


def begun(request: ConsoleRequest, edits: Sequence[Edit], window: str) -> dict[str, Any]:
    """A preview of the edits, as the context of a template that includes console/preview.html; `no_preview` says why
    there is none."""
    chosen = window if window in WINDOWS else "day"
    if (number := preview.running(person(request))) >= MAX_RUNNING:
        return {"no_preview": TOO_MANY.format(number=number), "window": chosen}
    return _shown(request, preview.begin(person(request), edits, WINDOWS[chosen][1])) | {"window": chosen}


@act(Right.READ)
def step(request: ConsoleRequest) -> HttpResponseBase:
    """GET: the latest preview of the person. POST: the next step of `preview`, its id, or with `stop` its end. While
    another step is made, it is shown as it is. What was evaluated stays on the page of a preview that was stopped. Who
    may begin a preview is asked by the form of the change."""
    own, more = preview.rows().filter(owner=person(request)), {"waits": False}
    if request.method != "POST":
        row = own.first()
        return render(request, "console/preview_page.html", {} if row is None else _shown(request, row))
    template = "console/preview.html" if "HX-Request" in request.headers else "console/preview_page.html"
    pk = as_id(request.POST.get("preview", ""))
    row = None if pk is None else own.filter(pk=pk).first()
    if row is None:
        return render(request, template, {"no_preview": ENDED})
    if "stop" in request.POST:
        preview.stop(row.owner)
        more = {"stopped": True}
    else:
        advanced = preview.advance(row.pk, request.access.visible(), STEP)
        if advanced is None:
            return render(request, template, {"no_preview": ENDED})
        row, more = advanced, {"waits": advanced.touched_at == row.touched_at}
    return render(request, template, _shown(request, row) | more)


def _shown(request: ConsoleRequest, row: Preview) -> dict[str, Any]:
    row = preview.current(row, request.access.visible())
    result = preview.result_of(row)
    context: dict[str, Any] = {
        "preview": row,
        "result": result,
        "percent": preview.progress(row),
        "kinds": sorted(result.kinds.items(), key=lambda one: -one[1]),
        "doubts": [(doubt.words, count) for doubt, count in result.doubts.items()],
        "not_made": result.counts.get(Comparison.NOT_MADE, 0),
        "unknown": result.counts.get(Comparison.UNKNOWN, 0),
        "same": result.counts.get(Comparison.SAME, 0),
    }
    if row.finished_at is not None:
        context["runs"], context["more_runs"] = would_run(preview.draft_of(row), request.access.visible())
    return context
