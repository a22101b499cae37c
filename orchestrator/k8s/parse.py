"""From the API's JSON to the values of types.py. The reconciler parses every change of every workload: each field is
read by one call. The Kubernetes library's models cost 15 times as much on large lists.
"""

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from itertools import chain
from sys import intern
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

from orchestrator.k8s.fields import changeable
from orchestrator.k8s.itself import own_deployment, own_mark
from orchestrator.k8s.owners import ManagedFieldsEntry, ObjectMeta, field_owners, our_fields, template_changes
from orchestrator.k8s.resources import DEPLOYMENTS, SCALED_KINDS
from orchestrator.k8s.types import (
    ACTION_ANNOTATION,
    FIELD_MANAGER,
    Autoscaler,
    Condition,
    ObjectKey,
    Pod,
    Update,
    WorkloadKey,
    WorkloadObject,
)
from signals.lib.redaction import redacted
from signals.proposals.paths import TEMPLATE
from signals.proposals.restart import FIELD, RESTART_ANNOTATION
from signals.types import Kind, Link

T = TypeVar("T")


class Counts(NamedTuple):
    """The fields of the status. `desired` is "" where the spec says it."""

    desired: str
    total: str
    updated: str
    ready: str
    available: str
    unavailable: str


REPLICAS = Counts("", "replicas", "updatedReplicas", "readyReplicas", "availableReplicas", "unavailableReplicas")
COUNTS: Mapping[Kind, Counts] = {
    Kind.DEPLOYMENT: REPLICAS,
    Kind.STATEFUL_SET: REPLICAS,
    Kind.DAEMON_SET: Counts(
        "desiredNumberScheduled",
        "currentNumberScheduled",
        "updatedNumberScheduled",
        "numberReady",
        "numberAvailable",
        "numberUnavailable",
    ),
}
KEPT_ANNOTATIONS = (ACTION_ANNOTATION,)
EXPRESSIONS = {"In": "{} in ({})", "NotIn": "{} notin ({})", "Exists": "{}", "DoesNotExist": "!{}"}
NO_DEADLINE = 2**31 - 1
OURS = (FIELD_MANAGER,)
REVISIONS = {
    Kind.DEPLOYMENT: "deployment.kubernetes.io/revision",
    Kind.DAEMON_SET: "deprecated.daemonset.template.generation",
}


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """One answer to a list request; `continuation` is empty on the last."""

    items: list[T]
    resource_version: str
    continuation: str


def parse_page(raw: Any, parse_item: Callable[[Any], T]) -> Page[T]:
    """ValueError, here and below, for JSON that does not have the API's types. null is the same as omitted."""
    raw = parse_object(raw)
    metadata = _object(raw, "metadata")
    items = [parse_item(item) for item in _array(raw, "items")]
    return Page(items, _text(metadata, "resourceVersion"), _text(metadata, "continue"))


def parse_workload(raw: Any, kind: Kind = Kind.DEPLOYMENT) -> WorkloadObject:
    """`kind` is that of the request: an object within a list does not name its own."""
    raw = parse_object(raw)
    metadata, spec, status = _object(raw, "metadata"), _object(raw, "spec"), _object(raw, "status")
    annotations = _texts(metadata, "annotations")
    key, entries = _key(metadata, kind), _managed_fields(metadata)
    ours = our_fields(entries)
    update, counts = _object(spec, "updateStrategy"), COUNTS[kind]
    return WorkloadObject(
        key=key,
        uid=_required(metadata, "uid"),
        resource_version=_required(metadata, "resourceVersion"),
        generation=_count(metadata, "generation"),
        replicas=_count(status, counts.desired) if counts.desired else _count(spec, "replicas", 1),
        paused=spec.get("paused") is True,
        deleting=metadata.get("deletionTimestamp") is not None,
        # Others, such as the last applied configuration, are several kB for each object, and nothing reads them.
        annotations={name: annotations[name] for name in KEPT_ANNOTATIONS if name in annotations},
        observed_generation=_count(status, "observedGeneration"),
        status_replicas=_count(status, counts.total),
        updated_replicas=_count(status, counts.updated),
        ready_replicas=_count(status, counts.ready),
        available_replicas=_count(status, counts.available),
        unavailable_replicas=_count(status, counts.unavailable),
        conditions=_conditions(status),
        progress_deadline=_progress_deadline(spec),
        update=Update.ON_DELETE if _text(update, "type") == Update.ON_DELETE else Update.ROLLING,
        partition=_count(_object(update, "rollingUpdate"), "partition"),
        is_current=_text(status, "currentRevision") == _text(status, "updateRevision"),
        created_at=_moment(metadata, "creationTimestamp"),
        revision=_revision(annotations, kind),
        template_changes=template_changes(entries, without=() if _changed_last(spec, annotations, ours) else OURS),
        owners=field_owners(_object_meta(key, annotations, metadata), entries),
        ours=ours,
        containers=_containers(spec),
        part_of_smartops=_part_of_smartops(key, metadata, spec),
        selector=_selector(_object(spec, "selector")),
        document=json.dumps(changeable(raw), separators=(",", ":")),
    )


