"""Which verifications are worth a look."""

from datetime import timedelta

from django.utils import timezone

from orchestrator.k8s.types import WorkloadKey
from orchestrator.models import Action, Verification, Workload
from orchestrator.reconciler.clock import SystemClock
from orchestrator.reconciler.verify import Verifications

ERP = Workload(pk=1, cluster="default", namespace="dev", kind="Deployment", name="erp")


def applied() -> Action:
    now = timezone.now()
    action = Action(workload=ERP, type="SCALE", planned_uid="u", change={"replicas": 3}, traceparent="")
    action.updated_at, action.deadline_at = now, now + timedelta(minutes=5)
    Verification(action=action, generation=2, baseline={"replicas": 2})
    return action


def test_a_change_of_the_target_wakes_the_younger_of_two_whichever_came_last() -> None:
    verifications = Verifications("default", SystemClock())
    ended, under_way = applied(), applied()
    verifications.watch([under_way, ended])  # another process has ended it since this one read it
    assert len(list(verifications.due([]))) == 2  # each is checked once

    assert [one.action.pk for one in verifications.due([WorkloadKey("dev", "erp")])] == [under_way.pk]
