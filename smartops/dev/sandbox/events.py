"""The Events of the controllers; only the latest are kept."""

from collections import deque

from smartops.dev.sandbox.objects import Resource, timestamp
from smartops.dev.sandbox.registry import Registry, random_suffix
from smartops.dev.sandbox.resources import EVENT, Kind

KEPT = 2_000


class Recorder:
    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._kept: deque[Resource] = deque()

    def record(
        self, kind: Kind, about: Resource, reason: str, message: str, component: str = "deployment-controller"
    ) -> None:
        involved = {
            "kind": kind.name,
            "apiVersion": kind.api_version,
            "namespace": about.namespace,
            "name": about.name,
            "uid": about.uid,
            "resourceVersion": about.metadata["resourceVersion"],
        }
        now = timestamp()
        event = {
            "metadata": {"name": f"{about.name}.{random_suffix(16)}", "namespace": about.namespace or "default"},
            "involvedObject": involved,
            "reason": reason,
            "message": message,
            "type": "Normal",
            "count": 1,
            "firstTimestamp": now,
            "lastTimestamp": now,
            "eventTime": None,
            "source": {"component": component},
            "reportingComponent": component,
            "reportingInstance": "",
        }
        self._kept.append(self._registry.insert(EVENT, event))
        if len(self._kept) > KEPT:
            oldest = self._kept.popleft()
            if self._registry.store.get(EVENT, oldest.namespace, oldest.name):
                self._registry.store.remove(EVENT, oldest)
