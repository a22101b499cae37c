"""The baseline of the closed loop: the first design of SmartOps, which kept everything in one process.

One worker takes one signal at a time from a queue in memory, checks cooldown and rate in memory, acts, and polls until
the rollout is complete. It uses the product's own client, so that only the design differs.

As a process of its own, `python -m benchmarks.seed_design KUBECONFIG` restarts each Deployment of the namespace that a
line of its input names, and says the name as soon as it has accepted it, which is: put it into its queue.
"""

import asyncio
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from uuid import uuid4

from benchmarks.clusters import NAMESPACE
from benchmarks.record import Json
from orchestrator.k8s.client import KubernetesCluster
from orchestrator.k8s.cluster import Cluster
from orchestrator.k8s.rollout import Complete, rollout
from orchestrator.k8s.types import WorkloadKey
from signals.proposals.restart import RESTART_ANNOTATION

POLL = 2.0  # seconds: three calls for a rollout of one second; with a longer pause it would be slower yet
COOLDOWN, WINDOW, MAX_ACTIONS = 300.0, 3600.0, 6


def restart() -> Json:
    return {"spec": {"template": {"metadata": {"annotations": {RESTART_ANNOTATION: uuid4().hex}}}}}


class SeedDesign:
    """`change`: the patch that it makes of a signal."""

    def __init__(self, cluster: Cluster, change: Callable[[], Json]) -> None:
        self._cluster, self._change = cluster, change
        self._queue = asyncio.Queue[WorkloadKey]()
        self._acted_at: dict[WorkloadKey, list[float]] = defaultdict(list)

    async def drain(self, ailing: Iterable[WorkloadKey]) -> None:
        """Changes each, and returns when the last is verified."""
        for key in ailing:
            self._queue.put_nowait(key)
        while not self._queue.empty():
            await self._handle(self._queue.get_nowait())

    async def serve(self, ailing: Iterator[WorkloadKey]) -> None:
        """Takes them as they come, and works on them for ever."""
        accepting = asyncio.create_task(self._accept(ailing))
        while True:
            await self._handle(await self._queue.get())
            if accepting.done():
                accepting.result()

    async def _accept(self, ailing: Iterator[WorkloadKey]) -> None:
        while key := await asyncio.to_thread(next, ailing, None):
            self._queue.put_nowait(key)
            print(key.name, flush=True)

    async def _handle(self, key: WorkloadKey) -> None:
        if not self._allows(key):
            return
        await asyncio.to_thread(self._cluster.patch_workload, key, self._change())
        self._acted_at[key].append(time.monotonic())
        while not isinstance(rollout(await asyncio.to_thread(self._cluster.get_workload, key)), Complete):
            await asyncio.sleep(POLL)

    def _allows(self, key: WorkloadKey) -> bool:
        now, acted_at = time.monotonic(), self._acted_at[key]
        cooling = bool(acted_at) and now - acted_at[-1] < COOLDOWN
        return not cooling and len([at for at in acted_at if now - at < WINDOW]) < MAX_ACTIONS


if __name__ == "__main__":
    [kubeconfig] = sys.argv[1:]
    lines = (WorkloadKey(NAMESPACE, line.strip()) for line in sys.stdin)
    asyncio.run(SeedDesign(KubernetesCluster(kubeconfig), restart).serve(lines))
