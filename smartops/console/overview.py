"""The overview: the mode, what needs a person, who reconciles, and the last 24 hours.

A number is the count of the list that it links to, by the filter of that list. The page takes a constant number of
queries.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import urlencode

from django.db.models import QuerySet
from django.http import HttpResponse, QueryDict
from django.shortcuts import render
from django.template.loader import render_to_string
from django.urls import reverse
from django.utils import timezone

from guardrails.models import GuardrailSetting
from guardrails.types import Limits
from orchestrator.models import Action
from orchestrator.models.keys import ACTIVE_IDS
from signals.models import Signal, SignalState
from signals.reasons import Reason
from signals.types import Mode
from smartops.console import actions, approvals, signals
from smartops.console.freshness import freshness, visible_to
from smartops.console.pages import ConsoleRequest, page
from smartops.console.trends import trends
from smartops.people.access import Access

MAX_COUNT = 1000  # beyond it, a number is said to be at least that
OLDEST = 3  # rows of each need


LISTS: Mapping[str, Callable[[QueryDict, Access], "QuerySet[Any]"]] = {
    "console:approvals": approvals.passing,
    "console:actions": actions.passing,
    "console:signals": signals.passing,
}


@dataclass(frozen=True, slots=True)
class Need:
    """What waits for a person: the rows of a list. `rows`: the oldest of them."""

    one: str
    many: str
    screen: str
    query: Mapping[str, str]
    tone: str = "warn"
    count: int = 0
    rows: tuple[Any, ...] = ()

    @property
    def href(self) -> str:
        return reverse(self.screen) + (f"?{urlencode(self.query)}" if self.query else "")

    @property
    def number(self) -> str:
        return f"{MAX_COUNT}+" if self.count > MAX_COUNT else str(self.count)

    @property
    def words(self) -> str:
        return self.one if self.count == 1 else self.many


APPROVALS, ACTIONS, SIGNALS = LISTS
NEEDS = (
    Need("action waits for an approval", "actions wait for an approval", APPROVALS, {}),
    Need("action needs a review", "actions need a review", ACTIONS, {"state": "needs_review"}),
    Need(
        "failed action opened by nobody", "failed actions opened by nobody", ACTIONS, {"state": actions.UNSEEN}, "bad"
    ),
    Need(
        "signal has waited for more than five minutes",
        "signals have waited for more than five minutes",
        SIGNALS,
        {"state": signals.WAITING},
    ),
    Need(
        "signal names no known workload",
        "signals name no known workload",
        SIGNALS,
        {"state": SignalState.PENDING, "reason": Reason.TARGET_UNIDENTIFIED},
    ),
)


@page
def overview(request: ConsoleRequest) -> HttpResponse:
    return render(request, "console/overview.html", {"parts": parts(request.access)})


def parts(access: Access) -> dict[str, str]:
    """What the page shows, as HTML by the ids of its elements: the same for everybody with this access."""
    day = trends(access, timezone.now())
    contexts: dict[str, dict[str, Any]] = {
        "mode": {"mode": mode(access)},
        "done": {"results": day.results},
        "needs": {"needs": needs(access), "oldest": oldest(access)},
        "heartbeats": {"freshness": visible_to(access, freshness())},
        "trends": {"trends": day},
    }
    return {name: render_to_string(f"console/overview/{name}.html", context) for name, context in contexts.items()}


def needs(access: Access) -> list[Need]:
    """Those that there are, each in two queries."""
    found = []
    # No row that waits is older: the queries leave out the partitions of other months.
    first = {APPROVALS: ACTIVE_IDS()[0], ACTIONS: ACTIVE_IDS()[0], SIGNALS: Signal.first_pending()}
    for need in NEEDS:
        rows = LISTS[need.screen](QueryDict(urlencode(need.query)), access).filter(pk__gte=first[need.screen])
        count = rows.order_by()[: MAX_COUNT + 1].count()
        found.append(replace(need, count=count, rows=tuple(_shown(rows).order_by("pk")[:OLDEST]) if count else ()))
    return [need for need in found if need.count]


def _shown(rows: "QuerySet[Any]") -> "QuerySet[Any]":
    return rows.select_related("workload", "verification") if rows.model is Action else rows.defer("payload")


def oldest(access: Access) -> Any:
    """The row that has waited for the longest: an active action, or a signal without a decision that ends it."""
    waiting = actions.passing(QueryDict("state=active"), access).filter(pk__range=ACTIVE_IDS())
    action = waiting.order_by("pk").first()
    signal = Signal.pending().defer("payload").filter(access.visible()).order_by("pk").first()
    return min((one for one in (action, signal) if one), key=lambda one: one.pk, default=None)


def mode(access: Access) -> dict[str, Any]:
    """`of_all`: the mode where no narrower setting has another; `others`: the settings that have one."""
    rows = GuardrailSetting.objects.filter(access.affecting(), mode__isnull=False).order_by("pk")
    set_ = list(rows[: MAX_COUNT + 1])
    everywhere = [one for one in set_ if not (one.cluster or one.kind or one.namespace or one.workload)]
    of_all = Mode(everywhere[0].mode) if everywhere and everywhere[0].mode else Limits().mode
    return {"of_all": of_all, "others": [one for one in set_ if one not in everywhere and one.mode != of_all]}
