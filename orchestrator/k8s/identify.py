"""Reads from the cluster what a name in an observation may stand for. The conclusion is `signals.identity.identify`."""

from collections.abc import Iterator

from orchestrator.k8s.cache import ClusterCache
from orchestrator.k8s.cluster import Cluster
from orchestrator.k8s.errors import ClusterError, NotFound
from orchestrator.k8s.resources import CONTROLLED
from orchestrator.k8s.types import WorkloadKey
from signals.identity import OBJECTS, SERVICES, candidates, nearest
from signals.names import is_workload_name
from signals.types import Link, Named, NamingFacts, Target

MAX_CHAIN = 5  # objects
MAX_CHAINS = 20  # of the pods of one Service


def read(named: Named, cluster: Cluster, cache: ClusterCache) -> NamingFacts:
    """On the pool: makes calls to the cluster, and raises nothing. Without `alias` and `waiting`, which the database
    knows."""
    if not cache.manages(named.namespace):
        return NamingFacts(error="SmartOps does not manage this namespace.")
    existing = _existing(named, cache)
    chains: tuple[tuple[Link, ...], ...] = ()
    error = ""
    if not existing or named.by:
        try:
            chains = tuple(_chains(named, cluster))
        except NotFound:
            pass  # a pod that is gone
        except ClusterError as refused:
            error = refused.message
    if chains and not named.by:
        cache.forget_missing(WorkloadKey(named.namespace, named.name, named.kind))
    names = tuple(sorted({one.key.name for one in cache.workloads(named.namespace)}))
    return NamingFacts(chains, () if chains else existing, nearest=nearest(named.name, names), error=error)


def _existing(named: Named, cache: ClusterCache) -> tuple[Target, ...]:
    if named.by == "container":
        found = [one.key for one in cache.workloads(named.namespace) if named.name in one.containers]
        return tuple(Target(named.cluster, key.namespace, key.name, key.kind) for key in found)
    return tuple(one for one in candidates(named) if cache.get(WorkloadKey.of(one)) is not None)


def _chains(named: Named, cluster: Cluster) -> Iterator[tuple[Link, ...]]:
    if not is_workload_name(named.name):
        return  # no object has it
    if named.by in OBJECTS:
        yield _chain((Link(OBJECTS[named.by], named.name),), named.namespace, cluster)
    elif named.by in SERVICES or not named.by:
        yield from _of_service(named, cluster)


def _chain(links: tuple[Link, ...], namespace: str, cluster: Cluster) -> tuple[Link, ...]:
    """Continued by the controllers, up to a workload or an object whose controller is not read."""
    while len(links) < MAX_CHAIN and links[-1].kind in CONTROLLED:
        controller = cluster.get_controller(links[-1].kind, namespace, links[-1].name)
        if controller is None:
            break
        links += (controller,)
    return links


def _of_service(named: Named, cluster: Cluster) -> Iterator[tuple[Link, ...]]:
    """One chain for each controller of the pods that the Service selects. The Service alone if it selects none."""
    service = Link("Service", named.name)
    selector = cluster.get_service_selector(named.namespace, named.name)
    by_controller = dict[Link, Link]()
    for pod, controller in cluster.list_controllers(named.namespace, selector) if selector else ():
        by_controller.setdefault(controller or pod, pod)
    for owner, pod in list(by_controller.items())[:MAX_CHAINS]:
        chain = (service, pod) if owner == pod else (service, pod, owner)
        yield _chain(chain, named.namespace, cluster) if owner.kind in CONTROLLED and owner != pod else chain
    if not by_controller:
        yield (service,)
