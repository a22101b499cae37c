"""Validates the specs of workloads, pods, budgets and others: one cause per field."""

import re
from collections.abc import Callable, Iterator

from smartops.dev.sandbox.errors import Cause, wrong
from smartops.dev.sandbox.names import CONFIG_KEY, LABEL_VALUE, QUALIFIED
from smartops.dev.sandbox.objects import Object, encode
from smartops.dev.sandbox.resources import (
    AUTOSCALER,
    BY_NAME,
    DAEMON_SET,
    DEPLOYMENT,
    DISRUPTION_BUDGET,
    EVENT,
    POD,
    REPLICA_SET,
    STATEFUL_SET,
    Kind,
)
from smartops.dev.sandbox.selectors import matches

_PERCENT = re.compile(r"[0-9]+%")


def is_a(value: object, expected: type) -> bool:
    if isinstance(value, int) and not isinstance(value, bool):
        return expected is int and -(2**31) <= value < 2**31
    return value is None or (isinstance(value, expected) and (expected is bool or not isinstance(value, bool)))


def validate_labels(path: str, labels: Object) -> Iterator[Cause]:
    for key, value in labels.items():
        if not QUALIFIED.fullmatch(key):
            yield wrong(path, key, "name part must consist of alphanumeric characters, '-', '_' or '.'")
        if not LABEL_VALUE.fullmatch(value):
            yield wrong(path, value, "a valid label must be an empty string or consist of alphanumeric characters, "
                         "'-', '_' or '.', and must start and end with an alphanumeric character")  # fmt: skip


def _workload(obj: Object, old: Object | None) -> Iterator[Cause]:
    new = obj["spec"]
    yield from _not_negative(new, "replicas", "minReadySeconds", "revisionHistoryLimit")
    selector, template = new.get("selector"), new.get("template")
    if not selector:
        yield Cause("spec.selector", "FieldValueRequired", "Required value")
    labels = ((template or {}).get("metadata") or {}).get("labels")
    yield from validate_labels("spec.template.labels", labels or {})
    if not selector or not matches(selector, labels or {}):
        yield wrong("spec.template.metadata.labels", labels, "`selector` does not match template `labels`")
    yield from _pod_spec("spec.template.spec", (template or {}).get("spec") or {})
    if old and selector != old["spec"]["selector"]:
        yield wrong("spec.selector", selector, "field is immutable")


def _deployment(obj: Object, old: Object | None) -> Iterator[Cause]:
    yield from _workload(obj, old)
    new = obj["spec"]
    yield from _not_negative(new, "progressDeadlineSeconds")
    if new["progressDeadlineSeconds"] <= new.get("minReadySeconds", 0):
        deadline = new["progressDeadlineSeconds"]
        yield wrong("spec.progressDeadlineSeconds", deadline, "must be greater than minReadySeconds")
    strategy = new["strategy"]
    if strategy["type"] not in ("RollingUpdate", "Recreate"):
        message = f'Unsupported value: {encode(strategy).decode()}: supported values: "Recreate", "RollingUpdate"'
        yield Cause("spec.strategy", "FieldValueNotSupported", message)
    rolling = strategy.get("rollingUpdate")
    if strategy["type"] == "Recreate" and rolling is not None:
        message = "Forbidden: may not be specified when strategy `type` is 'Recreate'"
        yield Cause("spec.strategy.rollingUpdate", "FieldValueForbidden", message)
    for field, value in (rolling or {}).items():
        if not (is_a(value, int) and value >= 0) and not (isinstance(value, str) and _PERCENT.fullmatch(value)):
            yield wrong(f"spec.strategy.rollingUpdate.{field}", value, "must be an integer or percentage (e.g '5%')")
    if rolling and all(str(rolling.get(field)) in ("0", "0%") for field in ("maxSurge", "maxUnavailable")):
        yield wrong("spec.strategy.rollingUpdate.maxUnavailable", rolling["maxUnavailable"],
                     "may not be 0 when `maxSurge` is 0")  # fmt: skip


STATEFUL_SET_FIELDS = (
    *("replicas", "ordinals", "template", "updateStrategy", "revisionHistoryLimit"),
    *("persistentVolumeClaimRetentionPolicy", "minReadySeconds"),
)


def _stateful_set(obj: Object, old: Object | None) -> Iterator[Cause]:
    yield from _workload(obj, None)
    yield from _update_strategy(obj)
    if old and _fixed_fields(obj) != _fixed_fields(old):
        named = ", ".join(f"'{field}'" for field in STATEFUL_SET_FIELDS[:-1])
        named += " and 'minReadySeconds'"
        message = f"Forbidden: updates to statefulset spec for fields other than {named} are forbidden"
        yield Cause("spec", "FieldValueForbidden", message)


def _fixed_fields(obj: Object) -> Object:
    return {name: value for name, value in obj["spec"].items() if name not in STATEFUL_SET_FIELDS}


def _daemon_set(obj: Object, old: Object | None) -> Iterator[Cause]:
    yield from _workload(obj, old)
    yield from _update_strategy(obj)


def _update_strategy(obj: Object) -> Iterator[Cause]:
    type_ = obj["spec"]["updateStrategy"]["type"]
    if type_ not in ("RollingUpdate", "OnDelete"):
        message = f'Invalid value: "{type_}": must be "RollingUpdate" or "OnDelete"'
        yield Cause("spec.updateStrategy", "FieldValueInvalid", message)


