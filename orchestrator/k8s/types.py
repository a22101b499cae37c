"""What SmartOps knows of a cluster: frozen values, parsed from the API's JSON, without the client library's types."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Generic, Protocol, TypeVar

from guardrails.types import FieldOwner

ACTION_ANNOTATION = "smartops.io/action"  # on the Deployment: the id of the last action whose change landed
FIELD_MANAGER = "smartops"  # as whom we write, in managedFields


@dataclass(frozen=True, slots=True, order=True)
class WorkloadKey:
    """The place in one cluster of a Deployment, or of what belongs to one."""

    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"


@dataclass(frozen=True, slots=True)
class Condition:
    type: str
    status: str
    reason: str = ""
    message: str = ""


@dataclass(frozen=True, slots=True)
class Deployment:
    """One Deployment as the API server described it at `resource_version`. Counts the server omits are 0; omitted
    `spec.replicas` is 1, as the API defaults it."""

    key: WorkloadKey
    uid: str
    resource_version: str
    generation: int
    replicas: int  # spec.replicas: what is desired
    paused: bool
    deleting: bool
    annotations: Mapping[str, str] = field(hash=False)
    observed_generation: int = 0
    status_replicas: int = 0
    updated_replicas: int = 0
    ready_replicas: int = 0
    available_replicas: int = 0
    unavailable_replicas: int = 0
    conditions: tuple[Condition, ...] = ()
    owners: tuple[FieldOwner, ...] = ()
    ours: tuple[str, ...] = ()  # the fields that we wrote, and nobody else since


@dataclass(frozen=True, slots=True)
class Autoscaler:
    """A HorizontalPodAutoscaler. `target` is None where it scales something else than a Deployment."""

    key: WorkloadKey
    uid: str
    target: WorkloadKey | None
    min_replicas: int
    max_replicas: int


@dataclass(frozen=True, slots=True)
class Preconditions:
    """A write with these is refused (409) unless the object is still this one (uid) at this version."""

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


class WatchEventType(StrEnum):
    SYNCED = "SYNCED"  # every object of the list has been delivered; sent after each (re-)list
    CHANGED = "CHANGED"
    DELETED = "DELETED"
    REFUSED = "REFUSED"  # we may not list or watch, or there is no such kind; it is tried again until SYNCED


class Watched(Protocol):
    @property
    def key(self) -> WorkloadKey: ...

    @property
    def uid(self) -> str: ...


W = TypeVar("W", bound=Watched)


@dataclass(frozen=True, slots=True)
class WatchEvent(Generic[W]):
    type: WatchEventType
    object: W | None = None  # of CHANGED and DELETED
    message: str = ""  # of REFUSED: what the server said
