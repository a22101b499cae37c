"""The query of the external policy engine, with the context of a decision."""

from typing import Any

from django.conf import settings

from guardrails.policies.opa import check_policy
from guardrails.types import PolicyAnswer
from orchestrator.k8s.target import TargetState
from signals.models import Signal
from signals.types import Proposal


def policy_is_configured() -> bool:
    return bool(settings.SMARTOPS_OPA_URL)


def query_policy(proposal: Proposal, state: TargetState, signal: Signal | None = None) -> PolicyAnswer | None:
    """A network call: never within a transaction, and in a reconciler on a thread of the pool."""
    context: dict[str, Any] = {"origin": proposal.origin, "requested_by": proposal.requested_by, "target": None}
    if state.object is not None:
        context["target"] = {"uid": state.object.uid, "replicas": state.object.replicas}
    return check_policy(proposal, context, signal)
