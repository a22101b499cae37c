"""What the API server refuses: what does not decode into its types, and wrong values with a cause per field."""

from collections.abc import Iterator

from smartops.sandbox.errors import Cause, wrong
from smartops.sandbox.objects import Object
from smartops.sandbox.resources import Kind
from smartops.sandbox.specs import LABEL, QUALIFIED, SUBDOMAIN, VALIDATORS, is_a, validate_labels

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
        unfit = [value] if not is_a(value, expected) else []
        if go == "map[string]string" and isinstance(value, dict):
            unfit = [item for item in value.values() if not is_a(item, str)]
        if unfit:
            found = _json_type(unfit[0])
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
    elif kind.name in _DNS_LABEL_KINDS and not (LABEL.fullmatch(name) and len(name) <= 63):
        yield wrong("metadata.name", name, "a lowercase RFC 1123 label must consist of lower case alphanumeric "
                     "characters or '-', and must start and end with an alphanumeric character")  # fmt: skip
    elif kind.name not in _PATH_NAME_KINDS and not (SUBDOMAIN.fullmatch(name) and len(name) <= 253):
        yield wrong("metadata.name", name, "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric "
                     "characters, '-' or '.', and must start and end with an alphanumeric character")  # fmt: skip
    yield from validate_labels("metadata.labels", new.get("labels") or {})
    for key in new.get("annotations") or {}:
        if not QUALIFIED.fullmatch(key.lower()):
            yield wrong("metadata.annotations", key, "name part must consist of alphanumeric characters, '-', '_' or "
                         "'.', and must start and end with an alphanumeric character")  # fmt: skip
    for index, finalizer in enumerate(new.get("finalizers") or []):
        if "/" not in str(finalizer) and finalizer not in STANDARD_FINALIZERS:
            why = "name is neither a standard finalizer name nor is it fully qualified"
            yield wrong(f"metadata.finalizers[{index}]", finalizer, why)
    for index, reference in enumerate(new.get("ownerReferences") or []):
        for field in ("apiVersion", "kind", "name", "uid"):
            if not isinstance(reference, dict) or not reference.get(field):
                where, why = f"metadata.ownerReferences[{index}].{field}", "Required value: must not be empty"
                yield Cause(where, "FieldValueRequired", why)
    if old and new["uid"] != old["uid"]:
        yield wrong("metadata.uid", new["uid"], "field is immutable")


def _json_type(value: object) -> str:
    names = {bool: "bool", int: "number", float: "number", str: "string", list: "array", dict: "object"}
    return names.get(type(value), "null")
