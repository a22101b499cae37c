"""The baseline of the closed loop: the first design of SmartOps, which kept everything in one process.

One worker takes one signal at a time from a queue in memory, checks cooldown and rate in memory, acts, and polls until
the rollout is complete. It uses the product's own client, so that only the design differs.
"""

import asyncio
import time
from collections import defaultdict
from collections.abc import Iterable
from uuid import uuid4

from orchestrator.k8s.cluster import Cluster
from orchestrator.k8s.types import WorkloadKey
from orchestrator.verification.judge import Complete, rollout

POLL = 2.0  # seconds: three calls for a rollout of one second; with a longer pause it would be slower yet
COOLDOWN, WINDOW, MOST_ACTIONS = 300.0, 3600.0, 6


class SeedDesign:
    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._queue = asyncio.Queue[WorkloadKey]()
        self._acted_at: dict[WorkloadKey, list[float]] = defaultdict(list)

    async def drain(self, leaking: Iterable[WorkloadKey]) -> None:
        """Restarts each, and returns when the last is verified."""
        for key in leaking:
            self._queue.put_nowait(key)
        while not self._queue.empty():
            await self._handle(self._queue.get_nowait())

    async def _handle(self, key: WorkloadKey) -> None:
        if not self._allows(key):
            return
        await asyncio.to_thread(self._cluster.restart_deployment, key, uuid4().hex)
        self._acted_at[key].append(time.monotonic())
        while not isinstance(rollout(await asyncio.to_thread(self._cluster.get_deployment_status, key)), Complete):
            await asyncio.sleep(POLL)

    def _allows(self, key: WorkloadKey) -> bool:
        now, acted_at = time.monotonic(), self._acted_at[key]
        cooling = bool(acted_at) and now - acted_at[-1] < COOLDOWN
        return not cooling and len([at for at in acted_at if now - at < WINDOW]) < MOST_ACTIONS
