"""Several reconcilers, each a process of its own, on one database and one cluster."""

from pathlib import Path

from guardrails.replay import replay
from orchestrator.models import Action, ActionState, AuditEvent, DecisionRecord
from signals.models import Signal
from tests.kit.processes import reconcilers, until
from tests.kit.referee import Referee
from tests.kit.signals import anomaly, post
from tests.kit.world import World, deployment

WORKLOADS = 100


def test_three_reconcilers_share_the_work_and_do_each_of_it_once(world: World, tmp_path: Path) -> None:
    world.deploy(*(deployment(f"erp-{index}", replicas=1, ready_after="0") for index in range(WORKLOADS)))
    referee = Referee(world.sandbox)

    with reconcilers(3, world.sandbox.kubeconfig, tmp_path / "log"):
        post(*(anomaly(f"erp-{index}") for index in range(WORKLOADS)))
        until(lambda: Action.objects.filter(state=ActionState.SUCCEEDED).count() == WORKLOADS)

    actions = Action.objects.select_related("verification", "workload")
    assert {action.verification.status for action in actions} == {"SUCCESS"}
    assert sorted(effect.action for effect in referee.effects) == sorted(str(action.pk) for action in actions)
    assert {effect.workload for effect in referee.effects} == {action.workload.key for action in actions}
    assert set(referee.most.values()) == {2}
    assert len(world.writes()) == WORKLOADS
    assert not Signal.objects.filter(closed_at=None).exists()
    assert AuditEvent.objects.filter(to_state=ActionState.SUCCEEDED).count() == WORKLOADS
    assert len({action.moved_by for action in actions}) > 1, "one process did all the work: nothing was shared"
    for decision in DecisionRecord.objects.all():
        assert replay(decision.inputs) == decision.verdicts