def parse_autoscaler(raw: Any) -> Autoscaler:
    """Of autoscaling/v2."""
    raw = parse_object(raw)
    metadata, spec = _object(raw, "metadata"), _object(raw, "spec")
    namespace, name = intern(_required(metadata, "namespace")), _required(metadata, "name")
    key, reference = ObjectKey(namespace, name), _object(spec, "scaleTargetRef")
    group, _, _ = _text(reference, "apiVersion").partition("/")
    kind = _text(reference, "kind")
    known = group == DEPLOYMENTS.group and kind in SCALED_KINDS
    return Autoscaler(
        key=key,
        uid=_required(metadata, "uid"),
        target=WorkloadKey(key.namespace, _required(reference, "name"), Kind(kind)) if known else None,
        min_replicas=_count(spec, "minReplicas", 1),
        max_replicas=_count(spec, "maxReplicas"),
    )


def parse_pod(raw: Any) -> Pod:
    raw = parse_object(raw)
    metadata, status = _object(raw, "metadata"), _object(raw, "status")
    conditions, containers = _conditions(status), _objects(status, "containerStatuses")
    inits = _objects(status, "initContainerStatuses")
    waiting = [_object(_object(container, "state"), "waiting") for container in [*inits, *containers]]
    reasons = (_text(one, "reason") for one in waiting)
    unscheduled = (f"{one.reason}: {one.message}" for one in conditions if _is_unscheduled(one))
    stopped = (f"{_text(one, 'reason')}: {_text(one, 'message')}" for one in [status, *waiting] if _text(one, "reason"))
    return Pod(
        namespace=_required(metadata, "namespace"),
        name=_required(metadata, "name"),
        uid=_required(metadata, "uid"),
        phase=_text(status, "phase"),
        ready=any(condition.type == "Ready" and condition.status == "True" for condition in conditions),
        restarts=sum(_count(container, "restartCount") for container in containers),
        waiting_reason=next(filter(None, reasons), ""),
        created_at=_text(metadata, "creationTimestamp"),
        problem=redacted(next(chain(unscheduled, stopped), "").removesuffix(": ")),
    )


def parse_controller(raw: Any) -> Link | None:
    """The controller of any object."""
    return _controller(_object(parse_object(raw), "metadata"))


def parse_controlled(raw: Any) -> tuple[Link, Link | None]:
    """A pod with its controller."""
    metadata = _object(parse_object(raw), "metadata")
    return Link("Pod", _required(metadata, "name")), _controller(metadata)


def parse_service_selector(raw: Any) -> str:
    selector = _texts(_object(parse_object(raw), "spec"), "selector")
    return ",".join(f"{name}={value}" for name, value in sorted(selector.items()))


def resource_version(raw: Mapping[str, Any]) -> str:
    return _required(_object(raw, "metadata"), "resourceVersion")


def parse_object(raw: Any) -> Mapping[str, Any]:
    """The JSON object itself."""
    if not isinstance(raw, dict):
        raise ValueError(f"expected an object, not {type(raw).__name__}")
    return raw


class Field(Protocol[T]):
    """Reads one field of a JSON object; ValueError if it has another type."""

    def __call__(self, raw: Mapping[str, Any], name: str, default: T = ...) -> T: ...


def _field(expected: type[T], omitted: T) -> Field[T]:
    def read(raw: Mapping[str, Any], name: str, default: T = omitted) -> T:
        value = raw.get(name)
        if value is None:
            return default
        if type(value) is not expected:  # isinstance would take a boolean for an integer
            raise ValueError(f"{name} is not of type {expected.__name__}: {str(value)[:100]}")
        return value

    return read


_text: Field[str] = _field(str, "")
_count: Field[int] = _field(int, 0)
_object: Field[Mapping[str, Any]] = _field(dict, {})
_array: Field[list[Any]] = _field(list, [])


def _objects(raw: Mapping[str, Any], name: str) -> list[Mapping[str, Any]]:
    return [parse_object(item) for item in _array(raw, name)]


def _texts(raw: Mapping[str, Any], name: str) -> Mapping[str, str]:
    values = _object(raw, name)
    return {key: _text(values, key) for key in values}


