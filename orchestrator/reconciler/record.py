"""Verb 5: the answers to writes are recorded, as many as have arrived.

Input: answers of the API server. Output: the actions whose verification begins. Side effects: one transaction for all
answers. An unclear answer is not recorded: the target is read first (`calls.read`), which shows whether the write was
applied.
"""

from collections.abc import Callable, Sequence

from guardrails.models import effective_limits
from orchestrator.k8s.errors import ClusterError, Conflict, Unknown
from orchestrator.k8s.types import WorkloadObject
from orchestrator.models import Action, ActionState, transition_store, transitions
from orchestrator.models.transition_store import Transition
from orchestrator.reconciler.calls import Answer
from orchestrator.reconciler.claim import record_claim_failure
from orchestrator.reconciler.retry import next_move

MAX_WRITES = 5  # within one claim


def mark_ambiguous(answer: Answer) -> None:
    """A write without a clear answer may have been applied."""
    if isinstance(answer.result, Unknown):
        answer.claim.ambiguous = True
        answer.claim.unanswered = answer.result


def is_unclear(answer: Answer) -> bool:
    """Whether the target has to be read: another change came between, or nobody knows whether ours was applied."""
    conflict = isinstance(answer.result, Conflict) and answer.claim.writes < MAX_WRITES
    return conflict or isinstance(answer.result, Unknown)


def record(answers: Sequence[Answer], actor: str, jitter: Callable[[], float]) -> list[Action]:
    """Stores what the answers lead to. Returns the actions whose verification begins; the others have ended, wait for
    their next attempt, or were taken over by another process."""
    stored = transition_store.store([_transition(one, actor, jitter()) for one in answers])
    return [one.action for one in stored if one.to == ActionState.VERIFYING]


def record_failure(answer: Answer, error: Exception, actor: str) -> None:
    """The answer could not be recorded, or the call failed unexpectedly: the change may have been applied."""
    record_claim_failure(answer.claim, error, actor)


def _transition(answer: Answer, actor: str, jitter: float) -> Transition:
    claim, action = answer.claim, answer.claim.action
    match answer.result:
        case WorkloadObject() as written:
            limits = claim.limits or effective_limits(action.workload.target)
            return transitions.apply(action, written, limits, actor)
        case ClusterError() as error:
            return claim.follow(next_move(error, action.attempts, claim.ambiguous, jitter), actor)
        case error:
            raise error
