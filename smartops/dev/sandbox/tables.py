"""The tables of `kubectl get`: columns and cells for each kind."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, TypeAlias

from smartops.dev.sandbox.objects import Object
from smartops.dev.sandbox.resources import (
    BY_NAME,
    DAEMON_SET,
    DEPLOYMENT,
    DISRUPTION_BUDGET,
    EVENT,
    NAMESPACE,
    NODE,
    POD,
    REPLICA_SET,
    SERVICE,
    STATEFUL_SET,
    Kind,
)
from smartops.dev.sandbox.selectors import in_words

Cell: TypeAlias = str | int


@dataclass(frozen=True, slots=True)
class Column:
    """`wide`: shown by `-o wide` only."""

    name: str
    cell: Callable[[Object], Cell]
    wide: bool = False


def table(kind: Kind, objects: Sequence[Object], metadata: Object, *, whole: bool = False) -> Object:
    """A meta.k8s.io/v1 Table; each row carries its object, `whole` or only the metadata."""
    columns = COLUMNS.get(kind, (NAME, AGE))
    definitions = [
        {
            "name": column.name,
            "type": "string",
            "format": "name" if column is NAME else "",
            "description": "",
            "priority": int(column.wide),
        }
        for column in columns
    ]
    rows = [
        {"cells": [column.cell(obj) for column in columns], "object": _row_object(kind, obj, whole=whole)}
        for obj in objects
    ]
    return {
        "kind": "Table",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": metadata,
        "columnDefinitions": definitions,
        "rows": rows,
    }


def _row_object(kind: Kind, obj: Object, *, whole: bool) -> Object:
    if whole:
        return {"kind": kind.name, "apiVersion": kind.api_version, **obj}
    return {"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": obj["metadata"]}


def _at(obj: Object, path: str, default: Any = "") -> Any:
    value: Any = obj
    for step in path.split("."):
        value = value.get(step) if isinstance(value, dict) else None
    return default if value is None else value


def _of(path: str, default: Cell = 0) -> Callable[[Object], Cell]:
    return lambda obj: _at(obj, path, default)


def age(text: str) -> str:
    """The time since a timestamp in the format of kubectl: 45s, 3m20s, 5h, 12d."""
    if not text:
        return "<unknown>"
    seconds = max(0, int((datetime.now(UTC) - datetime.fromisoformat(text)).total_seconds()))
    minutes, hours, days = seconds // 60, seconds // 3600, seconds // 86400
    if seconds < 120:
        return f"{seconds}s"
    if minutes < 10:
        return f"{minutes}m{seconds % 60}s" if seconds % 60 else f"{minutes}m"
    if minutes < 180:
        return f"{minutes}m"
    return f"{hours}h" if hours < 48 else f"{days}d"


def _since(path: str) -> Callable[[Object], Cell]:
    return lambda obj: age(_at(obj, path))


def _ready_of_desired(obj: Object) -> Cell:
    return f"{_at(obj, 'status.readyReplicas', 0)}/{_at(obj, 'spec.replicas', 0)}"


def _containers(path: str, member: str) -> Callable[[Object], Cell]:
    return lambda obj: ",".join(str(container.get(member)) for container in _at(obj, f"{path}.containers", []))


def _selector(obj: Object) -> Cell:
    return in_words(_at(obj, "spec.selector", {})) or "<none>"


def _pod_ready(obj: Object) -> Cell:
    statuses = _at(obj, "status.containerStatuses", [])
    return f"{sum(bool(status.get('ready')) for status in statuses)}/{len(_at(obj, 'spec.containers', []))}"


def _pod_status(obj: Object) -> Cell:
    if "deletionTimestamp" in obj["metadata"]:
        return "Terminating"
    waiting = [_at(status, "state.waiting.reason") for status in _at(obj, "status.containerStatuses", [])]
    return str(next(filter(None, waiting), _at(obj, "status.phase", "Unknown")))


def _pod_restarts(obj: Object) -> Cell:
    return sum(int(status.get("restartCount", 0)) for status in _at(obj, "status.containerStatuses", []))


def _service_ports(obj: Object) -> Cell:
    return ",".join(f"{port.get('port')}/{port.get('protocol')}" for port in _at(obj, "spec.ports", [])) or "<none>"


def _service_selector(obj: Object) -> Cell:
    return ",".join(f"{key}={value}" for key, value in sorted(_at(obj, "spec.selector", {}).items())) or "<none>"


def _node_status(obj: Object) -> Cell:
    ready = [entry for entry in _at(obj, "status.conditions", []) if entry["type"] == "Ready"]
    return "Ready" if ready and ready[0]["status"] == "True" else "NotReady"


def _involved(obj: Object) -> Cell:
    return f"{_at(obj, 'involvedObject.kind').lower()}/{_at(obj, 'involvedObject.name')}"


def _reference(obj: Object) -> Cell:
    return f"{_at(obj, 'spec.scaleTargetRef.kind')}/{_at(obj, 'spec.scaleTargetRef.name')}"


NAME = Column("Name", _of("metadata.name"))
AGE = Column("Age", _since("metadata.creationTimestamp"))
NODE_SELECTOR = "spec.template.spec.nodeSelector"
TEMPLATE = (
    Column("Containers", _containers("spec.template.spec", "name"), wide=True),
    Column("Images", _containers("spec.template.spec", "image"), wide=True),
    Column("Selector", _selector, wide=True),
)
COLUMNS: dict[Kind, tuple[Column, ...]] = {
    DEPLOYMENT: (
        NAME,
        Column("Ready", _ready_of_desired),
        Column("Up-to-date", _of("status.updatedReplicas")),
        Column("Available", _of("status.availableReplicas")),
        AGE,
        *TEMPLATE,
    ),
    REPLICA_SET: (
        NAME,
        Column("Desired", _of("spec.replicas")),
        Column("Current", _of("status.replicas")),
        Column("Ready", _of("status.readyReplicas")),
        AGE,
        *TEMPLATE,
    ),
    STATEFUL_SET: (NAME, Column("Ready", _ready_of_desired), AGE, *TEMPLATE[:2]),
    DAEMON_SET: (
        NAME,
        Column("Desired", _of("status.desiredNumberScheduled")),
        Column("Current", _of("status.currentNumberScheduled")),
        Column("Ready", _of("status.numberReady")),
        Column("Up-to-date", _of("status.updatedNumberScheduled")),
        Column("Available", _of("status.numberAvailable")),
        Column("Node Selector", lambda obj: in_words({"matchLabels": _at(obj, NODE_SELECTOR, {})}) or "<none>"),
        AGE,
        *TEMPLATE,
    ),
    POD: (
        NAME,
        Column("Ready", _pod_ready),
        Column("Status", _pod_status),
        Column("Restarts", _pod_restarts),
        AGE,
        Column("IP", _of("status.podIP", "<none>"), wide=True),
        Column("Node", _of("spec.nodeName", "<none>"), wide=True),
    ),
    SERVICE: (
        NAME,
        Column("Type", _of("spec.type")),
        Column("Cluster-IP", _of("spec.clusterIP", "<none>")),
        Column("External-IP", _of("spec.externalName", "<none>")),
        Column("Port(s)", _service_ports),
        AGE,
        Column("Selector", _service_selector, wide=True),
    ),
    NAMESPACE: (NAME, Column("Status", _of("status.phase")), AGE),
    NODE: (NAME, Column("Status", _node_status), AGE, Column("Version", _of("status.nodeInfo.kubeletVersion"))),
    EVENT: (
        Column("Last Seen", _since("lastTimestamp")),
        Column("Type", _of("type")),
        Column("Reason", _of("reason")),
        Column("Object", _involved),
        Column("Message", _of("message")),
        Column("Name", _of("metadata.name"), wide=True),
    ),
    BY_NAME["autoscaling/v2", "HorizontalPodAutoscaler"]: (
        NAME,
        Column("Reference", _reference),
        Column("MinPods", _of("spec.minReplicas")),
        Column("MaxPods", _of("spec.maxReplicas")),
        Column("Replicas", _of("status.currentReplicas")),
        AGE,
    ),
    DISRUPTION_BUDGET: (
        NAME,
        Column("Min Available", _of("spec.minAvailable", "N/A")),
        Column("Max Unavailable", _of("spec.maxUnavailable", "N/A")),
        Column("Allowed Disruptions", _of("status.disruptionsAllowed")),
        AGE,
    ),
    BY_NAME["batch/v1", "CronJob"]: (
        NAME,
        Column("Schedule", _of("spec.schedule")),
        Column("Suspend", lambda obj: str(_at(obj, "spec.suspend", False))),
        AGE,
    ),
}