def _moment(raw: Mapping[str, Any], name: str) -> datetime | None:
    """RFC 3339, in UTC."""
    value = _text(raw, name)
    return datetime.fromisoformat(value) if value else None


def _revision(annotations: Mapping[str, str], kind: Kind) -> int:
    text = annotations.get(REVISIONS.get(kind, ""), "")
    return int(text) if text.isascii() and text.isdigit() else 0


def _progress_deadline(spec: Mapping[str, Any]) -> int:
    """An API server always sets it; its largest value means that there is none."""
    seconds = _count(spec, "progressDeadlineSeconds")
    return 0 if seconds == NO_DEADLINE else seconds


def _required(raw: Mapping[str, Any], name: str) -> str:
    value = _text(raw, name)
    if not value:
        raise ValueError(f"{name} is missing")
    return value


def _key(metadata: Mapping[str, Any], kind: Kind) -> WorkloadKey:
    return WorkloadKey(intern(_required(metadata, "namespace")), _required(metadata, "name"), kind)


def _containers(spec: Mapping[str, Any]) -> tuple[str, ...]:
    pod = _object(_object(spec, "template"), "spec")
    return tuple(intern(_text(container, "name")) for container in _objects(pod, "containers"))


def _changed_last(spec: Mapping[str, Any], annotations: Mapping[str, str], ours: Iterable[str]) -> bool:
    """Whether our last write may have changed the pod template. If a restart is all that we ever changed of it, the
    annotation of the restart has the id of the last action."""
    if any(field.startswith(TEMPLATE) and field != FIELD for field in ours):
        return True
    metadata = _object(_object(spec, "template"), "metadata")
    return _text(_object(metadata, "annotations"), RESTART_ANNOTATION) == annotations.get(ACTION_ANNOTATION)


def _part_of_smartops(key: WorkloadKey, metadata: Mapping[str, Any], spec: Mapping[str, Any]) -> str:
    if key == own_deployment():
        return "the pod of this process"
    template = _object(spec, "template")
    labelled = (
        _object(metadata, "labels"),
        _object(_object(spec, "selector"), "matchLabels"),
        _object(_object(template, "metadata"), "labels"),
    )
    return own_mark(labelled, _text(_object(template, "spec"), "serviceAccountName"))


def _object_meta(key: WorkloadKey, annotations: Mapping[str, str], metadata: Mapping[str, Any]) -> ObjectMeta:
    owner = _controlling(metadata)
    controller = "" if owner is None else f"{_text(owner, 'kind')} {_text(owner, 'name')}"
    return ObjectMeta(key.kind, key.place, _texts(metadata, "labels"), annotations, controller)


def _controller(metadata: Mapping[str, Any]) -> Link | None:
    """A kind of another API than Kubernetes' own has its group in its name: there are several StatefulSets."""
    owner = _controlling(metadata)
    if owner is None:
        return None
    group, kind = _text(owner, "apiVersion").rpartition("/")[0], _required(owner, "kind")
    return Link(kind if group in ("", "apps", "batch") else f"{kind}.{group}", _required(owner, "name"))


def _controlling(metadata: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The reference to the controller."""
    return next((one for one in _objects(metadata, "ownerReferences") if one.get("controller") is True), None)


def _managed_fields(metadata: Mapping[str, Any]) -> list[ManagedFieldsEntry]:
    return [
        ManagedFieldsEntry(
            intern(_text(entry, "manager")),
            _text(entry, "operation"),
            _object(entry, "fieldsV1"),
            _moment(entry, "time"),
        )
        for entry in _objects(metadata, "managedFields")
    ]


def _conditions(status: Mapping[str, Any]) -> tuple[Condition, ...]:
    return tuple(
        Condition(
            intern(_text(raw, "type")),
            intern(_text(raw, "status")),
            intern(_text(raw, "reason")),
            redacted(_text(raw, "message")),
            _text(raw, "lastUpdateTime") or _text(raw, "lastTransitionTime"),
        )
        for raw in _objects(status, "conditions")
    )


def _is_unscheduled(condition: Condition) -> bool:
    return (condition.type, condition.status) == ("PodScheduled", "False")


def _selector(raw: Mapping[str, Any]) -> str:
    """A LabelSelector as text."""
    terms = [f"{name}={value}" for name, value in _texts(raw, "matchLabels").items()]
    for one in _objects(raw, "matchExpressions"):
        form = EXPRESSIONS.get(operator := _required(one, "operator"))
        if form is None:
            raise ValueError(f"the operator {operator} of a selector is unknown")
        terms.append(form.format(_text(one, "key"), ",".join(map(str, _array(one, "values")))))
    return ",".join(terms)
