"""What the API server refuses: what does not decode into its types, and wrong values with a cause per field."""

import re
from collections.abc import Callable, Iterator

from smartops.sandbox.errors import Cause
from smartops.sandbox.objects import Object, encode
from smartops.sandbox.resources import DEPLOYMENT, POD, REPLICA_SET, Kind
from smartops.sandbox.selectors import matches

_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")
_SUBDOMAIN = re.compile(rf"{_LABEL.pattern}(\.{_LABEL.pattern})*")
_QUALIFIED = re.compile(rf"({_SUBDOMAIN.pattern}/)?[A-Za-z0-9]([-A-Za-z0-9_.]{{0,61}}[A-Za-z0-9])?")
_LABEL_VALUE = re.compile(r"([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?")
_PERCENT = re.compile(r"[0-9]+%")
_DNS_LABEL_KINDS = {"Namespace", "Service"}
_PATH_NAME_KINDS = {"Role", "RoleBinding", "ClusterRole", "ClusterRoleBinding"}

_TYPES: dict[str, tuple[type, str]] = {
    "metadata": (dict, "ObjectMeta"),
    "metadata.labels": (dict, "map[string]string"),
    "metadata.annotations": (dict, "map[string]string"),
    "metadata.ownerReferences": (list, "[]OwnerReference"),
    "metadata.finalizers": (list, "[]string"),
    "metadata.name": (str, "string"),
    "metadata.namespace": (str, "string"),
    "metadata.uid": (str, "types.UID"),
    "metadata.resourceVersion": (str, "string"),
    "spec": (dict, "Spec"),
    "spec.replicas": (int, "int32"),
    "spec.minReadySeconds": (int, "int32"),
    "spec.progressDeadlineSeconds": (int, "int32"),
    "spec.revisionHistoryLimit": (int, "int32"),
    "spec.paused": (bool, "bool"),
    "spec.selector": (dict, "LabelSelector"),
    "spec.selector.matchLabels": (dict, "map[string]string"),
    "spec.selector.matchExpressions": (list, "[]LabelSelectorRequirement"),
    "spec.strategy": (dict, "DeploymentStrategy"),
    "spec.strategy.type": (str, "DeploymentStrategyType"),
    "spec.strategy.rollingUpdate": (dict, "RollingUpdateDeployment"),
    "spec.template": (dict, "PodTemplateSpec"),
    "spec.template.metadata": (dict, "ObjectMeta"),
    "spec.template.metadata.labels": (dict, "map[string]string"),
    "spec.template.metadata.annotations": (dict, "map[string]string"),
    "spec.template.spec": (dict, "PodSpec"),
    "spec.template.spec.containers": (list, "[]Container"),
}
STANDARD_FINALIZERS = {"orphan", "foregroundDeletion", "kubernetes"}
_WORKLOADS = {"Deployment", "ReplicaSet", "StatefulSet", "DaemonSet"}


class WrongTypeError(ValueError):
    """The object cannot be decoded; the message is the decoder's."""


def check_types(kind: Kind, obj: Object) -> None:
    """Raises WrongTypeError."""
    for path, (expected, go) in _TYPES.items():
        if path.startswith("spec.") and kind.name not in _WORKLOADS:
            continue
        value: object = obj
        for step in path.split("."):
            value = value.get(step) if isinstance(value, dict) else None
        wrong = [value] if not _is(value, expected) else []
        if go == "map[string]string" and isinstance(value, dict):
            wrong = [item for item in value.values() if not _is(item, str)]
        if wrong:
            found = _json_type(wrong[0])
            raise WrongTypeError(f"json: cannot unmarshal {found} into Go struct field {kind.name}.{path} of type {go}")


def validate(kind: Kind, new: Object, old: Object | None) -> list[Cause]:
    """All that is wrong with an object of checked types; `old` is None on creation."""
    causes = [*_metadata(kind, new["metadata"], old["metadata"] if old else None)]
    if kind in VALIDATORS:
        causes += VALIDATORS[kind](new["spec"], old["spec"] if old else None)
    return causes


def _metadata(kind: Kind, new: Object, old: Object | None) -> Iterator[Cause]:
    name = new.get("name", "")
    if not name:
        yield Cause("metadata.name", "FieldValueRequired", "Required value: name or generateName is required")
    elif kind.name in _DNS_LABEL_KINDS and not (_LABEL.fullmatch(name) and len(name) <= 63):
        yield _wrong("metadata.name", name, "a lowercase RFC 1123 label must consist of lower case alphanumeric "
                     "characters or '-', and must start and end with an alphanumeric character")  # fmt: skip
    elif kind.name not in _PATH_NAME_KINDS and not (_SUBDOMAIN.fullmatch(name) and len(name) <= 253):
        yield _wrong("metadata.name", name, "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric "
                     "characters, '-' or '.', and must start and end with an alphanumeric character")  # fmt: skip
    yield from _labels("metadata.labels", new.get("labels") or {})
    for key in new.get("annotations") or {}:
        if not _QUALIFIED.fullmatch(key.lower()):
            yield _wrong("metadata.annotations", key, "name part must consist of alphanumeric characters, '-', '_' or "
                         "'.', and must start and end with an alphanumeric character")  # fmt: skip
    for index, finalizer in enumerate(new.get("finalizers") or []):
        if "/" not in str(finalizer) and finalizer not in STANDARD_FINALIZERS:
            why = "name is neither a standard finalizer name nor is it fully qualified"
            yield _wrong(f"metadata.finalizers[{index}]", finalizer, why)
    for index, reference in enumerate(new.get("ownerReferences") or []):
        for field in ("apiVersion", "kind", "name", "uid"):
            if not isinstance(reference, dict) or not reference.get(field):
                where, why = f"metadata.ownerReferences[{index}].{field}", "Required value: must not be empty"
                yield Cause(where, "FieldValueRequired", why)
    if old and new["uid"] != old["uid"]:
        yield _wrong("metadata.uid", new["uid"], "field is immutable")


