"""What the database knows about workloads when decisions are made on them."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from guardrails.checks.windows import MAX_WINDOW
from guardrails.models import freeze_facts, merge_limits
from guardrails.types import FreezeFacts, Limits, RecentAction
from orchestrator import queries
from signals.types import ActionType, Target


@dataclass(frozen=True, slots=True)
class Wanted:
    """`workload` is the id of its row, None if it has none. `own` is an action that does not count as active, because
    the decision is about it."""

    target: Target
    workload: int | None = None
    action_type: ActionType | None = None
    own: UUID | None = None


@dataclass(frozen=True, slots=True)
class WorkloadHistory:
    """Its active action, cooldown and recent actions, with the freezes and limits that cover it: all of one moment."""

    now: datetime
    active_action: str  # its id, or ""
    cooldown_until: datetime | None
    recent: tuple[RecentAction, ...]
    freezes: tuple[FreezeFacts, ...]
    limits: Limits


def load_history(wanted: Sequence[Wanted]) -> list[WorkloadHistory]:
    """In one statement for all of them: one snapshot and one round trip. In the order given."""
    rows = [
        {
            "number": number,
            "workload": one.workload,
            "cluster": one.target.cluster,
            "namespace": one.target.namespace,
            "name": one.target.name,
            "type": one.action_type,
            "own": one.own and str(one.own),
        }
        for number, one in enumerate(wanted)
    ]
    return [
        WorkloadHistory(
            now=now,
            active_action=str(active_action or ""),
            cooldown_until=cooldown_until,
            recent=tuple(
                RecentAction(ActionType(type_), datetime.fromisoformat(at), increase)
                for type_, at, increase in recent or ()
            ),
            freezes=tuple(map(freeze_facts, freezes or ())),
            limits=merge_limits(settings or ()),
        )
        for now, active_action, cooldown_until, recent, freezes, settings in queries.fetch(
            queries.HISTORIES, rows, MAX_WINDOW.total_seconds()
        )
    ]
