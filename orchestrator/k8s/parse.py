"""From the API's JSON to our types. The typed models of the client library cost 15 times as much on large lists."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from orchestrator.k8s.types import Condition, Deployment, Pod, WorkloadKey

T = TypeVar("T")

# The whole manifest once more, several kB for each object: nothing here reads it, so nothing here keeps it.
LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """One answer to a list request; `continuation` is empty on the last."""

    items: list[T]
    resource_version: str
    continuation: str


def parse_page(raw: Any, parse_item: Callable[[Any], T]) -> Page[T]:
    """ValueError, here and below, for anything that the API cannot have meant. JSON's null is the same as omitted."""
    metadata = _object(raw, "metadata")
    items = [parse_item(item) for item in _array(raw, "items")]
    return Page(items, _text(metadata, "resourceVersion"), _text(metadata, "continue"))


def parse_deployment(raw: Any) -> Deployment:
    metadata, spec, status = _object(raw, "metadata"), _object(raw, "spec"), _object(raw, "status")
    annotations = _object(metadata, "annotations")
    return Deployment(
        key=WorkloadKey(_required(metadata, "namespace"), _required(metadata, "name")),
        uid=_required(metadata, "uid"),
        resource_version=_required(metadata, "resourceVersion"),
        generation=_count(metadata, "generation"),
        replicas=_count(spec, "replicas", 1),
        paused=spec.get("paused") is True,
        deleting=metadata.get("deletionTimestamp") is not None,
        annotations={name: _text(annotations, name) for name in annotations if name != LAST_APPLIED},
        observed_generation=_count(status, "observedGeneration"),
        status_replicas=_count(status, "replicas"),
        updated_replicas=_count(status, "updatedReplicas"),
        ready_replicas=_count(status, "readyReplicas"),
        available_replicas=_count(status, "availableReplicas"),
        unavailable_replicas=_count(status, "unavailableReplicas"),
        conditions=_conditions(status),
    )


def parse_pod(raw: Any) -> Pod:
    metadata, status = _object(raw, "metadata"), _object(raw, "status")
    containers = _array(status, "containerStatuses")
    waiting = (_text(_object(_object(container, "state"), "waiting"), "reason") for container in containers)
    return Pod(
        namespace=_required(metadata, "namespace"),
        name=_required(metadata, "name"),
        uid=_required(metadata, "uid"),
        phase=_text(status, "phase"),
        ready=any(condition.type == "Ready" and condition.status == "True" for condition in _conditions(status)),
        restarts=sum(_count(container, "restartCount") for container in containers),
        waiting_reason=next(filter(None, waiting), ""),
    )


def resource_version(raw: Any) -> str:
    return _required(_object(raw, "metadata"), "resourceVersion")


def parse_object(raw: Any) -> Mapping[str, Any]:
    """For answers of which only one thing matters: that they are whole."""
    if not isinstance(raw, dict):
        raise ValueError(f"expected an object, not {type(raw).__name__}")
    return raw


def _conditions(status: Mapping[str, Any]) -> tuple[Condition, ...]:
    return tuple(
        Condition(_text(raw, "type"), _text(raw, "status"), _text(raw, "reason"), _text(raw, "message"))
        for raw in _array(status, "conditions")
    )


def _field(raw: Any, name: str, expected: type[T], default: T) -> T:
    value = parse_object(raw).get(name)
    if value is None:
        return default
    if not isinstance(value, expected) or (expected is int and isinstance(value, bool)):
        raise ValueError(f"{name} is not of type {expected.__name__}: {str(value)[:100]}")
    return value


def _object(raw: Any, name: str) -> Mapping[str, Any]:
    return _field(raw, name, dict, {})


def _array(raw: Any, name: str) -> list[Any]:
    return _field(raw, name, list, [])


def _count(raw: Any, name: str, default: int = 0) -> int:
    return _field(raw, name, int, default)


def _text(raw: Any, name: str) -> str:
    return _field(raw, name, str, "")


def _required(raw: Any, name: str) -> str:
    value = _text(raw, name)
    if not value:
        raise ValueError(f"{name} is missing")
    return value
