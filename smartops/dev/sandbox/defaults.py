"""The defaults that the API server sets. Changes the given object in place."""

from collections.abc import Callable
from ipaddress import IPv4Address

from smartops.dev.sandbox.objects import Object
from smartops.dev.sandbox.resources import (
    AUTOSCALER,
    BY_NAME,
    DAEMON_SET,
    DEPLOYMENT,
    DISRUPTION_BUDGET,
    NAMESPACE,
    POD,
    REPLICA_SET,
    SERVICE,
    STATEFUL_SET,
    TEMPLATE_GENERATION,
    Kind,
)

POD_DEFAULTS: Object = {
    "serviceAccountName": "default",
    "enableServiceLinks": True,
    "preemptionPolicy": "PreemptLowerPriority",
    "priority": 0,
}
CPU_AT_80_PERCENT = {
    "type": "Resource",
    "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 80}},
}


def apply_defaults(kind: Kind, obj: Object) -> None:
    """Accepts any shape, because validation comes later."""
    default = DEFAULTS.get(kind)
    spec = obj.setdefault("spec", {}) if default else None
    if default and isinstance(spec, dict):
        default(obj, spec)


def _deployment(_: Object, spec: Object) -> None:
    _fill(spec, replicas=1, revisionHistoryLimit=10, progressDeadlineSeconds=600)
    for name in ("minReadySeconds", "paused"):
        if not spec.get(name, True):
            del spec[name]
    strategy = spec.setdefault("strategy", {})
    if isinstance(strategy, dict):
        strategy.setdefault("type", "RollingUpdate")
        if strategy["type"] == "RollingUpdate":
            rolling = strategy.get("rollingUpdate") or {}
            strategy["rollingUpdate"] = {"maxUnavailable": "25%", "maxSurge": "25%", **rolling}
    _template(spec)


def _replica_set(_: Object, spec: Object) -> None:
    _fill(spec, replicas=1)
    _template(spec)


def _stateful_set(_: Object, spec: Object) -> None:
    _fill(spec, replicas=1, podManagementPolicy="OrderedReady", revisionHistoryLimit=10)
    _fill(spec, persistentVolumeClaimRetentionPolicy={"whenDeleted": "Retain", "whenScaled": "Retain"})
    _update_strategy(spec, partition=0)
    _template(spec)


def _daemon_set(obj: Object, spec: Object) -> None:
    _fill(spec, revisionHistoryLimit=10)
    _update_strategy(spec, maxUnavailable=1, maxSurge=0)
    _template(spec)
    if isinstance(obj.get("metadata"), dict):
        annotations = obj["metadata"].setdefault("annotations", {})
        if isinstance(annotations, dict):
            _fill(annotations, **{TEMPLATE_GENERATION: "1"})


def _update_strategy(spec: Object, **rolling: int) -> None:
    strategy = spec.setdefault("updateStrategy", {})
    if isinstance(strategy, dict):
        _fill(strategy, type="RollingUpdate")
        if strategy["type"] == "RollingUpdate":
            strategy["rollingUpdate"] = {**rolling, **(strategy.get("rollingUpdate") or {})}


def _cron_job(_: Object, spec: Object) -> None:
    _fill(spec, concurrencyPolicy="Allow", suspend=False, successfulJobsHistoryLimit=3, failedJobsHistoryLimit=1)


def _autoscaler(obj: Object, spec: Object) -> None:
    _fill(spec, minReplicas=1, metrics=[CPU_AT_80_PERCENT])
    obj["status"] = {"desiredReplicas": 0} | obj.get("status", {})


def _disruption_budget(obj: Object, _: Object) -> None:
    counts = ("disruptionsAllowed", "currentHealthy", "desiredHealthy", "expectedPods")
    obj["status"] = dict.fromkeys(counts, 0) | obj.get("status", {})


def _service(_: Object, spec: Object) -> None:
    _fill(spec, type="ClusterIP", sessionAffinity="None")
    if spec["type"] != "ExternalName":
        _fill(spec, internalTrafficPolicy="Cluster", ipFamilies=["IPv4"], ipFamilyPolicy="SingleStack")
    for port in _dicts(spec.get("ports")):
        _fill(port, protocol="TCP", targetPort=port.get("port"))


def _namespace(obj: Object, spec: Object) -> None:
    _fill(spec, finalizers=["kubernetes"])
    obj.setdefault("status", {}).setdefault("phase", "Active")
    obj["metadata"].setdefault("labels", {})["kubernetes.io/metadata.name"] = obj["metadata"].get("name", "")


def _pod(obj: Object, spec: Object) -> None:
    _pod_spec(spec)
    _fill(spec, **POD_DEFAULTS)
    obj.setdefault("status", {}).setdefault("phase", "Pending")
    obj["status"].setdefault("qosClass", "BestEffort")


DEFAULTS: dict[Kind, Callable[[Object, Object], None]] = {
    DEPLOYMENT: _deployment,
    REPLICA_SET: _replica_set,
    SERVICE: _service,
    NAMESPACE: _namespace,
    POD: _pod,
    STATEFUL_SET: _stateful_set,
    DAEMON_SET: _daemon_set,
    BY_NAME["batch/v1", "CronJob"]: _cron_job,
    AUTOSCALER: _autoscaler,
    DISRUPTION_BUDGET: _disruption_budget,
}


def cluster_ip(number: int) -> str:
    """The address with this number in the range of Services."""
    return str(IPv4Address("10.96.0.0") + number)


def _template(spec: Object) -> None:
    template = spec.get("template")
    if isinstance(template, dict):
        template.setdefault("metadata", {})
        if isinstance(template.setdefault("spec", {}), dict):
            _pod_spec(template["spec"])


def _pod_spec(spec: Object) -> None:
    _fill(spec, restartPolicy="Always", terminationGracePeriodSeconds=30, dnsPolicy="ClusterFirst")
    _fill(spec, securityContext={}, schedulerName="default-scheduler")
    for container in [*_dicts(spec.get("containers")), *_dicts(spec.get("initContainers"))]:
        image = str(container.get("image", ""))
        tag = image.rpartition("/")[2].partition(":")[2]
        pinned = "@" in image or tag not in ("", "latest")
        _fill(container, imagePullPolicy="IfNotPresent" if pinned else "Always", resources={})
        _fill(container, terminationMessagePath="/dev/termination-log", terminationMessagePolicy="File")
        for port in _dicts(container.get("ports")):
            _fill(port, protocol="TCP")


def _fill(target: Object, **values: object) -> None:
    for name, value in values.items():
        if target.get(name) is None:
            target[name] = value


def _dicts(value: object) -> list[Object]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []
