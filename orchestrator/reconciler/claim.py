"""An action that this process holds."""

from dataclasses import dataclass

from opentelemetry.trace import Span

from guardrails.types import Limits
from orchestrator import metrics
from orchestrator.k8s.errors import ClusterError
from orchestrator.models import Action, transitions
from orchestrator.models.transitions import Transition
from orchestrator.reconciler.retry import Fail, NextMove, Retry, Review
from signals.lib import tracing


@dataclass(slots=True, eq=False)
class Claim:
    """From the claim to the recorded outcome, or to the end of the lease. `limits` are those under which the plan was
    made. `writes` counts the requests of this claim. `unanswered` is the error of its last write, if that may have been
    applied. `last_message` is that of the attempt before."""

    action: Action
    span: Span
    limits: Limits | None = None
    writes: int = 0
    unanswered: ClusterError | None = None
    last_message: str = ""

    @classmethod
    def of(cls, action: Action, limits: Limits | None = None, last_message: str = "") -> "Claim":
        span = tracing.start_span("execute", action.traceparent, signal=action.signal_id, action=action.pk)
        return cls(action, span, limits, last_message=last_message)

    def follow(self, move: NextMove, actor: str) -> Transition:
        """The transition that a failed call leads to."""
        match move:
            case Retry(reason, message, delay):
                metrics.RETRIES.labels(type=self.action.type.lower(), reason=reason).inc()
                return transitions.retry(self.action, reason, message, delay, actor, ambiguous=self.action.ambiguous)
            case Fail(reason, message):
                return transitions.fail(self.action, reason, message, actor)
            case Review(message):
                return transitions.require_review(self.action, message, actor)
