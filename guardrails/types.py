"""The values a decision is made of. All of them are stored with the decision, so that it can be made again."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from signals.reasons import Reason
from signals.types import ActionType, Proposal, RuleSpec, SignalFacts


class Outcome(StrEnum):
    ALLOW = "allow"
    DEFER = "defer"
    DENY = "deny"
    IGNORE = "ignore"  # a signal that no rule speaks of: there is nothing to guard


@dataclass(frozen=True, slots=True)
class Verdict:
    """What one guardrail says. `numbers` are the facts behind it; `until` is when a deferral may be looked at again."""

    guardrail: str
    outcome: Outcome = Outcome.ALLOW
    reason: Reason | None = None
    message: str = ""
    details: Mapping[str, Any] = field(default_factory=dict, hash=False)
    until: datetime | None = None


@dataclass(frozen=True, slots=True)
class Limits:
    """The effective settings for one workload; each field's source is in `sources`: default, or the name of the
    scope that set it (everything, cluster c, namespace n, n/w)."""

    max_replicas: int = 8
    cooldown_seconds: int = 300
    max_actions_per_hour: int = 6
    max_scale_increase: int = 3  # replicas within SCALE_WINDOW
    signal_ttl_seconds: int = 900
    verification_timeout_seconds: int = 300
    stabilization_seconds: int = 2
    respect_owners: bool = True  # leave alone what an autoscaler, GitOps or an operator would set again
    sources: Mapping[str, str] = field(default_factory=dict, hash=False)


class OwnerKind(StrEnum):
    ARGO_CD = "Argo CD"
    FLUX = "Flux"
    HELM = "Helm"
    CONTROLLER = "controller"  # the controlling owner: an operator's custom resource, for instance


@dataclass(frozen=True, slots=True)
class FieldOwner:
    """Who else writes these fields of a Deployment. `name` is the object behind it, with its kind: Application shop,
    Kustomization flux-system/apps, release shop; empty where nothing tells."""

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


@dataclass(frozen=True, slots=True)
class TargetFacts:
    """`owners` are those of the fields that the proposal changes, and of these only."""

    uid: str
    replicas: int
    deleting: bool = False
    paused: bool = False
    autoscaler: AutoscalerFacts | None = None
    autoscalers_unknown: str = ""  # why it is not known whether there is one; empty: it is
    owners: tuple[FieldOwner, ...] = ()


@dataclass(frozen=True, slots=True)
class RecentAction:
    """An action on the same workload that was applied, by whomever, at `at`: the latest moment at which it can have
    taken effect, so that a window never counts too little."""

    type: ActionType
    at: datetime
    scale_increase: int = 0


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
class Facts:
    """What was known when the decision was made. `target` is None where it does not exist; `target_seen` is False where
    the deciding process cannot see the cluster (the web process): the reconciler looks before it acts."""

    target_seen: bool
    target: TargetFacts | None = None
    managed: bool = True
    active_action: str = ""  # the id of the active action on the target
    cooldown_until: datetime | None = None
    recent: tuple[RecentAction, ...] = ()
    freezes: tuple[FreezeFacts, ...] = ()
    policy: PolicyAnswer | None = None


@dataclass(frozen=True, slots=True)
class Inputs:
    """All that a decision depends on: either a signal with the rules that may speak of it, or a direct proposal."""

    now: datetime
    facts: Facts
    limits: Limits
    signal: SignalFacts | None = None
    rules: tuple[RuleSpec, ...] = ()
    proposal: Proposal | None = None


@dataclass(frozen=True, slots=True)
class Judgement:
    """The decision: the outcome and its deciding verdict, and what every guardrail said."""

    outcome: Outcome
    verdicts: tuple[Verdict, ...]
    reason: Reason | None = None
    message: str = ""
    details: Mapping[str, Any] = field(default_factory=dict, hash=False)
    until: datetime | None = None
    proposal: Proposal | None = None
    rule: RuleSpec | None = None
