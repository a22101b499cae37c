"""Actions that wait for persons, and those that are only recorded: the loop on a simulated cluster."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db.models.functions import Now

from guardrails.models import Cooldown, Freeze, GuardrailSetting
from guardrails.replay import replay
from guardrails.types import Outcome
from orchestrator.acts import NotDone
from orchestrator.acts.vote import rehearse, vote
from orchestrator.decide.direct import Refused, admit_direct
from orchestrator.k8s.errors import Forbidden
from orchestrator.k8s.types import WorkloadKey
from orchestrator.models import (
    Action,
    ActionState,
    ActiveAction,
    DecisionRecord,
    Vote,
    Workload,
    transition_store,
    transitions,
)
from signals import actors
from signals.models import Rule, Signal, SignalState
from signals.reasons import Reason
from signals.types import ActionType, Origin, Proposal, Target
from tests.kit.signals import NAMESPACE, anomaly, post
from tests.kit.simulation import Simulation
from tests.kit.world import only_action

S = ActionState
ERP = WorkloadKey(NAMESPACE, "erp-simulator")
TARGET = Target("default", NAMESPACE, "erp-simulator")
APPROVE, REJECT = Vote.APPROVE, Vote.REJECT


class VoteRefused(Exception):  # noqa: N818
    pass


@pytest.fixture
def loop(simulation: Simulation) -> Simulation:
    """In the mode `approve`, with the accounts ana and ben, who may approve everything."""
    GuardrailSetting.objects.update(mode="approve")
    for name in ("ana", "ben"):
        User.objects.create_superuser(name)
    simulation.cluster.deploy("erp-simulator")
    simulation.observe()
    return simulation


def waiting(loop: Simulation) -> Action:
    """A signal's action that waits."""
    post(anomaly("erp-simulator"))
    loop.run()
    action = only_action_or_latest()
    assert action.state == S.AWAITING_APPROVAL
    return action


def only_action_or_latest() -> Action:
    return Action.objects.select_related("workload", "signal").latest("pk")


def decide(action: Action, by: str = "ana", decision: Vote = APPROVE, reason: str = "", **other: Any) -> Action:
    fields: dict[str, Any] = {"digest": action.digest, "objection": lambda _: ""} | other
    outcome = vote(action.pk, fields["digest"], actors.user(by), decision, reason, fields["objection"])
    if isinstance(outcome, NotDone):
        raise VoteRefused(outcome.message)
    assert outcome.action is not None
    return outcome.action


def direct(loop: Simulation, **params: Any) -> Action:
    proposal = Proposal(ActionType.SCALE, TARGET, Origin.DIRECT, params or {"replicas": 3})
    return admit_direct(proposal, actors.token("agent"))


def go_on(loop: Simulation) -> Action:
    for _ in range(3):
        loop.sweep()
    return only_action_or_latest()


def test_an_action_waits_with_its_plan_and_writes_nothing_until_it_is_approved(loop: Simulation) -> None:
    action = waiting(loop)

    assert (action.reason, action.planned_uid, action.planned_generation) == (
        Reason.APPROVAL_REQUIRED, "uid of erp-simulator", 1,
    )  # fmt: skip
    assert action.images is not None
    assert (dict(action.images.before), dict(action.images.after)) == ({"spec.replicas": 2}, {"spec.replicas": 3})
    assert ActiveAction.objects.filter(action=action).exists()
    assert Signal.objects.get().state == SignalState.ADMITTED
    record = DecisionRecord.objects.get(action=action)
    assert (record.outcome, replay(record.inputs)) == (Outcome.ASK, record.verdicts)
    assert go_on(loop).digest == action.digest
    assert loop.calls == []

    decide(action)
    done = go_on(loop)

    assert done.state == S.VERIFYING
    assert [one for one in loop.calls if one.startswith("scale")] == ["scale erp-simulator to 3 at 2"]
    allowed = DecisionRecord.objects.filter(action=action, outcome=Outcome.ALLOW).latest("pk")
    assert replay(allowed.inputs) == allowed.verdicts
    [mode] = [one for one in allowed.verdicts if one["guardrail"] == "mode"]
    assert mode["message"] == "Approved by user:ana."


def test_a_direct_action_waits_and_is_approved_as_well(loop: Simulation) -> None:
    action = direct(loop)

    assert go_on(loop).state == S.AWAITING_APPROVAL
    decide(go_on(loop))
    assert go_on(loop).state == S.VERIFYING
    assert action.pk == only_action().pk


