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
