"""The values that are parsed from the Kubernetes API: frozen, without the types of the Kubernetes library."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Generic, Protocol, TypeVar

from guardrails.types import FieldOwner
from signals.types import Kind, Target, workload_name

ACTION_ANNOTATION = "smartops.io/action"  # on the workload: the id of the last action that was applied
PROGRESSING = "Progressing"  # the condition of a Deployment that its rollouts move
FIELD_MANAGER = "smartops"  # the name of SmartOps in managedFields


@dataclass(frozen=True, slots=True, order=True)
class ObjectKey:
    """Namespace and name of an object of a known kind, within one cluster."""

    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"


@dataclass(frozen=True, slots=True, order=True)
class WorkloadKey:
    """A workload within one cluster."""

    namespace: str
    name: str
    kind: Kind = Kind.DEPLOYMENT

    @classmethod
    def of(cls, target: Target) -> "WorkloadKey":
        return cls(target.namespace, target.name, target.kind)

    @property
    def place(self) -> str:
        return f"{self.namespace}/{self.name}"

    def __str__(self) -> str:
        return workload_name(self.kind, self.namespace, self.name)


Reported = tuple[str, str, str, str]  # of a condition: its type, status and reason, and when it was reported


@dataclass(frozen=True, slots=True)
class Condition:
    """`updated_at` is in the API server's spelling: it is compared, and not read."""

    type: str
    status: str
    reason: str = ""
    message: str = ""
    updated_at: str = ""

    @property
    def reported(self) -> Reported:
        """Equal for the same report: a controller that reports a condition again changes one of them."""
        return (self.type, self.status, self.reason, self.updated_at)


@dataclass(frozen=True, slots=True)
class TemplateChange:
    """The last change of the pod template by a field manager, as managedFields have it. `at` is the last change of any
    field of that entry: not earlier than the change of the template."""

    manager: str
    at: datetime


class Update(StrEnum):
    """How a change of the pod template reaches the pods."""

    ROLLING = "RollingUpdate"  # also a Deployment's Recreate: its controller replaces them
    ON_DELETE = "OnDelete"  # somebody has to delete them


@dataclass(frozen=True, slots=True)
class WorkloadObject:
    """A Deployment, StatefulSet or DaemonSet at `resource_version`. Omitted counts are 0; an omitted `spec.replicas` is
    1, the API's default. A DaemonSet has no `spec.replicas`: it desires a pod for each node that its pods may run on.
    `annotations` has smartops.io/action alone."""

    key: WorkloadKey
    uid: str
    resource_version: str
    generation: int
    replicas: int  # the desired count: spec.replicas; of a DaemonSet, status.desiredNumberScheduled
    paused: bool
    deleting: bool
    annotations: Mapping[str, str] = field(hash=False)
    observed_generation: int = 0
    status_replicas: int = 0  # of a DaemonSet: the nodes that run its pod, and should
    updated_replicas: int = 0
    ready_replicas: int = 0
    available_replicas: int = 0
    unavailable_replicas: int = 0
    conditions: tuple[Condition, ...] = ()
    progress_deadline: int = 0  # spec.progressDeadlineSeconds; 0: none, as of every StatefulSet and DaemonSet
    update: Update = Update.ROLLING
    partition: int = 0  # of a StatefulSet: pods with a lower ordinal keep the old template
    is_current: bool = True  # False: a StatefulSet whose status has another updateRevision than currentRevision
    created_at: datetime | None = None
    revision: int = 0  # of the pod template, as the controller counts; 0: not observed yet, or a StatefulSet
    template_changes: tuple[TemplateChange, ...] = ()  # one for each manager of a field of the pod template
    owners: tuple[FieldOwner, ...] = ()
    ours: tuple[str, ...] = ()  # the fields that SmartOps was the last to write
    containers: tuple[str, ...] = ()  # their names, in order
    part_of_smartops: str = ""  # what marks it as one of SmartOps' own workloads; empty if nothing does
    selector: str = ""  # of its pods, as a list request takes it
    document: str = "{}"  # the fields that an action may change, as JSON: what its image is taken from

    @property
    def kind(self) -> Kind:
        return self.key.kind

    @property
    def to_update(self) -> int:
        """How many pods a rollout replaces."""
        return max(0, self.replicas - self.partition)


@dataclass(frozen=True, slots=True)
class Autoscaler:
    """A HorizontalPodAutoscaler. `target` is None if it scales another kind than those of workloads."""

    key: ObjectKey
    uid: str
    target: WorkloadKey | None
    min_replicas: int
    max_replicas: int


@dataclass(frozen=True, slots=True)
class Preconditions:
    """A write with these is refused (Conflict) unless the object still has the uid and the resourceVersion."""

    uid: str
    resource_version: str


@dataclass(frozen=True, slots=True)
class Pod:
    namespace: str
    name: str
    uid: str
    phase: str
    ready: bool
    restarts: int
    waiting_reason: str = ""  # e.g. CrashLoopBackOff, ImagePullBackOff
    created_at: str = ""  # in ISO 8601
    problem: str = ""  # why it does not run, in the cluster's words


class WatchEventType(StrEnum):
    SYNCED = "SYNCED"  # all objects of a list have been delivered; after each list
    CHANGED = "CHANGED"
    DELETED = "DELETED"
    REFUSED = "REFUSED"  # list or watch is forbidden, or the resource does not exist; retried until SYNCED
    FAILED = "FAILED"  # a list failed for another reason; retried until SYNCED


class Watched(Protocol):
    @property
    def key(self) -> WorkloadKey | ObjectKey: ...

    @property
    def uid(self) -> str: ...


W = TypeVar("W", bound=Watched)


@dataclass(frozen=True, slots=True)
class WatchEvent(Generic[W]):
    type: WatchEventType
    object: W | None = None  # of CHANGED and DELETED
    message: str = ""  # of REFUSED and FAILED: a sentence, the server's if it answered
