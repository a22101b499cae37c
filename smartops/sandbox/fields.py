"""The fields that the API's types have: of Deployments, as far down as people write them by hand."""

from collections.abc import Mapping
from typing import Any, TypeAlias

from smartops.sandbox.objects import Object
from smartops.sandbox.resources import DEPLOYMENT, Kind

Shape: TypeAlias = (
    Mapping[str, Any] | None
)  # the shape of each field; None has any fields. A list has that of its items


def _fields(names: str, **shapes: Shape) -> Shape:
    return {**dict.fromkeys(names.split()), **shapes}


METADATA = _fields(
    "annotations creationTimestamp deletionGracePeriodSeconds deletionTimestamp finalizers generateName generation "
    "labels managedFields name namespace ownerReferences resourceVersion selfLink uid"
)
CONTAINER = _fields(
    "args command envFrom image imagePullPolicy lifecycle livenessProbe name readinessProbe resizePolicy resources "
    "restartPolicy restartPolicyRules securityContext startupProbe stdin stdinOnce terminationMessagePath "
    "terminationMessagePolicy tty volumeDevices volumeMounts workingDir",
    env=_fields("name value valueFrom"),
    ports=_fields("containerPort hostIP hostPort name protocol"),
)
POD_SPEC = _fields(
    "activeDeadlineSeconds affinity automountServiceAccountToken dnsConfig dnsPolicy enableServiceLinks "
    "ephemeralContainers evictionResponders hostAliases hostIPC hostNetwork hostPID hostUsers hostname "
    "hostnameOverride imagePullSecrets nodeName nodeSelector os overhead preemptionPolicy priority priorityClassName "
    "readinessGates resourceClaims resources restartPolicy runtimeClassName schedulerName schedulingGates "
    "schedulingGroup securityContext serviceAccount serviceAccountName setHostnameAsFQDN shareProcessNamespace "
    "subdomain terminationGracePeriodSeconds tolerations topologySpreadConstraints volumes",
    containers=CONTAINER,
    initContainers=CONTAINER,
)
DEPLOYMENT_SPEC = _fields(
    "minReadySeconds paused progressDeadlineSeconds replicas revisionHistoryLimit",
    selector=_fields("matchExpressions matchLabels"),
    strategy=_fields("type", rollingUpdate=_fields("maxSurge maxUnavailable")),
    template=_fields("", metadata=METADATA, spec=POD_SPEC),
)
SHAPES: Mapping[Kind, Shape] = {DEPLOYMENT: _fields("kind apiVersion status", metadata=METADATA, spec=DEPLOYMENT_SPEC)}


def known_fields(kind: Kind, obj: Object) -> tuple[Object, list[str]]:
    """The object without the fields that its type does not have, and their paths."""
    unknown: list[str] = []
    known: Object = _known(obj, SHAPES.get(kind), "", unknown)
    return known, unknown


def _known(value: Any, shape: Shape, path: str, unknown: list[str]) -> Any:
    if shape is None:
        return value
    if isinstance(value, list):
        return [_known(item, shape, f"{path}[{index}]", unknown) for index, item in enumerate(value)]
    if not isinstance(value, dict):
        return value
    prefix = f"{path}." if path else ""
    unknown += [f"{prefix}{name}" for name in value if name not in shape]
    return {
        name: _known(inner, shape[name], f"{prefix}{name}", unknown) for name, inner in value.items() if name in shape
    }
