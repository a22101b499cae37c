"""A Kubernetes Event on a workload, as `kubectl describe` shows it."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from hashlib import blake2b
from typing import Any

from orchestrator.k8s.types import WorkloadKey

MAX_NAME = 253  # characters
MAX_MESSAGE = 1024  # bytes: what events.k8s.io allows; core/v1 would store anything


class EventType(StrEnum):
    NORMAL = "Normal"
    WARNING = "Warning"


@dataclass(frozen=True, slots=True)
class KubernetesEvent:
    """One Event on the workload `uid`. `about` is the id of the action or the signal that it reports."""

    key: WorkloadKey
    uid: str
    type: EventType
    reason: str  # one CamelCase word
    message: str
    about: str
    link: str = ""  # to the page of the console about it; it follows the message, and is never cut

    @property
    def name(self) -> str:
        """Equal for equal objects, reasons and `about`. The message does not count. The API server refuses to store the
        name again, also if another process sends it."""
        digest = blake2b("\x1f".join((self.uid, self.about, self.reason)).encode(), digest_size=8).hexdigest()
        return f"{self.key.name[: MAX_NAME - 1 - len(digest)].rstrip('-.')}.{digest}"


def event_of(event: KubernetesEvent, at: datetime) -> dict[str, Any]:
    """The Event of core/v1, as JSON."""
    key, time = event.key, at.isoformat()
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": event.name, "namespace": key.namespace},
        "involvedObject": {
            "apiVersion": "apps/v1", "kind": key.kind.value,
            "namespace": key.namespace, "name": key.name, "uid": event.uid,
        },
        "type": event.type.value,
        "reason": event.reason,
        "message": _note(event),
        "source": {"component": "smartops"},
        "reportingComponent": "smartops.io/orchestrator",
        "firstTimestamp": time,
        "lastTimestamp": time,
        "count": 1,
    }  # fmt: skip


def _note(event: KubernetesEvent) -> str:
    if not event.link:
        return shorten(event.message)
    link = f" {event.link}"
    return shorten(event.message, MAX_MESSAGE - len(link.encode())) + link


def shorten(message: str, limit: int = MAX_MESSAGE) -> str:
    """At most `limit` bytes of UTF-8."""
    raw = message.encode(errors="replace")
    if len(raw) <= limit:
        return raw.decode()
    return raw[: limit - len("…".encode())].decode(errors="ignore") + "…"
