"""What is known of a target when a decision is made: within the transaction that holds the workload's lock."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from django.db import connection

from guardrails.limits import LONGEST_WINDOW
from guardrails.models import COVERING, freeze_facts, merge_limits
from guardrails.policy_client import check_policy
from guardrails.types import AutoscalerFacts, Facts, FreezeFacts, Limits, PolicyAnswer, RecentAction, TargetFacts
from orchestrator.actions import HANDLERS
from orchestrator.k8s.fields import overlapping
from orchestrator.k8s.types import Deployment
from orchestrator.models import ACTIVE, Action, Workload
from signals.models import Signal
from signals.types import ActionType, Proposal, Target


@dataclass(frozen=True, slots=True)
class Look:
    """What the deciding process sees of the target in the cluster. The web process sees nothing: UNSEEN."""

    seen: bool
    managed: bool = True
    deployment: Deployment | None = None
    autoscaler: AutoscalerFacts | None = None
    autoscalers_unknown: str = ""  # why it is not known whether there is one

    def target(self, proposal: Proposal | None) -> TargetFacts | None:
        """As far as it concerns the proposal: a Deployment may have a hundred fields with an owner."""
        live = self.deployment
        if live is None:
            return None
        changed = () if proposal is None else tuple(HANDLERS[proposal.type].fields(proposal))
        concerned = ((owner, overlapping(owner.fields, changed)) for owner in live.owners)
        return TargetFacts(
            uid=live.uid,
            replicas=live.replicas,
            deleting=live.deleting,
            paused=live.paused,
            autoscaler=self.autoscaler,
            autoscalers_unknown=self.autoscalers_unknown,
            owners=tuple(replace(owner, fields=fields) for owner, fields in concerned if fields),
        )


UNSEEN = Look(seen=False)
UNMANAGED = Look(seen=True, managed=False)
Looker = Callable[[Target], Look]


@dataclass(frozen=True, slots=True)
class Standing:
    """What the database knows of a workload, all of one moment."""

    now: datetime
    busy_with: str
    cooldown_until: datetime | None
    recent: tuple[RecentAction, ...]
    freezes: tuple[FreezeFacts, ...]
    limits: Limits

    def facts(self, proposal: Proposal, look: Look, policy: PolicyAnswer | None) -> Facts:
        return Facts(
            target_seen=look.seen,
            target=look.target(proposal),
            managed=look.managed,
            busy_with=self.busy_with,
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


def standing(workload: Workload, action_type: ActionType, own: Action | None = None) -> Standing:
    """`own` is the action that is being planned: it does not stand in its own way."""
    parameters: dict[str, Any] = {
        "workload": workload.pk,
        "cluster": workload.cluster,
        "namespace": workload.namespace,
        "name": workload.name,
        "type": action_type,
        "active": list(ACTIVE),
        "own": own and own.pk,
        "window": LONGEST_WINDOW,
    }
    with connection.cursor() as cursor:
        cursor.execute(_STANDING, parameters)
        now, busy_with, cooldown_until, recent, freezes, settings = cursor.fetchone()
    return Standing(
        now=now,
        busy_with=str(busy_with or ""),
        cooldown_until=cooldown_until,
        recent=tuple(
            RecentAction(ActionType(type_), datetime.fromisoformat(at), increase)
            for type_, at, increase in recent or ()
        ),
        freezes=tuple(map(freeze_facts, freezes or ())),
        limits=merge_limits(settings or ()),
    )


def ask_policy(proposal: Proposal, requested_by: str, look: Look, signal: Signal | None = None) -> PolicyAnswer | None:
    """A network call: outside of transactions."""
    context: dict[str, Any] = {"origin": proposal.origin, "requested_by": requested_by, "target": None}
    if look.deployment is not None:
        context["target"] = {"uid": look.deployment.uid, "replicas": look.deployment.replicas}
    return check_policy(proposal, context, signal)
