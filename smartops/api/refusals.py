"""The HTTP status and problem document of an action that was not applied."""

from collections.abc import Mapping

from guardrails.replay import dump_verdicts
from guardrails.types import Defer, Deny, Ignore
from orchestrator.models import Action
from signals.reasons import Reason
from smartops.api.problems import ProblemDetails

CONFLICT = 409  # the current state does not allow the action; a later request may succeed
STATUS: Mapping[str, int] = {
    Reason.REPLICA_LIMIT: 400,
    Reason.PATCH_FORBIDDEN: 400,
    Reason.UNSUPPORTED_BY_KIND: 400,
    Reason.POLICY_DENIED: 403,
    Reason.POLICY_UNAVAILABLE: 403,
    Reason.TARGET_NOT_FOUND: 404,
    Reason.CLUSTER_REJECTED: 422,
    Reason.CLUSTER_FORBIDDEN: 502,
    Reason.CLUSTER_UNREACHABLE: 503,
    Reason.CLUSTER_ERROR: 503,
    Reason.ADMISSION_UNAVAILABLE: 503,
    Reason.CLUSTER_THROTTLED: 503,
    Reason.RETRIES_EXHAUSTED: 503,
    Reason.ACTION_EXPIRED: 503,
}


def of_decision(decision: Defer | Deny | Ignore) -> ProblemDetails:
    until = None if isinstance(decision, Ignore) else decision.until
    return ProblemDetails(
        STATUS.get(decision.reason, CONFLICT),
        decision.reason,
        decision.message,
        details=dict(decision.details),
        verdicts=dump_verdicts(decision.verdicts),
        next_allowed_at=until and until.isoformat(),
    )


def of_action(action: Action) -> ProblemDetails:
    """For an action that ended before its change was applied."""
    status = STATUS.get(action.reason, CONFLICT)
    return ProblemDetails(status, action.reason, action.message, details=action.details, action=str(action.pk))
