"""Which pods serve: those that are ready, and those that have been for long enough to be available."""

import asyncio

from smartops.dev.sandbox.objects import Resource, condition_of
from smartops.dev.sandbox.resources import POD
from smartops.dev.sandbox.store import Event, Store


def is_ready(pod: Resource) -> bool:
    ready = condition_of(pod, "Ready")
    return ready is not None and ready["status"] == "True"


class Readiness:
    """Stores since when each pod is ready: API timestamps are too coarse for `minReadySeconds`."""

    def __init__(self, store: Store) -> None:
        self._loop = asyncio.get_running_loop()
        self._since: dict[str, float] = {}  # by uid
        store.subscribe(POD, self._see)

    def wait(self, pod: Resource, spec: dict[str, object]) -> float | None:
        """Seconds until the pod is available by the `minReadySeconds` of its controller; 0 if it is, None if it is not
        ready."""
        if not is_ready(pod):
            return None
        seconds = spec.get("minReadySeconds", 0)
        assert isinstance(seconds, int)
        return max(0.0, self._since[pod.uid] + seconds - self._loop.time())

    def _see(self, event: Event) -> None:
        pod = event.object
        if event.type == "DELETED" or not is_ready(pod):
            self._since.pop(pod.uid, None)
        else:
            self._since.setdefault(pod.uid, self._loop.time())
