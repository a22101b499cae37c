"""The disruption controller: how many disruptions each PodDisruptionBudget currently allows."""

from datetime import UTC, datetime

from smartops.dev.sandbox.objects import Object, Resource, condition_of, controller_of, timestamp
from smartops.dev.sandbox.readiness import is_ready
from smartops.dev.sandbox.registry import Registry
from smartops.dev.sandbox.resources import BY_NAME, DISRUPTION_BUDGET, POD
from smartops.dev.sandbox.rollout import in_pods
from smartops.dev.sandbox.selectors import matches
from smartops.dev.sandbox.store import Event, Store
from smartops.dev.sandbox.workqueue import Key, WorkQueue

EVICTION_TIME = 120.0  # seconds until a pod that was evicted and is still there counts again


class DisruptionController:
    def __init__(self, registry: Registry) -> None:
        self._registry, self._store = registry, registry.store
        self._queue = WorkQueue(self._reconcile)
        self._store.subscribe(DISRUPTION_BUDGET, self._see_budget)
        self._store.subscribe(POD, self._see_pod)

    def _see_budget(self, event: Event) -> None:
        self._queue.add((event.object.namespace, event.object.name))

    def _see_pod(self, event: Event) -> None:
        states = [state for state in (event.object, event.previous) if state is not None]
        for budget in self._store.objects(DISRUPTION_BUDGET, event.object.namespace):
            if any(covers(budget, pod) for pod in states):
                self._queue.add((budget.namespace, budget.name))

    def _reconcile(self, key: Key) -> None:
        budget = self._store.get(DISRUPTION_BUDGET, *key)
        if budget is None or budget.deleting:
            return
        pods = [pod for pod in self._store.objects(POD, budget.namespace) if covers(budget, pod)]
        evicted = _evicted(budget, pods)
        if evicted:
            self._queue.add_after(key, EVICTION_TIME)
        expected, desired = self._expected(budget["spec"], pods)
        healthy = sum(is_ready(pod) and not pod.deleting and pod.name not in evicted for pod in pods)
        status: Object = {
            "observedGeneration": budget.metadata["generation"],
            "disruptionsAllowed": max(0, healthy - desired) if expected else 0,
            "currentHealthy": healthy,
            "desiredHealthy": desired,
            "expectedPods": expected,
            **({"disruptedPods": evicted} if evicted else {}),
        }
        self._registry.write(DISRUPTION_BUDGET, budget, with_status(budget, status), subresource="status")

    def _expected(self, spec: Object, pods: list[Resource]) -> tuple[int, int]:
        """The expected number of pods, and the number that must be healthy."""
        available, unavailable = spec.get("minAvailable"), spec.get("maxUnavailable")
        if isinstance(available, int):
            return len(pods), available
        if available is None and unavailable is None:
            return 0, 0
        workloads = {found.uid: found for pod in pods if (found := controlled_by(self._store, pod))}
        expected = sum(workload["spec"].get("replicas", 0) for workload in workloads.values())
        if available is not None:
            return expected, in_pods(available, expected, up=True)
        return expected, max(0, expected - in_pods(unavailable or 0, expected, up=True))


def covers(budget: Resource, pod: Resource) -> bool:
    selector = budget["spec"].get("selector")
    return selector is not None and matches(selector, pod.metadata.get("labels", {}))


def controlled_by(store: Store, pod: Resource) -> Resource | None:
    """The topmost controller: the Deployment rather than its ReplicaSet."""
    top, owner = None, controller_of(pod)
    while owner is not None:
        kind = BY_NAME.get((owner["apiVersion"], owner["kind"]))
        found = store.get(kind, pod.namespace, owner["name"]) if kind else None
        top, owner = found or top, controller_of(found) if found else None
    return top


def with_status(budget: Resource, status: Object) -> Object:
    """The budget with this status and the condition that follows from it."""
    before = condition_of(budget, "DisruptionAllowed")
    allowed = status["disruptionsAllowed"] > 0
    condition = {
        "type": "DisruptionAllowed",
        "status": str(allowed),
        "observedGeneration": status["observedGeneration"],
        "lastTransitionTime": timestamp(),
        "reason": "SufficientPods" if allowed else "InsufficientPods",
        "message": "",
    }
    if before and before["status"] == condition["status"]:
        condition["lastTransitionTime"] = before["lastTransitionTime"]
    return {**budget, "status": status | {"conditions": [condition]}}


def _evicted(budget: Resource, pods: list[Resource]) -> Object:
    """The evicted pods that are not deleted yet, with the time of their eviction."""
    now, marked = datetime.now(UTC), budget.get("status", {}).get("disruptedPods", {})
    return {
        pod.name: marked[pod.name]
        for pod in pods
        if pod.name in marked
        and not pod.deleting
        and (now - datetime.fromisoformat(marked[pod.name])).total_seconds() < EVICTION_TIME
    }
