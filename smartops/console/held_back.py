"""What holds a row of a list back, in words, until when, and the page with the remedy.

The functions query nothing: the views read what they take. What is said of a row is the same for everybody who may see
it.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime

from django.urls import reverse

from guardrails.models import Cooldown, Freeze, scope_name
from guardrails.types import RecentAction
from guardrails.words import Budget, budgets, lacking
from orchestrator.decide.history import WorkloadHistory
from orchestrator.models import FINAL, Action, ActionState, ObservedWorkload
from signals.models import Signal, SignalState
from signals.reasons import Reason
from signals.types import ActionType, Mode, Origin, Target
from smartops.console.freshness import Freshness

# Why something waits, as its row has stored it: after “held back by”. A freeze and an approval have rows of their own.
WORDS: Mapping[str, str] = {
    Reason.TARGET_UNIDENTIFIED: "a name that stands for no workload",
    Reason.TOO_MANY_UNIDENTIFIED: "too many names that stand for no workload",
    Reason.TARGET_BUSY: "another action of the workload",
    Reason.NAMESPACE_UNREADABLE: "a namespace that cannot be read",
    Reason.ROLLOUT_IN_PROGRESS: "a rollout in progress",
    Reason.ROLLOUT_STUCK: "a stuck rollout",
    Reason.TEMPLATE_CHANGED: "a recent change of the pod template",
    Reason.COOLDOWN_ACTIVE: "a cooldown",
    Reason.RATE_LIMIT: "the limit of actions per hour",
    Reason.SCALE_VELOCITY_LIMIT: "the limit of replicas within 15 minutes",
    Reason.TARGET_PAUSED: "a pause of the workload",
    Reason.ROLLOUT_HELD: "the update strategy of the workload",
    Reason.AUTOSCALED: "an autoscaler",
    Reason.AUTOSCALERS_UNKNOWN: "autoscalers that cannot be read",
    Reason.FIELD_OWNED: "an owner of the field",
    Reason.POLICY_DENIED: "the policy engine",
    Reason.POLICY_UNAVAILABLE: "a policy engine that does not answer",
    Reason.RECENTLY_REFUSED: "an earlier refusal of the cluster",
    Reason.REPLICAS_MISSING: "replicas that are missing",
    Reason.NOT_LASTED: "a rule that waits for the problem to last",
    Reason.TOO_FEW_REPORTS: "a rule that waits for more reports",
    Reason.PROCESSING_ERROR: "an error while it was decided on",
    Reason.CLUSTER_UNREACHABLE: "a cluster that does not answer",
    Reason.CLUSTER_ERROR: "an error of the cluster",
    Reason.CLUSTER_THROTTLED: "a cluster that limits requests",
    Reason.ADMISSION_UNAVAILABLE: "an admission webhook that does not answer",
    Reason.CONFLICT: "a change of the workload by somebody else",
}
# Those that end at the time at which the row is tried again. The others may end at any time.
TIMED = (
    Reason.TEMPLATE_CHANGED, Reason.COOLDOWN_ACTIVE, Reason.RATE_LIMIT, Reason.SCALE_VELOCITY_LIMIT,
    Reason.RECENTLY_REFUSED, Reason.NOT_LASTED,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class HeldBack:
    """`by`: what holds it back. `href`: where a person can end it, or reads how. `ends`: the words before `until`, or
    when it ends if that has no time."""

    by: str
    href: str
    ends: str = ""
    until: datetime | None = None
    verb: str = "Held back by"


@dataclass(frozen=True, slots=True)
class PageState:
    """Of all rows of a page. `freezes`: those in force. `running`: the clusters that have a reconciler."""

    at: datetime
    freezes: tuple[Freeze, ...]
    running: frozenset[str]

    def over(self, target: Target) -> Iterator[Freeze]:
        for freeze in self.freezes:
            if all(getattr(freeze, name) in ("", value) for name, value in target.scope.items()):
                yield freeze

    def of(self, row: Signal | Action) -> tuple[HeldBack, ...]:
        return tuple(_of_signal(row, self) if isinstance(row, Signal) else _of_action(row, self))


def page_state(freezes: Iterable[Freeze], now: Freshness) -> PageState:
    """`freezes`: those in force, at least those that cover a row of the page."""
    first = sorted(freezes, key=lambda one: one.pk)
    return PageState(now.at, tuple(first), frozenset(one.cluster for one in now.beats if one.runs))


def _of_signal(signal: Signal, known: PageState) -> Iterator[HeldBack]:
    if signal.state != SignalState.PENDING:
        return
    yield from _unreconciled(signal.cluster, known)
    yield from _frozen(signal.target, known)
    yield from _stored(signal.reason, signal.not_before, known)


def _of_action(action: Action, known: PageState) -> Iterator[HeldBack]:
    if action.state in FINAL:
        return
    yield from _unreconciled(action.cluster, known)
    if action.state == ActionState.AWAITING_APPROVAL:
        yield HeldBack("a missing approval", _approval(action), "expires at", action.deadline_at)
    elif action.state == ActionState.NEEDS_REVIEW:
        yield HeldBack("a missing review", _page(action), "fails at", action.deadline_at)
    if action.state in (ActionState.AWAITING_APPROVAL, ActionState.PENDING):
        yield from _frozen_action(action, known)
    if action.state == ActionState.PENDING:
        yield from _stored(action.reason, action.not_before, known)


def of_approval(action: Action, history: WorkloadHistory, known: PageState) -> Iterator[HeldBack]:
    """What would hold it back after its approval. Limits and cooldowns hold back the closed loop alone."""
    yield from _unreconciled(action.cluster, known)
    yield from _frozen_action(action, known)
    if action.origin != Origin.CLOSED_LOOP or action.dry_run:
        return
    href = _workload(action.workload.target)
    if history.cooldown_until is not None and history.cooldown_until > known.at:
        yield HeldBack(f"the cooldown of {action.type}", f"{href}#left", "until", history.cooldown_until)
    done = RecentAction(ActionType(action.type), known.at, action.scale_increase, action.scale_decrease)
    for budget in lacking(history.limits, history.recent, done, history.now):
        yield _exhausted(budget, href)


def of_workload(
    row: ObservedWorkload,
    history: WorkloadHistory,
    cooldowns: Iterable[Cooldown],
    active: Action | None,
    known: PageState,
) -> Iterator[HeldBack]:
    """What holds the closed loop back from it. `active`: the action of the workload that has not ended, unless it is a
    dry run."""
    href = _workload(row.target)
    yield from _unreconciled(row.cluster, known)
    yield from _frozen(row.target, known)
    if active is not None:
        yield from _busy(active)
    if history.limits.mode is not Mode.AUTO:
        yield HeldBack(f"the mode {history.limits.mode} ({history.limits.sources['mode']})", f"{href}#limits")
    if row.paused:
        yield HeldBack("a pause of the workload", _reason(Reason.TARGET_PAUSED))
    for cooldown in cooldowns:
        yield HeldBack(f"the cooldown of {cooldown.action_type}", f"{href}#left", "until", cooldown.until)
    for budget in budgets(history.limits, history.recent, history.now):
        if budget.left == 0:
            yield _exhausted(budget, href)


def _exhausted(budget: Budget, href: str) -> HeldBack:
    """`href`: the page of the workload."""
    ends = "until" if budget.next_at else ""
    return HeldBack(f"the limit “{budget.text}”", f"{href}#left", ends, budget.next_at)


def _busy(action: Action) -> Iterator[HeldBack]:
    match action.state:
        case ActionState.AWAITING_APPROVAL:
            yield HeldBack("an action that waits for an approval", _approval(action), "until", action.deadline_at)
        case ActionState.NEEDS_REVIEW:
            yield HeldBack("an action that needs a review", _page(action), "until", action.deadline_at)
        case state:
            yield HeldBack(f"an action that is {ActionState(state).label.lower()}", _page(action))


def _unreconciled(cluster: str, known: PageState) -> Iterator[HeldBack]:
    if cluster not in known.running:
        yield HeldBack(f"the cluster {cluster}, which has no reconciler", _reason(Reason.NO_RECONCILER))


def _frozen_action(action: Action, known: PageState) -> Iterator[HeldBack]:
    """A dry run is not held back, and a direct action does not wait for the end of a freeze."""
    if not action.dry_run:
        verb = "Held back by" if action.origin == Origin.CLOSED_LOOP else "Would be refused by"
        yield from _frozen(action.workload.target, known, verb)


def _frozen(target: Target, known: PageState, verb: str = "Held back by") -> Iterator[HeldBack]:
    """Each page has the freezes at its top, with their button Lift."""
    for freeze in known.over(target):
        is_hold = all(getattr(freeze, name) == value for name, value in target.scope.items())
        by = "a hold of the workload" if is_hold else f"the freeze of {_scope(freeze)}"
        yield HeldBack(by, "#freezes", "until" if freeze.until else "until it is lifted", freeze.until, verb)


def _stored(reason: str, not_before: datetime, known: PageState) -> Iterator[HeldBack]:
    """What the last decision or attempt said, while the row waits for the next one."""
    if reason in WORDS and not_before <= known.at:
        yield HeldBack(WORDS[reason], _reason(reason), "and due now")
    elif reason in WORDS:
        yield HeldBack(WORDS[reason], _reason(reason), "until" if reason in TIMED else "tried again at", not_before)


def _scope(freeze: Freeze) -> str:
    return scope_name(freeze.cluster, freeze.kind, freeze.namespace, freeze.workload)


def _reason(reason: str) -> str:
    return f"{reverse('console:reasons')}#{reason}"


def _page(action: Action) -> str:
    return reverse("console:action", args=[action.pk])


def _approval(action: Action) -> str:
    return reverse("console:approval", args=[action.pk])


def _workload(target: Target) -> str:
    return reverse("console:workload", args=[target.cluster, target.kind, target.namespace, target.name])
