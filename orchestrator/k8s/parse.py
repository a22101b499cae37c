"""From the API's JSON to our types. The typed models of the client library cost 15 times as much on large lists."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from orchestrator.k8s.owners import LAST_APPLIED, ManagedFieldsEntry, ObjectMeta, field_owners, our_fields
from orchestrator.k8s.types import Autoscaler, Condition, Deployment, Pod, WorkloadKey

T = TypeVar("T")


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
    annotations = _texts(metadata, "annotations")
    key, entries = _key(metadata), _managed(metadata)
    return Deployment(
        key=key,
        uid=_required(metadata, "uid"),
        resource_version=_required(metadata, "resourceVersion"),
        generation=_count(metadata, "generation"),
        replicas=_count(spec, "replicas", 1),
        paused=spec.get("paused") is True,
        deleting=metadata.get("deletionTimestamp") is not None,
        # The last applied configuration is the whole manifest once more, several kB for each object.
        annotations={name: value for name, value in annotations.items() if name != LAST_APPLIED},
        observed_generation=_count(status, "observedGeneration"),
        status_replicas=_count(status, "replicas"),
        updated_replicas=_count(status, "updatedReplicas"),
        ready_replicas=_count(status, "readyReplicas"),
        available_replicas=_count(status, "availableReplicas"),
        unavailable_replicas=_count(status, "unavailableReplicas"),
        conditions=_conditions(status),
        owners=field_owners(_marks(key, annotations, metadata), entries),
        ours=our_fields(entries),
    )


def parse_autoscaler(raw: Any) -> Autoscaler:
    """Of autoscaling/v2."""
    metadata, spec = _object(raw, "metadata"), _object(raw, "spec")
    key, reference = _key(metadata), _object(spec, "scaleTargetRef")
    group, _, _ = _text(reference, "apiVersion").partition("/")
    ours = (group, _text(reference, "kind")) == ("apps", "Deployment")
    return Autoscaler(
        key=key,
        uid=_required(metadata, "uid"),
        target=WorkloadKey(key.namespace, _required(reference, "name")) if ours else None,
        min_replicas=_count(spec, "minReplicas", 1),
        max_replicas=_count(spec, "maxReplicas"),
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


def _key(metadata: Mapping[str, Any]) -> WorkloadKey:
    return WorkloadKey(_required(metadata, "namespace"), _required(metadata, "name"))


def _marks(key: WorkloadKey, annotations: Mapping[str, str], metadata: Mapping[str, Any]) -> ObjectMeta:
    references = (one for one in _array(metadata, "ownerReferences") if parse_object(one).get("controller") is True)
    controller = next((f"{_text(one, 'kind')} {_text(one, 'name')}" for one in references), "")
    return ObjectMeta(str(key), _texts(metadata, "labels"), annotations, controller)


def _managed(metadata: Mapping[str, Any]) -> list[ManagedFieldsEntry]:
    return [
        ManagedFieldsEntry(_text(entry, "manager"), _text(entry, "operation"), _object(entry, "fieldsV1"))
        for entry in _array(metadata, "managedFields")
    ]


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


def _texts(raw: Any, name: str) -> Mapping[str, str]:
    values = _object(raw, name)
    return {key: _text(values, key) for key in values}


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
