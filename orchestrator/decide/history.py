"""What the database knows about workloads when decisions are made on them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from django.utils import timezone

from guardrails.checks.refused import REFUSAL_WINDOW
from guardrails.checks.windows import MAX_WINDOW
from guardrails.models import freeze_facts, merge_limits
from guardrails.types import Facts, FailedVerification, FreezeFacts, Limits, RecentAction, RefusedFacts, TargetFacts
from orchestrator import queries
from signals.lib.partitions import COUNTED_FOR, first_id, generic_plan
from signals.types import ActionType, Mode, Target


@dataclass(frozen=True, slots=True)
class Wanted:
    """`workload` is the id of its row, None if it has none. `own` is an action that does not count as active, because
    the decision is about it. `rule`: the name of the rule that requested it. `votes_on`: the action whose votes are
    wanted."""

    target: Target
    workload: int | None = None
    action_type: ActionType | None = None
    params: Mapping[str, Any] | None = None
    own: UUID | None = None
    rule: str = ""
    votes_on: UUID | None = None


@dataclass(frozen=True, slots=True)
class Scaled:
    """The last action that added replicas, unless all of them have been available since: from how many to how many, of
    which object."""

    before: int
    to: int
    uid: str

    def wanted_of(self, target: TargetFacts | None) -> int | None:
        """The replicas that the target should have since. None if somebody has removed those that were added, or has
        created it anew."""
        is_gone = target is not None and (target.uid != self.uid or target.replicas <= self.before)
        return None if is_gone else self.to


class RuleNow(NamedTuple):
    """The enabled rule that requested an action, as it is now."""

    version: int
    mode: Mode


@dataclass(frozen=True, slots=True)
class WorkloadHistory:
    """Its active action, cooldown, recent, refused and failed actions, with the freezes and limits that cover it: all
    of one moment. `rule`: the wanted one, if it is enabled. `votes`: the last decision of each
    person on the action, as (by, decision, digest)."""

    now: datetime
    active_action: str  # its id, or ""
    cooldown_until: datetime | None
    recent: tuple[RecentAction, ...]
    refused: RefusedFacts | None
    scaled: Scaled | None
    freezes: tuple[FreezeFacts, ...]
    limits: Limits
    failed: FailedVerification | None = None
    rule: RuleNow | None = None
    votes: tuple[tuple[str, str, str], ...] = ()

    def added_to(self, facts: Facts) -> Facts:
        """The facts with what the history says."""
        return replace(
            facts,
            history_loaded=True,
            active_action=self.active_action,
            cooldown_until=self.cooldown_until,
            recent=self.recent,
            refused=self.refused,
            scaled_to=None if self.scaled is None else self.scaled.wanted_of(facts.target),
            freezes=self.freezes,
            failed=self.failed,
        )


def load_history(wanted: Sequence[Wanted]) -> list[WorkloadHistory]:
    """In one statement for all of them, which has one snapshot. In the order given."""
    if not wanted:
        return []
    rows = [
        {
            "number": number,
            "workload": one.workload,
            "cluster": one.target.cluster,
            "kind": one.target.kind,
            "namespace": one.target.namespace,
            "name": one.target.name,
            "type": one.action_type,
            "params": None if one.params is None else dict(one.params),
            "own": one.own and str(one.own),
            "rule": one.rule,
            "votes_on": one.votes_on and str(one.votes_on),
        }
        for number, one in enumerate(wanted)
    ]
    with generic_plan():
        found = queries.fetch(
            queries.HISTORIES,
            rows,
            window=MAX_WINDOW.total_seconds(),
            refusal_window=REFUSAL_WINDOW.total_seconds(),
            first=first_id(timezone.now() - COUNTED_FOR),
        )
    return [
        WorkloadHistory(
            now=now,
            active_action=str(active_action or ""),
            cooldown_until=cooldown_until,
            recent=tuple(
                RecentAction(ActionType(type_), datetime.fromisoformat(at), increase, decrease)
                for type_, at, increase, decrease in recent or ()
            ),
            refused=_refused(*refused),
            scaled=Scaled(*scaled) if scaled else None,
            freezes=tuple(map(freeze_facts, freezes or ())),
            limits=merge_limits(settings or ()),
            failed=FailedVerification(*failed) if failed else None,
            rule=RuleNow(rule[0], Mode(rule[1])) if rule else None,
            votes=tuple((by, decision, digest) for by, decision, digest in votes or ()),
        )
        for (
            now,
            active_action,
            cooldown_until,
            failed,
            rule,
            votes,
            recent,
            refused,
            scaled,
            freezes,
            settings,
        ) in found
    ]


def _refused(count: int, at: str | None, message: str | None) -> RefusedFacts | None:
    return RefusedFacts(count, datetime.fromisoformat(at), message or "") if at is not None else None
