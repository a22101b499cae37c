"""Which verifications are worth a look."""

from datetime import timedelta

from orchestrator.k8s.cache import ClusterCache
from orchestrator.k8s.types import WorkloadKey
from orchestrator.models import Action, Verification, Workload
from orchestrator.reconciler.verify import Verifications
from tests.orchestrator.reconciler.fake import Fake

ERP = Workload(pk=1, cluster="default", namespace="dev", kind="Deployment", name="erp")


def applied() -> Action:
    action = Action(type="SCALE", workload=ERP, planned_uid="u", change={"replicas": 3}, traceparent="")
    Verification(action=action, generation=2, baseline={"replicas": 2})
    return action


def test_a_change_of_the_target_wakes_the_younger_of_two_whichever_came_last() -> None:
    cluster = Fake().cluster
    verifications = Verifications(
        "default", cluster, ClusterCache(cluster, ["dev"], lambda _: None), lambda _: None, "we"
    )
    ended, under_way = applied(), applied()
    for action in (under_way, ended):  # another process has ended it since we read it
        verifications.watch(action, timedelta(minutes=5))
    verifications.due([])  # each is worth a first look

    assert verifications.due([WorkloadKey("dev", "erp")]) == [under_way.pk]
