"""What really happened to the Deployments, from the sandbox's own store: it sees what a client never learns."""

from dataclasses import dataclass
from threading import Condition
from time import time

from orchestrator.k8s.types import ACTION_ANNOTATION, WorkloadKey
from smartops.sandbox.api import Answer
from smartops.sandbox.cluster import Cluster
from smartops.sandbox.objects import Resource
from smartops.sandbox.requests import Request
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
    """`effects` of SmartOps, in order; `most` replicas that each Deployment was ever asked for, by anybody; and what
    the API server decided on each PATCH that came to it, whether or not anybody learned of it: `answers`, as statuses.
    """

    def __init__(self, sandbox: Sandbox) -> None:
        self.effects: list[Effect] = []
        self.most: dict[WorkloadKey, int] = {}
        self.answers: list[int] = []
        self._came = Condition()
        sandbox.call(self._attend)

    def of(self, action: object) -> list[Effect]:
        return [effect for effect in self.effects if effect.action == str(action)]

    def wait_for_answers(self, number: int, timeout: float = 10.0) -> None:
        with self._came:
            assert self._came.wait_for(lambda: len(self.answers) >= number, timeout), f"only {len(self.answers)} came"

    def _attend(self, cluster: Cluster) -> None:
        answer = cluster.server.api.answer

        def heard(request: Request) -> Answer:
            given = answer(request)
            if request.method == "PATCH":
                with self._came:
                    self.answers.append(given.status)
                    self._came.notify_all()
            return given

        cluster.server.api.answer = heard  # type: ignore[method-assign]
        cluster.registry.store.subscribe(DEPLOYMENT, self._see)

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
