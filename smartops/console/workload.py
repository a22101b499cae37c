"""The page of one workload: what a reconciler has observed, what the guardrails leave, what was done. It takes a
constant number of queries."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db.models import Q, QuerySet
from django.http import Http404, HttpResponse
from django.shortcuts import render

from guardrails.models import LIMIT_FIELDS, Cooldown, Freeze
from guardrails.words import Budget, budgets, in_words
from orchestrator.acts.freezes import FreezeScope
from orchestrator.decide.history import Wanted, WorkloadHistory, load_history
from orchestrator.models import ACTIVE, Action, ObservedNamespace, ObservedWorkload, Workload
from signals.models import Problem, Signal
from signals.names import name_problems
from signals.types import Kind, Target
from smartops import queries
from smartops.console import listing, workloads
from smartops.console.freshness import Freshness
from smartops.console.held_back import HeldBack, of_workload, page_state
from smartops.console.pages import ConsoleRequest, page
from smartops.people.access import Right

SHOWN = 20  # actions, signals and problems


@dataclass(frozen=True, slots=True)
class Limit:
    text: str
    source: str  # default, or the scope that sets it


@dataclass(frozen=True, slots=True)
class Known:
    """What the database has of a workload. `complete_at`: when the snapshot had everything of the cache last."""

    target: Target
    observed: ObservedWorkload | None
    complete_at: datetime | None
    history: WorkloadHistory
    cooldowns: list[Cooldown]
    freezes: list[Freeze]
    actions: list[Action]
    signals: list[Signal]
    problems: list[Problem]

    @property
    def limits(self) -> list[Limit]:
        limits = self.history.limits
        return [Limit(in_words(name, getattr(limits, name)), limits.sources[name]) for name in LIMIT_FIELDS]

    @property
    def budgets(self) -> tuple[Budget, ...]:
        return budgets(self.history.limits, self.history.recent, self.history.now)

    @property
    def missing(self) -> int:
        return 0 if self.observed is None else max(0, self.observed.replicas - self.observed.available)


@page
def workload(request: ConsoleRequest, cluster: str, kind: str, namespace: str, name: str) -> HttpResponse:
    target = visible_target(request, cluster, kind, namespace, name)
    known = load(target)
    if known is None:
        raise Http404
    may = request.access.may_change(Right.ACT, target)
    for freeze in known.freezes:
        freeze.hold = FreezeScope.of_freeze(freeze) == FreezeScope.of(target)  # type: ignore[attr-defined]
        freeze.liftable = request.access.may(Right.ACT, freeze.cluster, freeze.namespace)  # type: ignore[attr-defined]
    has_hold = any(freeze.hold for freeze in known.freezes)  # type: ignore[attr-defined]
    context = {
        "known": known,
        "target": target,
        "may": may,
        "has_hold": has_hold,
        "held_back": () if known.observed is None else _held_back(known, known.observed, request.freshness),
        "around": _around(request, target),
    }
    return render(request, "console/workload.html", context)


def _held_back(known: Known, row: ObservedWorkload, now: Freshness) -> tuple[HeldBack, ...]:
    active = next((one for one in known.actions if one.state in ACTIVE and not one.dry_run), None)
    return tuple(of_workload(row, known.history, known.cooldowns, active, page_state(known.freezes, now)))


def _around(request: ConsoleRequest, target: Target) -> listing.Around:
    """Also of a workload that is not observed now: by its name."""

    def address(row: ObservedWorkload) -> str:
        return workloads.address(row.cluster, row.kind, row.namespace, row.name)

    row = ObservedWorkload(cluster=target.cluster, kind=target.kind, namespace=target.namespace, name=target.name)
    rows, order = workloads.observed(request.access), workloads.ORDER
    return listing.around(request, workloads.WorkloadFilter, rows, row, "console:workloads", address, order)


def visible_target(request: ConsoleRequest, cluster: str, kind: str, namespace: str, name: str) -> Target:
    """Raises Http404 for what is no workload, or may not be seen."""
    impossible = name_problems(cluster=cluster, namespace=namespace, workload=name)
    if impossible or kind not in set(Kind) or not request.access.may(Right.READ, cluster, namespace):
        raise Http404
    return Target(cluster, namespace, name, Kind(kind))


def load(target: Target) -> Known | None:
    """None if no reconciler has observed it, and nothing was ever decided about it."""
    names = {"cluster": target.cluster, "kind": target.kind, "namespace": target.namespace}
    observed = ObservedWorkload.objects.filter(**names, name=target.name).first()
    row = Workload.objects.filter(**names, name=target.name).first()
    if observed is None and row is None:
        return None
    complete = ObservedNamespace.of(target).order_by("-complete_at").values_list("complete_at", flat=True).first()
    [history] = load_history([Wanted(target, None if row is None else row.pk)])
    signals = list(_latest(Signal.objects.defer("payload"), Q(**names, workload=target.name)))
    # A detector that has its own name for the workload reports a problem of that name.
    problems = Problem.objects.filter(Q(**names, workload=target.name) | Q(pk__in=[one.fingerprint for one in signals]))
    return Known(
        target=target,
        observed=observed,
        complete_at=complete,
        history=history,
        cooldowns=list(Cooldown.objects.filter(**names, workload=target.name, until__gt=history.now).order_by("until")),
        freezes=list(Freeze.in_force(target).order_by("pk")),
        actions=list(_latest_actions(row)),
        signals=signals,
        problems=list(problems.order_by("source", "symptom")[:SHOWN]),
    )


def _latest_actions(row: Workload | None) -> "QuerySet[Action]":
    return _latest(queries.actions().select_related("signal").defer("signal__payload"), Q(workload=row and row.pk))


def _latest(rows: "QuerySet[Any]", where: Q) -> "QuerySet[Any]":
    return rows.filter(where).order_by("-pk")[:SHOWN]
