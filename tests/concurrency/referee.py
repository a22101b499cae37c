"""What really happened to the Deployments, from the sandbox's own store: it sees what a client never learns."""

from dataclasses import dataclass
from time import time

from orchestrator.k8s.types import ACTION_ANNOTATION, WorkloadKey
from smartops.sandbox.cluster import Cluster
from smartops.sandbox.objects import Resource
from smartops.sandbox.resources import DEPLOYMENT
from smartops.sandbox.sandbox import Sandbox
from smartops.sandbox.store import Event


@dataclass(frozen=True, slots=True)
class Effect:
    """One change that SmartOps wrote. `at` is in seconds since the epoch."""

    at: float
    workload: WorkloadKey
    action: str
    before: int
    replicas: int


class Referee:
    """`effects` of SmartOps, in order; `most` replicas that each Deployment was ever asked for, by anybody."""

    def __init__(self, sandbox: Sandbox) -> None:
        self.effects: list[Effect] = []
        self.most: dict[WorkloadKey, int] = {}

        def watch(cluster: Cluster) -> None:
            cluster.registry.store.subscribe(DEPLOYMENT, self._see)

        sandbox.call(watch)

    def of(self, action: object) -> list[Effect]:
        return [effect for effect in self.effects if effect.action == str(action)]

    def _see(self, event: Event) -> None:
        now, before = event.object, event.previous
        key = WorkloadKey(now.namespace, now.name)
        replicas = int(now["spec"]["replicas"])
        self.most[key] = max(replicas, self.most.get(key, 0))
        if before is None or before.metadata["generation"] == now.metadata["generation"] or not _is_ours(now):
            return
        action = now.metadata["annotations"][ACTION_ANNOTATION]
        self.effects.append(Effect(time(), key, action, int(before["spec"]["replicas"]), replicas))


def _is_ours(obj: Resource) -> bool:
    """Whoever wrote last stands last."""
    managers = obj.metadata.get("managedFields") or [{}]
    return bool(managers[-1].get("manager") == "smartops")
