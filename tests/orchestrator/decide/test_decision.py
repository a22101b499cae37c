"""Questions become decisions with their records, alone or in a batch."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from uuid import UUID

import pytest
from django.db import transaction
from django.db.models.functions import Now

from guardrails.models import Cooldown, Freeze, GuardrailSetting
from guardrails.replay import replay
from guardrails.types import Allow, Decision, Defer, Deny, Ignore, Outcome, PolicyAnswer
from orchestrator.decide.decision import Decided, Question, decide, store_records
from orchestrator.k8s.target import UNOBSERVED, TargetState
from orchestrator.models import Action, DecisionRecord, Phase, Workload
from orchestrator.reconciler.admit import proposal
from signals.models import Signal
from signals.reasons import Reason
from signals.types import ActionType, Origin, Proposal, Target
from tests.kit.signals import NAMESPACE, anomaly, post
from tests.kit.simulation import SimulatedCluster
from tests.kit.verbs import requested

pytestmark = pytest.mark.django_db
HISTORY = {
    *("freeze", "one_action_at_a_time", "missing_replicas", "recently_refused", "cooldown"),
    *("actions_per_hour", "scale_velocity", "scale_down_velocity"),
}
cluster = SimulatedCluster()


def question(name: str, *, locked: bool = True, phase: Phase = Phase.ADMIT, replicas: int = 3) -> Question:
    """May a direct request scale this workload?"""
    target = Target("default", NAMESPACE, name)
    with transaction.atomic():
        workload = Workload.lock([target])[target] if locked else None
    live = cluster.deployments[cluster.deploy(name)]
    wanted = Proposal(ActionType.SCALE, target, Origin.DIRECT, {"replicas": replicas}, requested_by="token:ana")
    state = TargetState(seen=True, object=live)
    return Question(phase, Action.new_id(), target, state, wanted, None, workload)


def signal_question(name: str, symptom: str = "resource") -> Question:
    [receipt] = post(anomaly(name, symptom))
    with transaction.atomic():
        [signal] = Signal.lock_due([UUID(receipt.signal_id)])
    return replace(question(name), proposal=proposal(signal), signal=signal.facts(), rules=signal.rules)


def ask(questions: Sequence[Question]) -> tuple[list[Decided], list[DecisionRecord]]:
    """The decisions with their records, rolled back: the actions that the records name are not part of these tests."""
    with transaction.atomic():
        decided = decide(questions)
        assert not DecisionRecord.objects.exists()
        store_records(decided)
        records = list(DecisionRecord.objects.order_by("id"))
        transaction.set_rollback(True)
    return decided, records


def outline(decided: Decided) -> tuple[type[Decision], object, tuple[object, ...], object]:
    """All but the moment."""
    decision = decided.decision
    verdicts = tuple((one.guardrail, one.outcome, one.reason) for one in decision.verdicts)
    return type(decision), getattr(decision, "reason", None), verdicts, decided.inputs.facts


def of_every_kind() -> list[Question]:
    busy, frozen, cooling = (Target("default", NAMESPACE, name) for name in ("busy", "frozen", "cooling"))
    requested("busy")
    Freeze.objects.create(reason="incident", by="user:ana", namespace=NAMESPACE, workload=frozen.name)
    Cooldown.objects.create(
        cluster="default",
        namespace=NAMESPACE,
        workload=cooling.name,
        action_type="SCALE",
        until=Now() + timedelta(minutes=9),
    )
    GuardrailSetting.objects.create(namespace=NAMESPACE, workload="small", max_replicas=2)
    return [
        question("free"),
        question(busy.name),
        question("small"),
        question(frozen.name),
        signal_question(cooling.name, "latency"),
        replace(question("nowhere", locked=False), state=TargetState(seen=True)),
        signal_question("unmatched", "an unknown symptom"),
        replace(question("denied"), policy=PolicyAnswer(False, "not today", "opa")),
        replace(question("unseen"), state=UNOBSERVED),
    ]


def test_a_record_says_which_target_was_decided_on() -> None:
    """Also without an action, a signal or a row of the workload."""
    _, records = ask([question("refused", replicas=99), question("nowhere", locked=False)])

    assert [(one.cluster, one.kind, one.namespace, one.workload) for one in records] == [
        ("default", "Deployment", NAMESPACE, "refused"),
        ("default", "Deployment", NAMESPACE, "nowhere"),
    ]


def test_questions_in_a_batch_are_decided_as_each_alone() -> None:
    questions = of_every_kind()

    together = [outline(one) for one in ask(questions)[0]]
    alone = [outline(ask([one])[0][0]) for one in questions]
    backwards = [outline(one) for one in ask(questions[::-1])[0]]

    assert together == alone == backwards[::-1]
    assert [(kind, reason) for kind, reason, _, _ in together] == [
        (Allow, None),
        (Deny, Reason.TARGET_BUSY),
        (Deny, Reason.REPLICA_LIMIT),
        (Deny, Reason.FROZEN),
        (Defer, Reason.COOLDOWN_ACTIVE),
        (Deny, Reason.TARGET_NOT_FOUND),
        (Ignore, Reason.NO_RULE),
        (Deny, Reason.POLICY_DENIED),
        (Allow, None),
    ]


def test_a_batch_stores_one_record_for_each_question_in_its_order() -> None:
    questions = of_every_kind()

    decided, records = ask(questions)

    assert [one.outcome for one in records] == [one.decision.outcome for one in decided]
    assert [one.reason for one in records] == [str(getattr(one.decision, "reason", "")) for one in decided]
    assert [one.until for one in records] == [getattr(one.decision, "until", None) for one in decided]
    assert [one.signal_id and str(one.signal_id) for one in records] == [
        one.signal and one.signal.id for one in questions
    ]
    for one in records:
        assert replay(one.inputs) == one.verdicts


def test_no_question_makes_no_record() -> None:
    assert ask([]) == ([], [])


@pytest.mark.parametrize("locked", [True, False])
def test_guardrails_of_the_history_are_not_evaluated_without_a_workload(locked: bool) -> None:
    [decided], _ = ask([question("erp-simulator", locked=locked)])

    silent = {one.guardrail for one in decided.decision.verdicts if one.outcome is Outcome.NOT_EVALUATED}
    assert HISTORY & silent == (set() if locked else HISTORY)
    assert decided.inputs.facts.history_loaded is locked


def test_an_active_action_is_not_loaded_without_a_workload() -> None:
    requested("erp-simulator")

    [unlocked, locked], _ = ask([question("erp-simulator", locked=False), question("erp-simulator")])

    assert unlocked.inputs.facts.active_action == ""
    assert locked.inputs.facts.active_action != ""


@pytest.mark.parametrize(
    ("phase", "replicas", "names_it"),
    [
        (Phase.ADMIT, 3, True),
        (Phase.ADMIT, 99, False),
        (Phase.PLAN, 3, True),
        (Phase.PLAN, 99, True),
    ],
    ids=["admitted", "refused", "checked", "blocked before its write"],
)
def test_a_record_names_the_action_if_there_is_one(phase: Phase, replicas: int, names_it: bool) -> None:
    asked = question("erp-simulator", phase=phase, replicas=replicas)

    _, [record] = ask([asked])

    assert record.action_id == (asked.action_id if names_it else None)
    assert record.phase == phase


def test_the_action_that_is_checked_is_not_in_its_own_way() -> None:
    action = requested("erp-simulator")
    asked = replace(question("erp-simulator", phase=Phase.PLAN), action_id=action.pk)

    [decided], _ = ask([asked])

    assert isinstance(decided.decision, Allow)


def test_the_limits_of_a_decision_are_those_of_its_workload() -> None:
    GuardrailSetting.objects.create(namespace=NAMESPACE, workload="a", max_replicas=2)

    [small, large], _ = ask([question("a"), question("b")])

    assert (small.limits.max_replicas, large.limits.max_replicas) == (2, 8)
    assert isinstance(small.decision, Deny)
    assert isinstance(large.decision, Allow)