def test_a_dry_run_needs_no_approval(loop: Simulation) -> None:
    proposal = Proposal(ActionType.SCALE, TARGET, Origin.DIRECT, {"replicas": 3}, dry_run=True)
    admit_direct(proposal, actors.token("agent"))

    assert go_on(loop).state == S.SUCCEEDED


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (lambda loop: loop.cluster.change(ERP, generation=2), ["generation"]),
        (lambda loop: loop.cluster.change(ERP, generation=2, replicas=4), ["generation", "change"]),
        (lambda loop: loop.cluster.change(ERP, uid="another"), ["uid"]),
        (lambda _: GuardrailSetting.objects.update(max_replicas=7), ["max_replicas"]),
        (lambda _: GuardrailSetting.objects.update(mode="auto"), ["mode"]),
        (lambda _: Rule.objects.filter(enabled=True).update(priority=7), ["rule_version"]),
        (lambda _: Rule.objects.all().delete(), ["rule_version"]),
    ],
)
@pytest.mark.parametrize("approved", [False, True])
def test_what_has_changed_is_shown_again_and_earlier_votes_do_not_count(
    loop: Simulation, change: Any, what: list[str], approved: bool
) -> None:
    """While it waits, or after it was approved and before the write."""
    GuardrailSetting.objects.update(max_replicas=20)
    action = waiting(loop)
    if approved:
        decide(action)
    change(loop)
    found = loop.cluster.deployments[ERP]
    loop.cluster.deployments[ERP] = replace(found, observed_generation=found.generation)
    loop.cluster.roll_out(ERP)
    loop.observe()

    again = go_on(loop)

    assert (again.state, again.reason) == (S.AWAITING_APPROVAL, Reason.PLAN_CHANGED)
    assert again.digest != action.digest
    assert [one["what"] for one in again.details["changed"]][: len(what)] == what
    assert not [one for one in loop.calls if one.startswith("scale")]
    with pytest.raises(VoteRefused, match="not what you were shown"):
        decide(again, digest=action.digest)
    decide(again)
    assert go_on(loop).state == S.VERIFYING


def test_a_change_of_the_status_is_not_shown_again(loop: Simulation) -> None:
    action = waiting(loop)
    loop.cluster.change(ERP, available_replicas=0)
    loop.observe()

    assert go_on(loop).digest == action.digest


def test_one_rejection_ends_it_and_closes_the_signal(loop: Simulation) -> None:
    GuardrailSetting.objects.update(approvals_required=2)
    action = waiting(loop)
    decide(action, "ben")

    with pytest.raises(VoteRefused, match="Enter a reason"):
        decide(action, decision=REJECT, reason="  ")
    decide(action, decision=REJECT, reason="Not today.")

    ended = only_action()
    assert (ended.state, ended.reason, ended.moved_by) == (S.REJECTED, Reason.REJECTED, "user:ana")
    assert ended.message == "user:ana rejected it: Not today."
    assert Signal.objects.get().closed_at is not None
    assert not ActiveAction.objects.exists()


def test_several_persons_have_to_approve_what_is_shown(loop: Simulation) -> None:
    GuardrailSetting.objects.update(approvals_required=2)
    action = waiting(loop)

    assert decide(action, "ana").state == S.AWAITING_APPROVAL
    assert decide(action, "ana").state == S.AWAITING_APPROVAL  # the same person twice
    assert decide(action, "ben").state == S.PENDING
    assert go_on(loop).state == S.VERIFYING


def test_an_approval_counts_only_while_the_person_has_the_right(loop: Simulation) -> None:
    action = waiting(loop)
    decide(action)
    User.objects.filter(username="ana").update(is_active=False)

    again = go_on(loop)

    assert (again.state, again.digest) == (S.AWAITING_APPROVAL, action.digest)
    assert "user:ana no longer has the right" in again.message
    decide(again, "ben")
    assert go_on(loop).state == S.VERIFYING


@pytest.mark.parametrize(
    ("lost", "left"), [(("ana",), 1), (("ben",), 1), (("ana", "ben"), 0)], ids=["the first", "the last", "both"]
)
def test_of_several_approvals_those_without_the_right_are_missing_again(
    loop: Simulation, lost: tuple[str, ...], left: int
) -> None:
    """Between the last vote and the write."""
    GuardrailSetting.objects.update(approvals_required=2)
    action = waiting(loop)
    decide(action, "ana")
    decide(action, "ben")
    User.objects.filter(username__in=lost).update(is_superuser=False)

    again = go_on(loop)

    assert (again.state, again.digest) == (S.AWAITING_APPROVAL, action.digest)
    assert f"It has {left} of 2 approvals." in again.message
    assert loop.calls.count("scale erp-simulator to 3 at 2") == 0
    for name in ("cem", "dan")[: 2 - left]:
        assert Action.objects.get().state == S.AWAITING_APPROVAL
        User.objects.create_superuser(name)
        decide(again, name)
    assert go_on(loop).state == S.VERIFYING


