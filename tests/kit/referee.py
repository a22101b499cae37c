"""What really happened to the Deployments, from the sandbox's own store: it sees what a client never learns."""

from dataclasses import dataclass
from threading import Condition
from time import time

from orchestrator.k8s.types import ACTION_ANNOTATION, WorkloadKey
from smartops.dev.sandbox.api import Answer
from smartops.dev.sandbox.cluster import Cluster
from smartops.dev.sandbox.objects import Resource
from smartops.dev.sandbox.requests import Request, parse
from smartops.dev.sandbox.resources import DEPLOYMENT
from smartops.dev.sandbox.sandbox import Sandbox
from smartops.dev.sandbox.store import Event
from tests.kit.patience import PATIENCE


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
    the API server said to each PATCH of SmartOps that came to it, whether or not anybody heard: `answers`, as statuses.
    """

    def __init__(self, sandbox: Sandbox) -> None:
        self.effects: list[Effect] = []
        self.most: dict[WorkloadKey, int] = {}
        self.answers: list[int] = []
        self._came = Condition()
        sandbox.call(self._attend)

    def of(self, action: object) -> list[Effect]:
        return [effect for effect in self.effects if effect.action == str(action)]

    def wait_for_an_answer(self) -> None:
        with self._came:
            assert self._came.wait_for(lambda: self.answers, PATIENCE), "no answer came"

    def _attend(self, cluster: Cluster) -> None:
        answer, store = cluster.server.api.answer, cluster.registry.store

        def heard(request: Request) -> Answer:
            target = parse(request.path)
            if request.method != "PATCH" or target is None or target.kind is not DEPLOYMENT:
                return answer(request)
            before = store.get(DEPLOYMENT, target.namespace, target.name)
            given = answer(request)
            if request.manager == "smartops":
                self._note(before, store.get(DEPLOYMENT, target.namespace, target.name), given.status)
            return given

        cluster.server.api.answer = heard  # type: ignore[method-assign]
        store.subscribe(DEPLOYMENT, self._see)

    def _note(self, before: Resource | None, after: Resource | None, status: int) -> None:
        with self._came:
            self.answers.append(status)
            self._came.notify_all()
        if before is not None and after is not None and before.metadata["generation"] != after.metadata["generation"]:
            action = after.metadata["annotations"][ACTION_ANNOTATION]
            key = WorkloadKey(after.namespace, after.name)
            self.effects.append(Effect(time(), key, action, before["spec"]["replicas"], after["spec"]["replicas"]))

    def _see(self, event: Event) -> None:
        key = WorkloadKey(event.object.namespace, event.object.name)
        self.most[key] = max(event.object["spec"]["replicas"], self.most.get(key, 0))
