"""Eviction: deletes a pod if its PodDisruptionBudget allows it."""

from smartops.dev.sandbox.disruptions import covers, with_status
from smartops.dev.sandbox.errors import ApiError, Cause
from smartops.dev.sandbox.objects import Object, Resource, timestamp
from smartops.dev.sandbox.readiness import is_ready
from smartops.dev.sandbox.registry import Registry
from smartops.dev.sandbox.resources import DISRUPTION_BUDGET, POD

SEVERAL = "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support."
UNPROTECTED_PHASES = ("Pending", "Succeeded", "Failed")
RETRY_AFTER = 10  # seconds, while the budget's status is behind its spec


def evict(registry: Registry, pod: Resource, options: Object) -> None:
    """Raises 429 if the budget forbids it, 409 if a precondition fails; a failed precondition also uses the budget."""
    unprotected = pod.deleting or pod["status"].get("phase") in UNPROTECTED_PHASES
    budgets = () if unprotected else registry.store.objects(DISRUPTION_BUDGET, pod.namespace)
    found = [budget for budget in budgets if covers(budget, pod)]
    if len(found) > 1:
        raise ApiError(500, "", SEVERAL)
    if found and not _is_lost_already(found[0], pod):
        _take_from(registry, found[0], pod, dry_run="All" in (options.get("dryRun") or ()))
    registry.delete(POD, pod, options)


def _is_lost_already(budget: Resource, pod: Resource) -> bool:
    """An unready pod can be evicted if the policy allows it, or if enough other pods are healthy."""
    if is_ready(pod):
        return False
    status = budget["status"]
    enough: bool = status["currentHealthy"] >= status["desiredHealthy"] > 0
    return enough or budget["spec"].get("unhealthyPodEvictionPolicy") == "AlwaysAllow"


def _take_from(registry: Registry, budget: Resource, pod: Resource, *, dry_run: bool) -> None:
    """Count the eviction at once, so that the next one cannot use the same disruption."""
    status = budget["status"]
    if status.get("observedGeneration", 0) < budget.metadata["generation"]:
        raise _refusal(f"The disruption budget {budget.name} is still being processed by the server.", RETRY_AFTER)
    if status["disruptionsAllowed"] == 0:
        needed, healthy = status["desiredHealthy"], status["currentHealthy"]
        counts = f"needs {needed} healthy pods and has {healthy} currently"
        why = counts if healthy <= needed else "does not allow evicting pods currently"  # until they are counted again
        raise _refusal(f"The disruption budget {budget.name} {why}")
    left = {
        "disruptionsAllowed": status["disruptionsAllowed"] - 1,
        "disruptedPods": {**status.get("disruptedPods", {}), pod.name: timestamp()},
    }
    if not dry_run:
        registry.write(DISRUPTION_BUDGET, budget, with_status(budget, status | left), subresource="status")


def _refusal(why: str, retry_after: int = 0) -> ApiError:
    message = "Cannot evict pod as it would violate the pod's disruption budget."
    causes = [Cause("", "DisruptionBudget", why)]
    return ApiError(429, "TooManyRequests", message, causes=causes, retry_after=retry_after)
