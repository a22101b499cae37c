"""The values that a decision is made of, and the decision. The inputs are stored with it, so that it can be evaluated
again."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, ClassVar

from signals.reasons import Reason
from signals.types import ActionType, Kind, Mode, Proposal, RuleSpec, SignalFacts


class Outcome(StrEnum):
    """The outcome of a verdict or a decision. Only verdicts are `warn` or `not_evaluated`."""

    ALLOW = "allow"
    ASK = "ask"  # a person has to approve the plan
    OBSERVE = "observe"  # what would have been done is recorded, and not done
    DEFER = "defer"
    DENY = "deny"
    WARN = "warn"  # allows, and the answer to the caller has a warning
    IGNORE = "ignore"  # no rule matches the signal: there is no proposal to evaluate
    NOT_EVALUATED = "not_evaluated"  # the facts that the guardrail needs are unknown; the message says why


@dataclass(frozen=True, slots=True)
class Verdict:
    """What one guardrail says: this class allows, its subclasses say something else. `details` are the facts behind the
    verdict, as JSON: numbers (`value` of `limit`), names, times in ISO 8601. `until` is when a refusal ends."""

    guardrail: str
    outcome: Outcome = field(init=False, default=Outcome.ALLOW)
    reason: Reason | None = field(kw_only=True, default=None)
    message: str = ""
    details: Mapping[str, Any] = field(default_factory=dict, hash=False)
    until: datetime | None = field(kw_only=True, default=None)


@dataclass(frozen=True, slots=True)
class NotEvaluated(Verdict):
    """Neither allows nor refuses: the guardrail had no facts to evaluate."""

    outcome: Outcome = field(init=False, default=Outcome.NOT_EVALUATED)


@dataclass(frozen=True, slots=True)
class Warned(Verdict):
    """Allows a direct action that the closed loop would not take. The message is part of the answer to the caller."""

    outcome: Outcome = field(init=False, default=Outcome.WARN)
    reason: Reason = field(kw_only=True)


@dataclass(frozen=True, slots=True)
class Asked(Verdict):
    """Yes, once enough persons have approved the plan."""

    outcome: Outcome = field(init=False, default=Outcome.ASK)
    reason: Reason = field(kw_only=True)


@dataclass(frozen=True, slots=True)
class Observed(Verdict):
    """Nothing is written. The action counts in the limits as if it had been done."""

    outcome: Outcome = field(init=False, default=Outcome.OBSERVE)
    reason: Reason = field(kw_only=True)


@dataclass(frozen=True, slots=True)
class Deferral(Verdict):
    """Not now: the signal is decided again at `until`."""

    outcome: Outcome = field(init=False, default=Outcome.DEFER)
    reason: Reason = field(kw_only=True)
    until: datetime = field(kw_only=True)


@dataclass(frozen=True, slots=True)
class Denial(Verdict):
    """No. `until` is for a direct caller: when the same request may be allowed."""

    outcome: Outcome = field(init=False, default=Outcome.DENY)
    reason: Reason = field(kw_only=True)


@dataclass(frozen=True, slots=True)
class Unproposed(Verdict):
    """No rule made a proposal of the signal."""

    outcome: Outcome = field(init=False, default=Outcome.IGNORE)
    reason: Reason = field(kw_only=True)


@dataclass(frozen=True, slots=True)
class Limits:
    """The effective settings for one workload; each field's source is in `sources`: default, or the name of the
    scope that set it (everything, cluster c, namespace n, n/w)."""

    max_replicas: int = 8
    min_replicas: int = 1
    cooldown_seconds: int = 300
    max_actions_per_hour: int = 6
    max_scale_increase: int = 3  # replicas within SCALE_WINDOW
    max_scale_decrease: int = 3  # replicas within SCALE_WINDOW
    rollout_settle_seconds: int = 120  # after somebody else changed the pod template
    signal_ttl_seconds: int = 900
    verification_timeout_seconds: int = 300
    stabilization_seconds: int = 2
    respect_owners: bool = True  # leave alone what an autoscaler, GitOps or an operator would set again
    mode: Mode = Mode.AUTO
    max_unapproved_replicas: int = 10_000  # added or removed by one action; more takes an approval
    max_unapproved_percent: int = 1_000_000  # the same in percent of the replicas that there are, at least of one
    protected_labels: str = ""  # as a label selector has them: a workload with one of them takes an approval
    approve_after_failure: bool = False  # where the verification of the same action has failed the last time
    approvals_required: int = 1
    approval_timeout_seconds: int = 1800
    sources: Mapping[str, str] = field(default_factory=dict, hash=False)


class OwnerKind(StrEnum):
    ARGO_CD = "Argo CD"
    FLUX = "Flux"
    HELM = "Helm"
    CONTROLLER = "controller"  # the controlling owner: an operator's custom resource, for instance


@dataclass(frozen=True, slots=True)
class FieldOwner:
    """Who else writes these fields of a workload. `name` is the object behind it, with its kind: Application shop,
    Kustomization flux-system/apps, release shop; empty if it is unknown."""

    kind: OwnerKind
    name: str
    fields: tuple[str, ...]

    def __str__(self) -> str:
        return self.name if self.kind is OwnerKind.CONTROLLER else " ".join(filter(None, (self.kind, self.name)))


@dataclass(frozen=True, slots=True)
class AutoscalerFacts:
    """The HorizontalPodAutoscaler of a workload."""

    name: str
    min_replicas: int
    max_replicas: int


class RolloutState(StrEnum):
    COMPLETE = "complete"  # or there is none, as no controller replaces pods: paused, or OnDelete
    IN_PROGRESS = "in_progress"
    STUCK = "stuck"  # the Deployment controller reports that it makes no progress (Progressing=False)


@dataclass(frozen=True, slots=True)
class RolloutFacts:
    """The latest rollout of a workload, from its status and its managedFields.

    `message` says what it waits for. `by` is the field manager that changed the pod template last, and `since` when; ""
    and None if managedFields do not show it. `until` is when it ended; None while it is in progress, or if the status
    does not show it. `ours`: SmartOps started it. `first`: there is no earlier template to go back to. `changed_at` and
    `changed_by` are the last change of the template of an existing workload by somebody else than SmartOps.
    """

    state: RolloutState = RolloutState.COMPLETE
    message: str = ""
    updated: int = 0
    ready: int = 0
    total: int = 0
    by: str = ""
    since: datetime | None = None
    until: datetime | None = None
    ours: bool = False
    first: bool = False
    changed_by: str = ""
    changed_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class FailedVerification:
    """Of the last action of the same type, with the same parameters, that was applied to the workload."""

    action: str
    state: str
    message: str


@dataclass(frozen=True, slots=True)
class ApprovalFacts:
    """The approvals of an action, right before its write. `shown` is the digest of the plan that was approved, `now`
    that of the plan that would be written. `by`: the persons who approved it and still have the right to; `lost`: those
    who have it no longer."""

    shown: str
    now: str
    by: tuple[str, ...] = ()
    lost: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class TargetFacts:
    """`owners` are those of the fields that the proposal changes, and of these only. `part_of_smartops` is what marks
    the object as one of SmartOps' own workloads; empty if nothing does. `containers` are the names of its containers in
    their order, if the proposal changes any; else None. `obstacle` is what the cluster says about pods that it does not
    run. `uncounted`: the controller of a DaemonSet has not counted its nodes since the last change, so its `replicas`
    may be none, or those of an earlier time."""

    uid: str
    replicas: int
    available: int = 0
    uncounted: bool = False
    obstacle: str = ""
    deleting: bool = False
    paused: bool = False
    held: str = ""  # why a change of the pod template reaches no pod, apart from a pause; empty: it reaches some
    autoscaler: AutoscalerFacts | None = None
    autoscalers_unknown: str = ""  # why it is not known whether there is one; empty: it is
    owners: tuple[FieldOwner, ...] = ()
    part_of_smartops: str = ""
    containers: tuple[str, ...] | None = None
    rollout: RolloutFacts = RolloutFacts()
    protected_by: tuple[str, ...] = ()  # which of `protected_labels` it has


@dataclass(frozen=True, slots=True)
class RecentAction:
    """An action on the same workload that was applied, for any requester. `at`: the latest time at which it can have
    taken effect, so that a window never counts too few actions."""

    type: ActionType
    at: datetime
    scale_increase: int = 0
    scale_decrease: int = 0


@dataclass(frozen=True, slots=True)
class RefusedFacts:
    """`count` final refusals of the same change of the same workload by the cluster, since it was last applied. The
    last one was `at`, with this message."""

    count: int
    at: datetime
    message: str


@dataclass(frozen=True, slots=True)
class FreezeFacts:
    scope: str
    reason: str
    by: str
    until: datetime | None


@dataclass(frozen=True, slots=True)
class PolicyAnswer:
    """`allow` is None where the engine gave no usable answer: that does not allow."""

    allow: bool | None
    reason: str
    engine: str


@dataclass(frozen=True, slots=True)
class Exemptions:
    """What the environment of the process allows beyond the defaults. `own_workloads` are workloads of SmartOps, as
    namespace/name. `patch_prefixes` begin names that a patch may change, such as `example.com/`."""

    own_workloads: tuple[str, ...] = ()
    patch_prefixes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Facts:
    """What was known when the decision was made. A guardrail whose facts are unknown is not evaluated.

    `target` is None if the workload does not exist. `target_seen` is False if the deciding process does not observe
    the cluster (the web process): the reconciler decides again before it writes. `history_loaded` is False if nothing
    can be reserved, as there is no proposal or no target: then `active_action`, `cooldown_until`, `recent`,
    `refused`, `scaled_to`, `freezes` and `failed` are unknown. `approval` is None until a person was asked.
    """

    target_seen: bool
    target: TargetFacts | None = None
    namesakes: tuple[Kind, ...] = ()  # the kinds of other workloads with the name of a target that does not exist
    managed: bool = True
    unreadable: str = ""  # why the reconciler does not know the namespace of the target; empty: it does
    history_loaded: bool = True
    active_action: str = ""  # the id of the active action on the target
    active_waits: str = ""  # what it waits for, as a sentence; only of a direct request
    cooldown_until: datetime | None = None
    recent: tuple[RecentAction, ...] = ()
    refused: RefusedFacts | None = None
    scaled_to: int | None = None  # the replicas that SmartOps last added to; None if they are not waited for any more
    freezes: tuple[FreezeFacts, ...] = ()
    policy: PolicyAnswer | None = None
    failed: FailedVerification | None = None
    approval: ApprovalFacts | None = None
    exemptions: Exemptions = Exemptions()


@dataclass(frozen=True, slots=True)
class Inputs:
    """All that a decision depends on: a signal with the rules that count (`signals.mapping.considered`), a direct
    proposal, or a planned action's proposal with its signal."""

    now: datetime
    facts: Facts
    limits: Limits
    signal: SignalFacts | None = None
    rules: tuple[RuleSpec, ...] = ()
    proposal: Proposal | None = None


