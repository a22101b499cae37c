"""The representation of an object at a path: the object itself, or its Scale."""

from smartops.dev.sandbox.errors import Cause, conflict, invalid, uid_mismatch
from smartops.dev.sandbox.objects import Object, Resource
from smartops.dev.sandbox.requests import Target
from smartops.dev.sandbox.resources import SCALE, Kind
from smartops.dev.sandbox.selectors import in_words


def view(target: Target, obj: Object) -> Object:
    """A Scale for /scale, otherwise the object itself."""
    if target.subresource != "scale":
        return {"kind": target.kind.name, "apiVersion": target.kind.api_version, **obj}
    kept = ("name", "namespace", "uid", "resourceVersion", "creationTimestamp")
    status = obj.get("status", {})
    return {
        "kind": "Scale",
        "apiVersion": "autoscaling/v1",
        "metadata": {name: obj["metadata"][name] for name in kept if name in obj["metadata"]},
        "spec": {"replicas": replicas} if (replicas := obj["spec"].get("replicas", 0)) else {},
        "status": {"replicas": status.get("replicas", 0), "selector": in_words(obj["spec"].get("selector", {}))},
    }


def scaled(kind: Kind, old: Resource, scale: Object) -> Object:
    """The object with a Scale's replicas, identity and version."""
    replicas = (scale.get("spec") or {}).get("replicas") or 0
    if replicas < 0:
        wrong = f"Invalid value: {replicas}: must be greater than or equal to 0"
        raise invalid(SCALE, old.name, [Cause("spec.replicas", "FieldValueInvalid", wrong)])
    given = scale.get("metadata") or {}
    if (given.get("uid") or old.uid) != old.uid:
        raise conflict(kind, old.name, uid_mismatch(given["uid"], old.uid), "scale")
    identity = {name: given[name] for name in ("name", "namespace", "uid", "resourceVersion") if given.get(name)}
    return {**old, "metadata": {**old.metadata, **identity}, "spec": {**old["spec"], "replicas": replicas}}


def untyped(obj: Object) -> Object:
    return {key: value for key, value in obj.items() if key not in ("kind", "apiVersion")}
