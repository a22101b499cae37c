"""The form of what people tune: what was entered, then a preview of its effect, then the change."""

from typing import Any

from django.contrib import messages
from django.db import transaction
from django.db.models import Model
from django.http.response import HttpResponseBase
from django.shortcuts import redirect, render
from django.urls import reverse

from orchestrator.what_if.draft import edit_of
from signals.lib.acting import give_reason
from smartops.console.differences import column_values
from smartops.console.pages import ConsoleRequest
from smartops.console.previews import WINDOWS, begun
from smartops.console.tuned import Tuned, check, require


def edit(request: ConsoleRequest, tuned: Tuned, pk: int | None = None, initial: Any = None) -> HttpResponseBase:
    """GET: the form. POST: the preview of what was entered; the form again (`again`); or, with `save`, the change."""
    with transaction.atomic():
        row = None if pk is None else tuned.find(request, pk, lock=request.method == "POST")
        if row is not None:
            require(request, tuned, row)
        if request.method != "POST":
            form = tuned.bound(None, row)
            form.initial |= initial or {}
            return _form(request, tuned, form, pk)
        before = None if pk is None else tuned.find(request, pk)
        form = tuned.bound(request.POST, row)
        check(request, tuned, form)
        if form.errors or "again" in request.POST:
            return _form(request, tuned, form, pk, status=422 if form.errors else 200)
        if "save" in request.POST:
            give_reason(form.reason)
            saved = form.save()
            messages.success(request, f"Saved: {saved}.")
            return redirect(tuned.address(saved))
    return _preview(request, tuned, form, before)


def _form(request: ConsoleRequest, tuned: Tuned, form: Any, pk: int | None, status: int = 200) -> HttpResponseBase:
    back = reverse(f"console:{tuned.screen}") if pk is None else reverse(f"console:{tuned.name}", args=[pk])
    title = f"Add {_article(tuned.noun)}" if pk is None else f"Change the {tuned.noun} “{form.instance}”"
    context = {"form": form, "title": title, "back": back, "tuned": tuned, "note": tuned.prepare(request, form)}
    return render(request, "console/tune.html", context, status=status)


def _preview(request: ConsoleRequest, tuned: Tuned, form: Any, before: Model | None) -> HttpResponseBase:
    after = form.instance
    context = {
        "form": form,
        "title": f"{after}",
        "tuned": tuned,
        "lines": tuned.difference(None if before is None else column_values(before), column_values(after)),
        **tuned.facts(request, after),
    }
    if tuned.decides:
        window = request.POST.get("window", "")
        context |= begun(request, [edit_of(before, after)], window) | {"windows": WINDOWS}
    return render(request, "console/tune_preview.html", context)


def _article(noun: str) -> str:
    return f"{'an' if noun[0] in 'aeiou' else 'a'} {noun}"