@dataclass(frozen=True, slots=True)
class Allow:
    """Nothing defers or denies the proposal. `rule` is the rule that made it, if a signal is decided on."""

    outcome: ClassVar[Outcome] = Outcome.ALLOW

    proposal: Proposal
    verdicts: tuple[Verdict, ...]
    rule: RuleSpec | None = None


@dataclass(frozen=True, slots=True)
class Ask:
    """Nothing defers or denies the proposal, and persons have to approve it. Reason and details are those of the first
    verdict that asks; the message has those of all."""

    outcome: ClassVar[Outcome] = Outcome.ASK

    proposal: Proposal
    reason: Reason
    message: str
    verdicts: tuple[Verdict, ...]
    details: Mapping[str, Any] = field(default_factory=dict, hash=False)
    rule: RuleSpec | None = None


@dataclass(frozen=True, slots=True)
class Observe:
    """Nothing defers or denies the proposal. What it would have done is recorded, and not done."""

    outcome: ClassVar[Outcome] = Outcome.OBSERVE

    proposal: Proposal
    reason: Reason
    message: str
    verdicts: tuple[Verdict, ...]
    details: Mapping[str, Any] = field(default_factory=dict, hash=False)
    rule: RuleSpec | None = None


@dataclass(frozen=True, slots=True)
class Defer:
    """A signal waits: it is decided again at `until`, or earlier if what it waits for ends. Reason, message and details
    are those of the deferral that lasts longest. `proposal` is None while a rule waits for the problem to last."""

    outcome: ClassVar[Outcome] = Outcome.DEFER

    proposal: Proposal | None  # None: no proposal can be made yet, as a rule or the name of the target waits
    reason: Reason
    message: str
    until: datetime
    verdicts: tuple[Verdict, ...]
    details: Mapping[str, Any] = field(default_factory=dict, hash=False)
    rule: RuleSpec | None = None


@dataclass(frozen=True, slots=True)
class Deny:
    """The proposal is refused, for the reason of the first denial. `until` is when it may be allowed."""

    outcome: ClassVar[Outcome] = Outcome.DENY

    reason: Reason
    message: str
    verdicts: tuple[Verdict, ...]
    details: Mapping[str, Any] = field(default_factory=dict, hash=False)
    until: datetime | None = None
    proposal: Proposal | None = None
    rule: RuleSpec | None = None


@dataclass(frozen=True, slots=True)
class Ignore:
    """No rule made a proposal of the signal."""

    outcome: ClassVar[Outcome] = Outcome.IGNORE

    reason: Reason
    message: str
    verdicts: tuple[Verdict, ...]
    details: Mapping[str, Any] = field(default_factory=dict, hash=False)


Decision = Allow | Ask | Observe | Defer | Deny | Ignore
