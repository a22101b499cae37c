"""Publishes on the target, as Kubernetes Events: each applied change, each failure, each refusal or deferral, and each
step of an approval.

A success that was verified is no Event: the workload shows it itself.
"""

from collections.abc import Mapping
from dataclasses import replace

from guardrails.replay import load_inputs
from guardrails.types import Outcome as Decided
from orchestrator import links
from orchestrator.k8s import errors
from orchestrator.k8s.cluster import Cluster
from orchestrator.k8s.events import EventType, KubernetesEvent
from orchestrator.k8s.metrics import EVENTS_DROPPED
from orchestrator.k8s.types import WorkloadKey
from orchestrator.models import ActionState as S
from orchestrator.publish.types import (
    DecisionEntry,
    Dropped,
    Entry,
    Ignored,
    Outcome,
    Published,
    Retry,
    Terms,
    TransitionEntry,
)
from signals.mapping import Unmatched, Waiting, propose
from signals.proposals import PROPOSAL_TYPES
from signals.reasons import Reason
from signals.types import ActionType

REMEMBERED = 10_000  # names of Events that need not be sent again
PATH = "/console"  # in the place of the console's address, where that is not set
PROBLEMS: Mapping[str, str] = {
    S.PENDING: "deferred",
    S.CANCELLED: "refused",
    S.FAILED: "failed",
    S.TIMED_OUT: "timed out",
    S.NEEDS_REVIEW: "needs a review",
    S.REJECTED: "rejected",
    S.EXPIRED: "expired",
}
# Steps of an approval that worked, or wait for persons. Their reasons say which.
STEPS: Mapping[tuple[str, str], str] = {
    ("", S.AWAITING_APPROVAL): "waits for an approval",
    (S.APPLYING, S.AWAITING_APPROVAL): "waits for an approval",
    (S.AWAITING_APPROVAL, S.AWAITING_APPROVAL): "waits for an approval",
    (S.AWAITING_APPROVAL, S.PENDING): "approved",
    ("", S.OBSERVED): "observed, not done",
    (S.APPLYING, S.OBSERVED): "observed, not done",
    (S.AWAITING_APPROVAL, S.OBSERVED): "observed, not done",
}
VERDICTS: Mapping[str, str] = {Decided.DENY: "refused", Decided.DEFER: "deferred"}

# Not worth an Event: it resolves itself, its time is over, the object is gone, or the API server is unavailable.
SUPPRESSED = frozenset(
    {
        Reason.TARGET_BUSY,
        Reason.SIGNAL_RESOLVED,
        Reason.ACTION_EXPIRED,
        Reason.TARGET_NOT_FOUND,
        Reason.TARGET_REPLACED,
        Reason.TARGET_GONE,
        Reason.NAMESPACE_UNREADABLE,
        Reason.CLUSTER_UNREACHABLE,
        Reason.CLUSTER_ERROR,
        Reason.CLUSTER_THROTTLED,
        Reason.CONFLICT,
    }
)


class KubernetesEvents:
    """A Publisher. The API server stores an Event of the same name once, so a repeated delivery adds nothing."""

    name = "kubernetes-events"
    terms = Terms()
    dropped = EVENTS_DROPPED

    def __init__(self, cluster: Cluster, console: str = "") -> None:
        """`console`: where people open the console (SMARTOPS_CONSOLE_URL). Then each Event has a link."""
        self._cluster, self._console = cluster, console
        self._sent: dict[str, None] = {}

    def publish(self, entry: Entry) -> Outcome:
        if isinstance(entry, TransitionEntry):
            event = event_of_transition(entry, self._console)
        else:
            event = event_of_decision(entry, self._console)
        if event is None or event.name in self._sent:
            return Ignored()
        try:
            self._cluster.create_event(event, entry.at)
        except errors.Conflict:
            pass  # another process has sent it, or this one before it was restarted
        except errors.Throttled as error:
            return Retry(error.message, error.retry_after)
        except (errors.Unreached, errors.Unknown) as error:
            return Retry(error.message)
        except errors.ClusterError as error:
            # 401: the credentials are being replaced. Everything else will be refused again.
            return Retry(error.message) if error.code == 401 else Dropped(error.message)
        self._remember(event.name)
        return Published()

    def _remember(self, name: str) -> None:
        self._sent[name] = None
        if len(self._sent) > REMEMBERED:
            del self._sent[next(iter(self._sent))]


def event_of_transition(entry: TransitionEntry, console: str = "") -> KubernetesEvent | None:
    """None: the transition is not published. With `console`, the Event has a link to the action, or to its approval."""
    found = _of_transition(entry, console)
    link = links.to_action(console, entry.action_id, waits=entry.to_state == S.AWAITING_APPROVAL)
    return None if found is None else replace(found, link=link)


def _of_transition(entry: TransitionEntry, console: str) -> KubernetesEvent | None:
    if entry.dry_run or not entry.uid or entry.from_state == S.NEEDS_REVIEW:  # a person settles it, and knows
        return None
    if entry.from_state == S.APPLYING and entry.to_state in (S.VERIFYING, S.SUCCEEDED):
        type_ = PROPOSAL_TYPES[ActionType(entry.type)]
        done = type_.done(entry.before, entry.change)
        return _event(entry, EventType.NORMAL, type_.event, done, entry.justification)
    step = STEPS.get((entry.from_state, entry.to_state))
    if step is not None:
        unlinked = entry.to_state == S.AWAITING_APPROVAL and not console
        page = f" at {links.to_action(PATH, entry.action_id, waits=True)}" if unlinked else ""
        return _event(entry, EventType.NORMAL, entry.reason, f"{entry.type} {step}{page}", entry.message)
    problem = PROBLEMS.get(entry.to_state)
    if problem is None or not entry.reason or entry.reason in SUPPRESSED:
        return None
    return _event(entry, EventType.WARNING, entry.reason, f"{entry.type} {problem}", entry.message)


def event_of_decision(entry: DecisionEntry, console: str = "") -> KubernetesEvent | None:
    """None: the decision is not published. A direct request is answered by the API. A signal that waits for the same
    reason again leads to an Event of the same name. With `console`, the Event has a link to the signal."""
    verdict = VERDICTS.get(entry.outcome)
    if verdict is None or entry.signal_id is None or entry.reason in SUPPRESSED:
        return None
    inputs = load_inputs(dict(entry.inputs))
    target = inputs.facts.target
    if inputs.signal is None or target is None:
        return None
    proposed = propose(inputs.signal, inputs.rules)
    if isinstance(proposed, Unmatched | Waiting):
        return None
    _, proposal = proposed
    message = f"{proposal.type} {verdict} (signal {entry.signal_id}): {entry.message}"
    key = WorkloadKey.of(proposal.target)
    link, about = links.to_signal(console, entry.signal_id), str(entry.signal_id)
    return KubernetesEvent(key, target.uid, EventType.WARNING, entry.reason, message, about, link)


def _event(entry: TransitionEntry, type_: EventType, reason: str, what: str, why: str) -> KubernetesEvent:
    message = f"{what} (action {entry.action_id}, requested by {entry.requested_by})"
    if why:
        message += f": {why}"  # last: it may be of any length, and be cut
    key = WorkloadKey.of(entry.target)
    return KubernetesEvent(key, entry.uid, type_, reason, message, str(entry.action_id))
