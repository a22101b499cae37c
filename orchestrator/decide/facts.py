"""What is known of a target when a decision is made: within the transaction that holds the workload's lock."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db import connection

from guardrails.checks.limits import MAX_WINDOW
from guardrails.models import freeze_facts, merge_limits
from guardrails.policies.opa import check_policy
from guardrails.queries import COVERING
from guardrails.types import Facts, FreezeFacts, Limits, PolicyAnswer, RecentAction
from orchestrator.actions import HANDLERS
from orchestrator.k8s.target import TargetState
from orchestrator.models import ACTIVE, Action, Workload
from signals.models import Signal
from signals.types import ActionType, Proposal


@dataclass(frozen=True, slots=True)
class WorkloadHistory:
    """What the database knows of a workload, all of one moment."""

    now: datetime
    active_action: str
    cooldown_until: datetime | None
    recent: tuple[RecentAction, ...]
    freezes: tuple[FreezeFacts, ...]
    limits: Limits

    def facts(self, proposal: Proposal, look: TargetState, policy: PolicyAnswer | None) -> Facts:
        return Facts(
            target_seen=look.seen,
            target=look.facts(HANDLERS[proposal.type].fields(proposal)),
            managed=look.managed,
            active_action=self.active_action,
            cooldown_until=self.cooldown_until,
            recent=self.recent,
            freezes=self.freezes,
            policy=policy,
        )


# One statement, for one snapshot and one round trip: a decision is made twice for every action. Dry runs change nothing
# and do not count; direct actions do.
_STANDING = f"""
    SELECT
        clock_timestamp(),
        (SELECT id FROM orchestrator_action
            WHERE workload_id = %(workload)s AND state = ANY(%(active)s) AND id IS DISTINCT FROM %(own)s LIMIT 1),
        (SELECT until FROM guardrails_cooldown
            WHERE cluster = %(cluster)s AND namespace = %(namespace)s AND workload = %(name)s
            AND action_type = %(type)s),
        (SELECT json_agg(json_build_array(type, applied_at, scale_increase) ORDER BY applied_at)
            FROM orchestrator_action
            WHERE workload_id = %(workload)s AND NOT dry_run AND applied_at > statement_timestamp() - %(window)s),
        (SELECT json_agg(rows ORDER BY id) FROM guardrails_freeze rows
            WHERE {COVERING} AND coalesce(until > statement_timestamp(), true)),
        (SELECT json_agg(rows) FROM guardrails_guardrailsetting rows WHERE {COVERING})
"""  # noqa: S608 - it is composed of constants


def load_history(workload: Workload, action_type: ActionType, own: Action | None = None) -> WorkloadHistory:
    """`own` is the action that is being planned: it does not stand in its own way."""
    parameters: dict[str, Any] = {
        "workload": workload.pk,
        "cluster": workload.cluster,
        "namespace": workload.namespace,
        "name": workload.name,
        "type": action_type,
        "active": list(ACTIVE),
        "own": own and own.pk,
        "window": MAX_WINDOW,
    }
    with connection.cursor() as cursor:
        cursor.execute(_STANDING, parameters)
        now, active_action, cooldown_until, recent, freezes, settings = cursor.fetchone()
    return WorkloadHistory(
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


def ask_policy(
    proposal: Proposal, requested_by: str, look: TargetState, signal: Signal | None = None
) -> PolicyAnswer | None:
    """A network call: outside of transactions."""
    context: dict[str, Any] = {"origin": proposal.origin, "requested_by": requested_by, "target": None}
    if look.deployment is not None:
        context["target"] = {"uid": look.deployment.uid, "replicas": look.deployment.replicas}
    return check_policy(proposal, context, signal)
