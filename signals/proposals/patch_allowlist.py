"""What the PATCH action may touch: an allowlist over a strategic merge patch of a Deployment. Pure.

Nothing on it runs code, mounts, or changes whose rights the pods have. What is not named here is refused, so that a
field that Kubernetes adds tomorrow is refused, too.
"""

from collections.abc import Callable, Mapping
from typing import Any

MAX_REPLICAS = 2**31 - 1
APPLIED_ANNOTATIONS = frozenset({"kubectl.kubernetes.io/last-applied-configuration"})
RESTARTED_AT = "kubectl.kubernetes.io/restartedAt"  # kubectl's own way to restart
Refusal = tuple[str, str]  # (path, why)
Rule = Callable[[Any, str], Refusal | None]


def forbidden(patch: Any) -> Refusal | None:
    """The first refused path, and why; None if the patch is allowed. A patch that sets nothing is refused."""
    return _DEPLOYMENT(patch, "") or (None if _sets_something(patch) else ("patch", "it changes nothing"))


def _fields(**allowed: Rule) -> Rule:
    """An object with no other fields than these."""

    def check(value: Any, path: str) -> Refusal | None:
        if not isinstance(value, Mapping):
            return path or "patch", "it must be an object"
        for name, inner in value.items():
            here = _join(path, name)
            if name.startswith("$"):
                return here, "patch directives are not allowed"
            if name not in allowed:
                return here, "this field must not be patched"
            if refusal := allowed[name](inner, here):
                return refusal
        return None

    return check


def _first(rule: Rule, values: list[Any], path: str) -> Refusal | None:
    refusals = (rule(inner, f"{path}[{index}]") for index, inner in enumerate(values))
    return next(filter(None, refusals), None)


def _anything(value: Any, path: str) -> Refusal | None:
    """Any value; the API server knows its schema. Directives hide in every depth."""
    if isinstance(value, Mapping):
        for name, inner in value.items():
            here = _join(path, name)
            if name.startswith("$"):
                return here, "patch directives are not allowed"
            if refusal := _anything(inner, here):
                return refusal
    if isinstance(value, list):
        return _first(_anything, value, path)
    return None


def _object_metadata(value: Any, path: str) -> Refusal | None:
    """Labels or annotations. SmartOps knows its changes by its own ones; `null` for all would take those away."""
    if not isinstance(value, Mapping):
        return path, "it must be an object"
    for name in value:
        domain = name.partition("/")[0]
        if "/" in name and (domain == "smartops.io" or domain.endswith(".smartops.io")):
            return _join(path, name), "smartops.io is reserved for SmartOps itself"
        if name in APPLIED_ANNOTATIONS:
            return _join(path, name), "the next `kubectl apply` would take away what this leaves out"
    return _anything(value, path)


def _pod_metadata(value: Any, path: str) -> Refusal | None:
    """Those of the pods: a name with a domain may be an order to a webhook or to the kubelet, to inject a container,
    to lend an identity, to lift a profile."""
    if refusal := _object_metadata(value, path):
        return refusal
    for name in value:
        if "/" in name and name != RESTARTED_AT:
            return _join(path, name), "a name with a domain can change what the pods run, or as whom"
    return None


def _replicas(value: Any, path: str) -> Refusal | None:
    """A number, so that the replica limit can be evaluated; `null` would mean the API's default."""
    if type(value) is int and 0 <= value <= MAX_REPLICAS:
        return None
    return path, f"it must be an integer from 0 to {MAX_REPLICAS}"


def _containers(value: Any, path: str) -> Refusal | None:
    if not isinstance(value, list) or not value:
        return path, "it must be a list of containers"
    return _first(_container, value, path)


def _container(value: Any, path: str) -> Refusal | None:
    if refusal := _CONTAINER_FIELDS(value, path):
        return refusal
    if not isinstance(value.get("name"), str) or not value["name"]:
        return _join(path, "name"), "it must name the container"
    return None if "resources" in value else (_join(path, "resources"), "nothing else of a container can be changed")


def _join(path: str, name: str) -> str:
    if not name.isidentifier() and not name.startswith("$"):
        return f'{path}["{name}"]'
    return f"{path}.{name}" if path else name


def _sets_something(value: Any) -> bool:
    return any(map(_sets_something, value.values())) if isinstance(value, Mapping) else True


_CONTAINER_FIELDS = _fields(name=_anything, resources=_fields(limits=_anything, requests=_anything))
_METADATA = _fields(labels=_object_metadata, annotations=_object_metadata)
_DEPLOYMENT = _fields(
    metadata=_METADATA,
    spec=_fields(
        replicas=_replicas,
        paused=_anything,
        minReadySeconds=_anything,
        progressDeadlineSeconds=_anything,
        revisionHistoryLimit=_anything,
        strategy=_anything,
        template=_fields(
            metadata=_fields(labels=_pod_metadata, annotations=_pod_metadata),
            spec=_fields(
                containers=_containers,
                terminationGracePeriodSeconds=_anything,
                nodeSelector=_anything,
                tolerations=_anything,
                affinity=_anything,
                topologySpreadConstraints=_anything,
            ),
        ),
    ),
)
