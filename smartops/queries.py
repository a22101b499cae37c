"""Read queries that the API and the console share. `visible` is the condition of a person or a token for Workload,
Problem or Signal: the columns `cluster` and `namespace`."""

from collections.abc import Collection, Mapping
from datetime import timedelta
from typing import Any
from uuid import UUID

from django.db.models import Prefetch, Q, QuerySet

from orchestrator.models import ACTIVE, Action, DecisionRecord, Workload
from orchestrator.models.keys import ACTIVE_IDS
from signals.lib.partitions import first_id, time_of
from signals.models import Problem, Signal, SignalState
from smartops.people.access import EVERYTHING
from smartops.scan import MAX_PLACES, PLACE_FILTERS, Index, Places


def actions() -> QuerySet[Action]:
    """Actions with their workload and verification, in one query."""
    return Action.objects.select_related("workload", "verification")


def shown_actions() -> QuerySet[Action]:
    """For a list: with their workload, verification and signal. Queries of their own read the latter: joined,
    PostgreSQL plans for all months of each."""
    signals = Prefetch("signal", Signal.objects.defer("payload"))
    return Action.objects.select_related("workload").prefetch_related("verification", signals)


def of_signals(signals: Collection[Signal]) -> Prefetch[str, QuerySet[Action], str]:
    """The actions of these signals, newest first, to be prefetched. None is older than its signal; clocks differ."""
    first = min((one.pk for one in signals), default=UUID(int=0))
    since = first_id(time_of(first) - timedelta(days=1)) if signals else first
    rows = Action.objects.select_related("workload").prefetch_related("verification").filter(pk__gte=since)
    return Prefetch("actions", rows.order_by("-pk"))


def decisions(about: Q) -> QuerySet[DecisionRecord]:
    """Decisions, oldest first, without their inputs, which are large and only needed for a replay."""
    return DecisionRecord.objects.filter(about).defer("inputs").order_by("pk")


def in_states(states: Collection[str]) -> Q:
    """Of actions. The active ones are in few months."""
    found = Q(state__in=states)
    return found & Q(pk__gte=ACTIVE_IDS()[0]) if set(states) <= set(ACTIVE) else found


def in_state(state: str) -> Q:
    """Of signals. The pending ones are in few months."""
    found = Q(state=state)
    return found & Q(pk__gte=Signal.first_pending()) if state == SignalState.PENDING else found


def index_of_signals(state: str | None, reason: str | None) -> Index:
    """Of the reason, or else of the state: the condition, and what it covers in full."""
    if reason:
        return Index(Q(reason=reason), ("reason",))
    return Index(in_state(state), ("state",)) if state else Index()


def places_of_actions(visible: Q, names: Mapping[str, str]) -> Places | None:
    """The workloads that have these names: columns of Workload, `name` also with a lookup. None if they are all, or
    more than a few. One query."""
    if not names and visible == EVERYTHING:
        return None
    found = _named(Workload.objects.filter(visible), names, ["pk"])
    return None if len(found) > MAX_PLACES else Places({"workload": "bigint"}, sorted(found))


def places_of_signals(visible: Q, names: Mapping[str, str]) -> Places | None:
    """The same for signals. Their problems and their actions have the names. Only an identified signal that led to no
    action may have another one. Two queries."""
    if not names and visible == EVERYTHING:
        return None
    found = _named(Problem.objects.filter(visible), signal_columns(names), ["cluster", "namespace", "workload"])
    found |= _named(Workload.objects.filter(visible), names, ["cluster", "namespace", "name"])
    columns = dict.fromkeys(("cluster", "namespace", "workload"), "text")
    covers, identified = PLACE_FILTERS - {"kind"}, Q(naming__isnull=False)
    return None if len(found) > MAX_PLACES else Places(columns, sorted(found), covers, identified)


def signal_columns(names: Mapping[str, str]) -> dict[str, str]:
    """The conditions on Workload as those on Problem or Signal, which have the name of the workload in `workload`:
    `name__icontains` becomes `workload__icontains`."""
    return {
        name.replace("name", "workload") if name.split("__")[0] == "name" else name: value
        for name, value in names.items()
    }


def _named(rows: "QuerySet[Any]", names: Mapping[str, str], columns: list[str]) -> set[tuple[Any, ...]]:
    """One more than a few, if there are so many."""
    return set(rows.filter(**names).order_by().values_list(*columns).distinct()[: MAX_PLACES + 1])