def test_an_objection_is_the_answer_to_the_person(loop: Simulation) -> None:
    action = waiting(loop)

    with pytest.raises(VoteRefused, match="You requested it"):
        decide(action, objection=lambda _: "You requested it: another person decides.")
    assert not action.approvals.exists()


def test_without_a_decision_it_expires(loop: Simulation) -> None:
    action = waiting(loop)
    Action.objects.update(deadline_at=Now() - timedelta(seconds=1))

    with pytest.raises(VoteRefused, match="expired"):
        decide(action)
    loop.clock.advance(10)
    loop.run()

    ended = only_action()
    assert (ended.state, ended.reason) == (S.EXPIRED, Reason.APPROVAL_EXPIRED)
    with pytest.raises(VoteRefused, match="it is expired"):
        decide(action)


def test_the_time_for_an_approval_is_a_limit(loop: Simulation) -> None:
    GuardrailSetting.objects.update(approval_timeout_seconds=120)
    action = waiting(loop)

    assert abs((action.deadline_at - action.updated_at).total_seconds() - 120) < 1


def test_the_end_of_the_problem_cancels_it(loop: Simulation) -> None:
    waiting(loop)
    post(anomaly("erp-simulator", firing=False))

    assert (go_on(loop).state, only_action().reason) == (S.CANCELLED, Reason.SIGNAL_RESOLVED)


def test_a_freeze_holds_an_approved_action_back(loop: Simulation) -> None:
    action = waiting(loop)
    Freeze.objects.create(reason="incident", by="user:ana")
    decide(action)

    held = go_on(loop)

    assert (held.state, held.reason) == (S.PENDING, Reason.FROZEN)
    Freeze.objects.update(lifted_at=Now(), lifted_by="user:ana", lift_reason="over")
    Action.objects.update(not_before=Now())
    assert go_on(loop).state == S.VERIFYING


def test_a_target_that_is_gone_cancels_it(loop: Simulation) -> None:
    waiting(loop)
    del loop.cluster.deployments[ERP]
    loop.observe()

    assert (go_on(loop).state, only_action().reason) == (S.CANCELLED, Reason.TARGET_NOT_FOUND)


@pytest.mark.parametrize("mode", ["approve", "auto"])
def test_a_direct_action_ends_what_waits(loop: Simulation, mode: str) -> None:
    action = waiting(loop)
    GuardrailSetting.objects.update(mode=mode)

    another = direct(loop, replicas=4)

    action.refresh_from_db()
    assert (action.state, action.reason, action.moved_by) == (S.CANCELLED, Reason.OVERRIDDEN, "token:agent")
    assert str(another.pk) in action.message
    assert Signal.objects.get().closed_at is not None
    with pytest.raises(VoteRefused, match="cancelled"):
        decide(action)


def test_a_direct_action_that_is_refused_ends_nothing(loop: Simulation) -> None:
    action = waiting(loop)

    with pytest.raises(Refused):
        direct(loop, replicas=99)

    action.refresh_from_db()
    assert action.state == S.AWAITING_APPROVAL


def test_a_direct_action_is_refused_while_another_one_is_executed(loop: Simulation) -> None:
    decide(waiting(loop))
    assert go_on(loop).state == S.VERIFYING

    with pytest.raises(Refused) as refused:
        direct(loop)
    assert refused.value.decision.reason == Reason.TARGET_BUSY


