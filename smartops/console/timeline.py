"""What happened to an action or a signal, in order: reports, decisions, transitions."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import pairwise

from orchestrator.models import Action, AuditEvent, DecisionRecord
from signals.models import Signal


@dataclass(frozen=True, slots=True)
class Moment:
    """`state`: its icon and its colour. `since`: the time since the moment before it."""

    at: datetime
    state: str
    title: str
    reason: str = ""
    message: str = ""
    by: str = ""
    since: timedelta | None = None


def in_order(*kinds: Iterable[Moment]) -> list[Moment]:
    moments = sorted((moment for kind in kinds for moment in kind), key=lambda one: one.at)
    return moments[:1] + [replace(later, since=later.at - earlier.at) for earlier, later in pairwise(moments)]


def of_signal(signal: Signal) -> Iterator[Moment]:
    by = signal.posted_by or ", ".join(signal.reported_by)
    yield Moment(signal.first_seen_at, "signal", "Reported", message=f"{signal.symptom}, by {signal.source}", by=by)
    if signal.resolved_at:
        yield Moment(signal.resolved_at, "resolved", "Resolved", message="The source reports that the problem is over.")


def of_decisions(decisions: Iterable[DecisionRecord]) -> Iterator[Moment]:
    for one in decisions:
        phase = "before the write" if one.phase == "plan" else "at admission"
        message = one.message or f"{len(one.verdicts)} guardrails were evaluated."
        yield Moment(one.created_at, one.outcome, f"Decision {phase}", one.reason, message, one.requested_by)


def of_events(events: Iterable[AuditEvent]) -> Iterator[Moment]:
    for one in events:
        yield Moment(one.at, one.to_state, "", one.reason, one.message, one.actor)


def of_actions(actions: Iterable[Action]) -> Iterator[Moment]:
    for one in actions:
        yield Moment(one.created_at, "pending", "Action created", message=str(one), by=one.requested_by)
        if one.finished_at:
            yield Moment(one.finished_at, one.state, "", one.reason, one.message, one.moved_by)
