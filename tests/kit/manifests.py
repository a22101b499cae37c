"""Manifests, as they are sent to an API server."""

from collections.abc import Mapping
from typing import Any

Object = dict[str, Any]


def deployment(
    name: str = "web",
    replicas: int | None = 1,
    *,
    namespace: str = "",
    sim: Mapping[str, str] | None = None,
    **spec: Any,
) -> Object:
    """A Deployment of one container. More keywords replace fields of its spec. `sim` says how its pods behave in the
    sandbox and on the simulated kubelet: `{"ready_after": "1h"}` is the annotation `sim/ready-after: 1h`."""
    behaviour = {"ready_after": "10ms"} | dict(sim or {})
    template = {
        "metadata": {
            "labels": {"app": name},
            "annotations": {f"sim/{key.replace('_', '-')}": value for key, value in behaviour.items()},
        },
        "spec": {"containers": [{"name": "app", "image": "example.test/app:1"}]},
    }
    metadata = {"name": name} | ({"namespace": namespace} if namespace else {})
    spec = {"replicas": replicas, "selector": {"matchLabels": {"app": name}}, "template": template} | spec
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata, "spec": spec}


def stateful_set(name: str = "db", replicas: int | None = 1, **options: Any) -> Object:
    """A StatefulSet, with the options of `deployment`."""
    return _of_kind("StatefulSet", deployment(name, replicas, **{"serviceName": name} | options))


def daemon_set(name: str = "agent", **options: Any) -> Object:
    """A DaemonSet, with the options of `deployment`."""
    made = _of_kind("DaemonSet", deployment(name, **options))
    del made["spec"]["replicas"]
    return made


def workload(kind: str, name: str, replicas: int = 1, **options: Any) -> Object:
    """A workload of the kind. Of a DaemonSet, the nodes say how many pods it has."""
    if kind == "DaemonSet":
        return daemon_set(name, **options)
    return (stateful_set if kind == "StatefulSet" else deployment)(name, replicas, **options)


def _of_kind(kind: str, made: Object) -> Object:
    return {**made, "kind": kind}