def _pod_spec(path: str, spec: Object) -> Iterator[Cause]:
    containers = spec.get("containers")
    if not containers:
        yield Cause(f"{path}.containers", "FieldValueRequired", "Required value")
        return
    seen = set()
    for index, container in enumerate(containers):
        for field in ("name", "image"):
            if not container.get(field):
                yield Cause(f"{path}.containers[{index}].{field}", "FieldValueRequired", "Required value")
        name = container.get("name")
        if name in seen:
            message = f'Duplicate value: "{name}"'
            yield Cause(f"{path}.containers[{index}].name", "FieldValueDuplicate", message)
        seen.add(name)


def _pod(obj: Object, old: Object | None) -> Iterator[Cause]:
    yield from _pod_spec("spec", obj["spec"])
    yield from _one_of("spec.restartPolicy", obj["spec"]["restartPolicy"], "Always", "OnFailure", "Never")
    if old and _fixed(obj["spec"]) != _fixed(old["spec"]):
        message = "Forbidden: pod updates may not change fields other than `spec.containers[*].image` and a few others"
        yield Cause("spec", "FieldValueForbidden", message)


def _fixed(spec: Object) -> Object:
    """Causes for changes of immutable fields of a pod."""
    kept = {name: value for name, value in spec.items() if name not in ("activeDeadlineSeconds", "tolerations")}
    for field in ("containers", "initContainers"):
        kept[field] = [{**container, "image": ""} for container in spec.get(field, ())]
    return kept


def _disruption_budget(obj: Object, _: Object | None) -> Iterator[Cause]:
    new = obj["spec"]
    bounds = {name: new[name] for name in ("minAvailable", "maxUnavailable") if name in new}
    if len(bounds) == 2:
        yield wrong("spec", new, "minAvailable and maxUnavailable cannot be both set")
    for field, value in bounds.items():
        if is_a(value, int):
            yield from _not_negative(new, field)
        elif not (isinstance(value, str) and _PERCENT.fullmatch(value)):
            why = "a valid percent string must be a numeric string followed by an ending '%' (e.g. '1%',  or '93%')"
            yield wrong(f"spec.{field}", value, why)
        elif int(value.removesuffix("%")) > 100:
            yield wrong(f"spec.{field}", value, "must not be greater than 100%")
    policy = new.get("unhealthyPodEvictionPolicy", "IfHealthyBudget")
    yield from _one_of("spec.unhealthyPodEvictionPolicy", policy, "AlwaysAllow", "IfHealthyBudget")


def _autoscaler(obj: Object, _: Object | None) -> Iterator[Cause]:
    new = obj["spec"]
    most, least, target = new.get("maxReplicas", 0), new["minReplicas"], new.get("scaleTargetRef") or {}
    if most < least:
        yield wrong("spec.maxReplicas", most, "must be greater than or equal to `minReplicas`")
    if most == 0:
        yield Cause("spec.maxReplicas", "FieldValueRequired", "Required value")
    yield from _not_negative(new, "minReplicas")
    for field in ("kind", "name"):
        if not target.get(field):
            yield Cause(f"spec.scaleTargetRef.{field}", "FieldValueRequired", "Required value")
    if "/" not in target.get("apiVersion", ""):
        yield wrong("spec.scaleTargetRef.apiVersion", target.get("apiVersion", ""), "apiVersion must specify API group")
    if least == 0 and not any(metric.get("type") in ("Object", "External") for metric in new["metrics"]):
        message = "Forbidden: must specify at least one Object or External metric to support scaling to zero replicas"
        yield Cause("spec.metrics", "FieldValueForbidden", message)


def _event(obj: Object, _: Object | None) -> Iterator[Cause]:
    about = obj.get("involvedObject", {}).get("namespace", "")
    if about != obj["metadata"]["namespace"]:
        yield wrong("involvedObject.namespace", about, "does not match event.namespace")


def _keys(obj: Object, _: Object | None) -> Iterator[Cause]:
    for key in obj.get("data", {}):
        if not CONFIG_KEY.fullmatch(key):
            why = "a valid config key must consist of alphanumeric characters, '-', '_' or '.'"
            yield wrong(f"data[{key}]", key, why)


VALIDATORS: dict[Kind, Callable[[Object, Object | None], Iterator[Cause]]] = {
    DEPLOYMENT: _deployment,
    REPLICA_SET: _workload,
    STATEFUL_SET: _stateful_set,
    DAEMON_SET: _daemon_set,
    POD: _pod,
    DISRUPTION_BUDGET: _disruption_budget,
    AUTOSCALER: _autoscaler,
    EVENT: _event,
    BY_NAME["v1", "ConfigMap"]: _keys,
    BY_NAME["v1", "Secret"]: _keys,
}


def _one_of(path: str, value: str, *supported: str) -> Iterator[Cause]:
    if value not in supported:
        named = ", ".join(f'"{each}"' for each in supported)
        yield Cause(path, "FieldValueNotSupported", f'Unsupported value: "{value}": supported values: {named}')


def _not_negative(spec: Object, *fields: str) -> Iterator[Cause]:
    for field in fields:
        if spec.get(field, 0) < 0:
            yield wrong(f"spec.{field}", spec[field], "must be greater than or equal to 0")