def _labels(path: str, labels: Object) -> Iterator[Cause]:
    for key, value in labels.items():
        if not _QUALIFIED.fullmatch(key):
            yield _wrong(path, key, "name part must consist of alphanumeric characters, '-', '_' or '.'")
        if not _LABEL_VALUE.fullmatch(value):
            yield _wrong(path, value, "a valid label must be an empty string or consist of alphanumeric characters, "
                         "'-', '_' or '.', and must start and end with an alphanumeric character")  # fmt: skip


def _workload(new: Object, old: Object | None) -> Iterator[Cause]:
    yield from _not_negative(new, "replicas", "minReadySeconds", "revisionHistoryLimit")
    selector, template = new.get("selector"), new.get("template")
    if not selector:
        yield Cause("spec.selector", "FieldValueRequired", "Required value")
    labels = ((template or {}).get("metadata") or {}).get("labels")
    yield from _labels("spec.template.labels", labels or {})
    if not selector or not matches(selector, labels or {}):
        yield _wrong("spec.template.metadata.labels", labels, "`selector` does not match template `labels`")
    yield from _pod_spec("spec.template.spec", (template or {}).get("spec") or {})
    if old and selector != old["selector"]:
        yield _wrong("spec.selector", selector, "field is immutable")


def _deployment(new: Object, old: Object | None) -> Iterator[Cause]:
    yield from _workload(new, old)
    yield from _not_negative(new, "progressDeadlineSeconds")
    if new["progressDeadlineSeconds"] <= new.get("minReadySeconds", 0):
        deadline = new["progressDeadlineSeconds"]
        yield _wrong("spec.progressDeadlineSeconds", deadline, "must be greater than minReadySeconds")
    strategy = new["strategy"]
    if strategy["type"] not in ("RollingUpdate", "Recreate"):
        message = f'Unsupported value: {_shown(strategy)}: supported values: "Recreate", "RollingUpdate"'
        yield Cause("spec.strategy", "FieldValueNotSupported", message)
    rolling = strategy.get("rollingUpdate")
    if strategy["type"] == "Recreate" and rolling is not None:
        message = "Forbidden: may not be specified when strategy `type` is 'Recreate'"
        yield Cause("spec.strategy.rollingUpdate", "FieldValueForbidden", message)
    for field, value in (rolling or {}).items():
        if not (_is(value, int) and value >= 0) and not (isinstance(value, str) and _PERCENT.fullmatch(value)):
            yield _wrong(f"spec.strategy.rollingUpdate.{field}", value, "must be an integer or percentage (e.g '5%')")
    if rolling and all(str(rolling.get(field)) in ("0", "0%") for field in ("maxSurge", "maxUnavailable")):
        yield _wrong("spec.strategy.rollingUpdate.maxUnavailable", rolling["maxUnavailable"],
                     "may not be 0 when `maxSurge` is 0")  # fmt: skip


def _pod_spec(path: str, spec: Object) -> Iterator[Cause]:
    containers = spec.get("containers")
    if not isinstance(containers, list) or not containers:
        yield Cause(f"{path}.containers", "FieldValueRequired", "Required value")
        return
    seen = set()
    for index, container in enumerate(containers):
        for field in ("name", "image"):
            if not isinstance(container, dict) or not container.get(field):
                yield Cause(f"{path}.containers[{index}].{field}", "FieldValueRequired", "Required value")
        name = container.get("name") if isinstance(container, dict) else None
        if name in seen:
            message = f'Duplicate value: "{name}"'
            yield Cause(f"{path}.containers[{index}].name", "FieldValueDuplicate", message)
        seen.add(name)


def _pod(new: Object, _: Object | None) -> Iterator[Cause]:
    yield from _pod_spec("spec", new)


VALIDATORS: dict[Kind, Callable[[Object, Object | None], Iterator[Cause]]] = {
    DEPLOYMENT: _deployment,
    REPLICA_SET: _workload,
    POD: _pod,
}


def _not_negative(spec: Object, *fields: str) -> Iterator[Cause]:
    for field in fields:
        if spec.get(field, 0) < 0:
            yield _wrong(f"spec.{field}", spec[field], "must be greater than or equal to 0")


def _wrong(field: str, value: object, why: str) -> Cause:
    return Cause(field, "FieldValueInvalid", f"Invalid value: {_shown(value)}: {why}")


def _shown(value: object) -> str:
    return encode(value).decode()


def _is(value: object, expected: type) -> bool:
    if isinstance(value, int) and not isinstance(value, bool):
        return expected is int and -(2**31) <= value < 2**31
    return value is None or (isinstance(value, expected) and (expected is bool or not isinstance(value, bool)))


def _json_type(value: object) -> str:
    names = {bool: "bool", int: "number", float: "number", str: "string", list: "array", dict: "object"}
    return names.get(type(value), "null")
