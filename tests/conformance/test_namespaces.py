"""A namespace without rights beside one with them: a real authorizer says which."""

import pytest

from orchestrator.k8s.cache import ClusterCache
from orchestrator.k8s.client import KubernetesCluster
from orchestrator.k8s.permissions import PERMISSIONS
from orchestrator.k8s.resources import AUTOSCALERS, DEPLOYMENTS, WORKLOADS
from orchestrator.k8s.types import WorkloadKey
from signals.types import Target
from tests.conformance.control_plane import ControlPlane
from tests.kit.client import Client
from tests.kit.manifests import deployment
from tests.kit.patience import eventually


def test_a_namespace_that_does_not_exist_is_named_with_the_missing_right_and_the_other_is_read(
    control_plane: ControlPlane, http: Client, namespace: str
) -> None:
    if not control_plane.real:
        pytest.skip("the sandbox's rights are of all accounts")
    http.create("deployments", deployment(replicas=0))
    with control_plane.granting(PERMISSIONS, namespace) as kubeconfig:
        cache = ClusterCache(KubernetesCluster(kubeconfig), [namespace, "no-such-namespace"], lambda _: None)
        cache.start()
        try:
            eventually(lambda: cache.has_synced, "not every list was read or refused")
            assert cache.readable == [namespace]
            assert cache.get(WorkloadKey(namespace, "web")) is not None
            missing = {one.resource: str(one) for one in cache.unsynced()}
            assert missing.keys() == {*WORKLOADS.values(), AUTOSCALERS}
            assert (
                'cannot list resource "deployments" in API group "apps" in the namespace "no-such-namespace"'
                in (missing[DEPLOYMENTS])
            )
            state = cache.observe_live(Target("default", "no-such-namespace", "web"))
            assert (state.seen, state.unreadable) == (False, missing[DEPLOYMENTS])
        finally:
            cache.stop()
