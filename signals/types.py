"""The values that flow down from an observation to a proposal."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from functools import cached_property
from hashlib import blake2b
from typing import Any, Literal

from signals.symptoms import SymptomMatch, symptom_key


class Source(StrEnum):
    """The kind of detector. Each has its parser in `signals.sources`."""

    ANOMALY = "anomaly"
    RCA = "rca"


class Kind(StrEnum):
    """The kinds of workloads. Where none is named, a Deployment is meant."""

    DEPLOYMENT = "Deployment"
    STATEFUL_SET = "StatefulSet"
    DAEMON_SET = "DaemonSet"


class ActionType(StrEnum):
    SCALE = "SCALE"
    RESTART = "RESTART"
    PATCH = "PATCH"


class Mode(StrEnum):
    """How actions are made: of a rule, and of a scope. The strictest one counts."""

    AUTO = "auto"  # without a person
    APPROVE = "approve"  # after a person has approved the plan
    OBSERVE = "observe"  # not at all: what would have been done is recorded


class Origin(StrEnum):
    CLOSED_LOOP = "closed_loop"  # a rule matched a signal
    DIRECT = "direct"  # an API request


def workload_name(kind: str, namespace: str, name: str) -> str:
    """`shop/web` is a Deployment. Of the others, the kind is part of the name: `StatefulSet shop/db`."""
    return f"{namespace}/{name}" if kind == Kind.DEPLOYMENT else f"{kind} {namespace}/{name}"


@dataclass(frozen=True, slots=True)
class Target:
    cluster: str
    namespace: str
    name: str
    kind: Kind = Kind.DEPLOYMENT

    def __str__(self) -> str:
        return workload_name(self.kind, self.namespace, self.name)

    @property
    def with_kind(self) -> str:
        """The name with its kind, also of a Deployment: `Deployment shop/web`."""
        return f"{self.kind} {self.namespace}/{self.name}"

    @property
    def scope(self) -> dict[str, str]:
        """Of settings, freezes and cooldowns for this workload alone: their columns. In a wider scope, some are
        empty."""
        return {"cluster": self.cluster, "kind": self.kind, "namespace": self.namespace, "workload": self.name}

    def is_in(self, scope: Mapping[str, Any]) -> bool:
        """`scope` has the columns of `self.scope`, and may have others."""
        return all(scope[name] in ("", value) for name, value in self.scope.items())


@dataclass(frozen=True, slots=True)
class Named:
    """What an observation calls its target. `by` is the label whose value `name` is; empty for the name of a workload,
    or what the detector takes for one. `kind` is that of the label, or a Deployment."""

    source: Source
    cluster: str
    namespace: str
    name: str
    by: str = ""
    kind: Kind = Kind.DEPLOYMENT

    def __str__(self) -> str:
        return f"{self.by} “{self.name}”" if self.by else f"“{self.name}”"


@dataclass(frozen=True, slots=True)
class AliasSpec:
    """Names that match `pattern` stand for a workload. An empty source, cluster or namespace matches any; an empty
    `to_namespace` is the namespace of the signal."""

    id: int
    pattern: str
    kind: Kind
    workload: str
    source: Literal[""] | Source = ""
    cluster: str = ""
    namespace: str = ""
    to_namespace: str = ""


@dataclass(frozen=True, slots=True)
class Link:
    """An object in a chain of owners, in the namespace of the signal."""

    kind: str
    name: str

    def __str__(self) -> str:
        return f"{self.kind} {self.name}"


@dataclass(frozen=True, slots=True)
class NamingFacts:
    """What was known about a name when its workload was identified.

    `chains`: for each live object that the name stands for, the object and its controllers, up to the last that was
    read. `existing`: the workloads that exist among those that the name may stand for. `alias`: the first alias that
    matches. `nearest`: names of workloads that resemble it. `waiting`: how many other unidentified signals of the same
    token wait. `error`: why the cluster did not say more.
    """

    chains: tuple[tuple[Link, ...], ...] = ()
    existing: tuple[Target, ...] = ()
    alias: AliasSpec | None = None
    nearest: tuple[str, ...] = ()
    waiting: int = 0
    error: str = ""


@dataclass(frozen=True, slots=True)
class Naming:
    """How the target of a signal was found: `signals.identity.identify` leads from one to the other again."""

    named: Named
    facts: NamingFacts


@dataclass(frozen=True)
class Observation:
    """One report of a detector: parsed, not yet stored.

    `symptom` is the anomaly's type or the most probable cause. Score, probability and confidence are 0 to 1, None if
    the source has none. `firing=False`: the problem is over. `payload`: the body as it was sent. `target` has the name
    that the detector uses, and `named_by` the label that it is taken from (`Named`). `started_at`: when the problem
    began, if the detector says so.
    """

    source: Source
    target: Target
    symptom: str
    window_id: str
    firing: bool
    payload: Mapping[str, Any] = field(hash=False)
    score: float | None = None
    probability: float | None = None
    confidence: float | None = None
    labels: Mapping[str, str] = field(default_factory=dict, hash=False)
    annotations: Mapping[str, str] = field(default_factory=dict, hash=False)
    severity: str = ""
    started_at: datetime | None = None
    named_by: str = ""

    @cached_property
    def fingerprint(self) -> str:
        """Equal for all observations of one problem, however its symptom is spelled. It has what the observation names,
        not what that stands for: the problem stays the same when an alias appears. Names cannot contain the
        separator: the parsers refuse control characters."""
        target = self.target
        parts = [self.source, target.cluster, target.kind, target.namespace, target.name, symptom_key(self.symptom)]
        if self.named_by:
            parts.append(self.named_by)
        return blake2b("\x1f".join(parts).encode(), digest_size=16).hexdigest()

    @cached_property
    def window_key(self) -> str:
        """Equal for all reports of one window of one problem."""
        return blake2b(f"{self.fingerprint}\x1f{self.window_id}".encode(), digest_size=16).hexdigest()


MEASURES = ("score", "probability", "confidence")  # of a signal, each from 0 to 1
MINIMA = tuple(f"min_{name}" for name in MEASURES)  # of a rule, in the same order


@dataclass(frozen=True, slots=True)
class SignalFacts:
    """What a decision may know of a stored signal. `due_at`: since when it may be decided on. `kept_seconds`: how long
    SmartOps kept it waiting before that, since it was last reported. `deferred_for`: the reason of its deferral.
    `naming`: how the target was identified, if the signal does not name it as the cluster does. `reported_by`: the
    actors that reported it.

    `lasted_seconds`: from the beginning of the problem until the signal was read. `recent_reports`: the last reports of
    the problem, as bits: the lowest is the latest one, and 1 says that the problem was there."""

    id: str
    source: Source
    target: Target
    symptom: str
    last_seen_at: datetime
    resolved: bool
    score: float | None = None
    probability: float | None = None
    confidence: float | None = None
    due_at: datetime | None = None
    kept_seconds: float = 0.0
    deferred_for: str = ""
    labels: Mapping[str, str] = field(default_factory=dict, hash=False)
    severity: str = ""
    started_at: datetime | None = None
    naming: Naming | None = None
    reported_by: tuple[str, ...] = ()
    lasted_seconds: float = 0.0
    recent_reports: int = 1


@dataclass(frozen=True, slots=True)
class RuleSpec:
    """A matcher and an action template. An empty condition always holds, and so does a threshold of None.

    `namespace` and `workload`: a name, or a pattern for the whole name. `severity`: one or several, divided by commas.
    `labels`: matchers (signals.matchers). `for_seconds`: how long the problem has to last. `min_reports` of the last
    `of_reports` reports of the problem have to say that it is there; 0 of 0 always holds."""

    id: int
    version: int
    name: str
    source: Source
    symptom: str
    action_type: ActionType
    params: Mapping[str, Any] = field(hash=False)
    symptom_match: SymptomMatch = SymptomMatch.EQUAL
    kind: Literal[""] | Kind = ""
    namespace: str = ""
    workload: str = ""
    severity: str = ""
    labels: str = ""
    min_score: float | None = None
    min_probability: float | None = None
    min_confidence: float | None = None
    for_seconds: int = 0
    min_reports: int = 0
    of_reports: int = 0
    mode: Mode = Mode.AUTO


@dataclass(frozen=True, slots=True)
class Proposal:
    """A change that somebody wants. `params` by type: SCALE `{"replicas": n}` or `{"delta": n}`, RESTART `{}`,
    PATCH `{"patch": {...}}`. `requested_by` is an actor (signals/actors.py). `mode` is that of the rule."""

    type: ActionType
    target: Target
    origin: Origin
    params: Mapping[str, Any] = field(hash=False)
    reason: str = ""
    dry_run: bool = False
    verify: bool = True
    requested_by: str = ""
    mode: Mode = Mode.AUTO