def test_a_decision_after_a_claim_is_refused(loop: Simulation, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between the read of the row and its lock, another person decides."""
    action = waiting(loop)
    lock_rows = Workload.lock_rows

    def late(ids: Any) -> None:
        monkeypatch.setattr(Workload, "lock_rows", lock_rows)
        transition_store.store([transitions.approve(only_action(), "Approved.", {}, "user:ben")])

    monkeypatch.setattr(Workload, "lock_rows", late)
    with pytest.raises(VoteRefused, match="it is pending"):
        decide(action)
    assert not action.approvals.exists()


class TestDryRun:
    def rehearse(self, action: Action, digest: str = "") -> None:
        outcome = rehearse(action.pk, digest or action.digest, actors.user("ana"), lambda _: "")
        if isinstance(outcome, NotDone):
            raise VoteRefused(outcome.message)

    def test_its_result_is_stored_and_the_action_continues_to_wait(self, loop: Simulation) -> None:
        action = waiting(loop)
        self.rehearse(action)

        after = go_on(loop)

        assert after.rehearsal == {
            "digest": action.digest, "by": "user:ana", "done": True, "ok": True,
            "message": "The API server accepts the change.", "after": {"spec.replicas": 3},
        }  # fmt: skip
        assert (after.state, after.digest) == (S.AWAITING_APPROVAL, action.digest)
        assert loop.calls == ["read erp-simulator", "scale erp-simulator to 3 at 2"]
        assert loop.cluster.deployments[ERP].replicas == 2
        decide(after)
        assert go_on(loop).state == S.VERIFYING

    def test_a_refusal_of_the_cluster_is_its_result(self, loop: Simulation) -> None:
        action = waiting(loop)
        loop.cluster.writes.append(Forbidden("a policy forbids it"))
        self.rehearse(action)

        found = go_on(loop).rehearsal
        assert found is not None
        assert (found["ok"], found["message"]) == (False, "a policy forbids it")

    def test_only_what_is_shown_is_tried(self, loop: Simulation) -> None:
        action = waiting(loop)

        with pytest.raises(VoteRefused, match="not what you were shown"):
            self.rehearse(action, "another")
        decide(action)
        with pytest.raises(VoteRefused, match="it is pending"):
            self.rehearse(action)


class TestObserve:
    @pytest.fixture
    def loop(self, simulation: Simulation) -> Simulation:
        GuardrailSetting.objects.update(mode="observe")
        simulation.cluster.deploy("erp-simulator")
        simulation.observe()
        return simulation

    def test_what_would_have_been_done_is_recorded_and_not_done(self, loop: Simulation) -> None:
        post(anomaly("erp-simulator"))
        action = go_on(loop)

        assert (action.state, action.reason) == (S.OBSERVED, Reason.OBSERVE_ONLY)
        assert action.applied_at is not None
        assert action.images is not None
        assert (dict(action.images.before), dict(action.images.after)) == ({"spec.replicas": 2}, {"spec.replicas": 3})
        assert loop.calls == []
        assert Signal.objects.get().closed_at is not None

    def test_it_counts_as_if_it_had_been_done(self, loop: Simulation) -> None:
        GuardrailSetting.objects.update(cooldown_seconds=300)
        post(anomaly("erp-simulator"))
        go_on(loop)
        post(anomaly("erp-simulator"))
        go_on(loop)

        assert Signal.objects.latest("pk").reason == Reason.COOLDOWN_ACTIVE
        Cooldown.objects.all().delete()
        GuardrailSetting.objects.update(max_scale_increase=1)
        go_on(loop)
        assert Signal.objects.latest("pk").reason == Reason.SCALE_VELOCITY_LIMIT
        assert Action.objects.count() == 1

    def test_the_episode_rests_without_a_cooldown_for_as_long_as_a_verification(self, loop: Simulation) -> None:
        GuardrailSetting.objects.update(cooldown_seconds=0, stabilization_seconds=40)
        post(anomaly("erp-simulator"))
        action = go_on(loop)

        left = (Cooldown.objects.get().until - action.applied_at).total_seconds()  # type: ignore[operator]
        assert abs(left - 40) < 1

    def test_a_direct_action_is_recorded_too(self, loop: Simulation) -> None:
        direct(loop)

        assert go_on(loop).state == S.OBSERVED
        assert not [one for one in loop.calls if one.startswith("scale")]

    def test_the_strictest_of_rule_and_scope_counts(self, loop: Simulation) -> None:
        GuardrailSetting.objects.update(mode="auto")
        Rule.objects.update(mode="observe")
        post(anomaly("erp-simulator"))

        action = go_on(loop)
        assert (action.state, action.details["source"]) == (S.OBSERVED, action.requested_by)

    def test_what_waits_is_recorded_when_the_mode_becomes_observe(self, loop: Simulation) -> None:
        GuardrailSetting.objects.update(mode="approve")
        post(anomaly("erp-simulator"))
        assert go_on(loop).state == S.AWAITING_APPROVAL
        GuardrailSetting.objects.update(mode="observe")

        assert go_on(loop).state == S.OBSERVED
