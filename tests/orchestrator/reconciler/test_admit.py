"""Due signals become decisions, and planned actions where everything allows it."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from uuid import UUID

import pytest
from django.db import connection, transaction
from django.db.models.functions import Now

from guardrails.replay import replay
from guardrails.types import PolicyAnswer
from orchestrator.k8s.sync import Delays
from orchestrator.k8s.target import UNMANAGED, TargetState
from orchestrator.models import Action, ActionState, DecisionRecord, Workload
from orchestrator.reconciler import admit
from orchestrator.reconciler.calls import Candidate
from orchestrator.reconciler.claim import Claim
from signals.models import Problem, Rule, Signal, SignalState
from signals.reasons import Reason
from signals.types import Kind, Target
from tests.kit.patience import PATIENCE
from tests.kit.signals import anomaly, delayed, post, root_cause, wait
from tests.kit.simulation import SimulatedCluster
from tests.kit.verbs import poison, requested, those_stored

pytestmark = pytest.mark.usefixtures("rules")
S = SignalState


@pytest.fixture
def cluster() -> SimulatedCluster:
    cluster = SimulatedCluster()
    for name in ("a", "b", "c"):
        cluster.deploy(name)
    return cluster


def due(cluster: SimulatedCluster, limit: int = 100, asking: tuple[UUID, ...] = ()) -> tuple[list[Candidate], bool]:
    def observe(target: Target) -> TargetState:
        return TargetState(seen=True, object=cluster.get_or_none(target))

    return admit.due("default", limit, asking, observe)


def names(candidates: list[Candidate]) -> list[str]:
    return [one.signal.workload for one in candidates]


def decide(cluster: SimulatedCluster) -> list[Claim]:
    """One pass over all that is due."""
    candidates, _ = due(cluster)
    return admit.admit(candidates, "reconciler:test")


def rows() -> dict[str, tuple[str, str]]:
    """State and reason of each signal, by workload."""
    return {one.workload: (one.state, one.reason) for one in Signal.objects.all()}


def test_the_signals_that_have_been_due_for_longest_come_first(cluster: SimulatedCluster) -> None:
    for name in ("b", "a", "c"):
        post(anomaly(name))
    post(anomaly("elsewhere", target=Target("other", "smartops-dev", "elsewhere")))

    assert (names(due(cluster)[0]), due(cluster)[1]) == (["b", "a", "c"], False)
    assert (names(due(cluster, limit=2)[0]), due(cluster, limit=2)[1]) == (["b", "a"], True)


@pytest.mark.parametrize(
    ("delays", "left"),
    [
        (delayed(smartops_dev=10.0), ["elsewhere", "old"]),
        (delayed(smartops_dev=20.0), ["elsewhere"]),
        (delayed(elsewhere=10.0, another=9.0), ["old", "new"]),
        (delayed(everywhere=10.0), ["old"]),
        ({("smartops-dev", Kind.STATEFUL_SET): 10.0}, ["old", "new", "elsewhere"]),
        ({}, ["old", "new", "elsewhere"]),
    ],
)
def test_a_signal_of_a_namespace_that_has_not_synced_is_due_later(delays: Delays, left: list[str]) -> None:
    post(anomaly("old"))
    Signal.objects.update(not_before=Now() - timedelta(seconds=15))
    post(anomaly("new"))
    post(anomaly("elsewhere", target=Target("default", "elsewhere", "elsewhere")))

    assert sorted(one.workload for one in Signal.due("default", 9, (), delays)) == sorted(left)


def test_a_target_whose_namespace_cannot_be_read_is_not_looked_up() -> None:
    post(anomaly("a"))
    state = TargetState(seen=False, unreadable="deployments in namespace smartops-dev: forbidden")
    [candidate], _ = admit.due("default", 9, (), lambda _: state)

    assert not admit.needs_lookup(candidate, policy_is_configured=True)
    assert admit.admit([candidate], "reconciler:test") == []

    assert rows() == {"a": (S.PENDING, Reason.NAMESPACE_UNREADABLE)}
    assert not Workload.objects.exists()


def test_a_workload_has_one_candidate_at_a_time(cluster: SimulatedCluster) -> None:
    post(anomaly("a"))
    post(anomaly("a", "latency"))
    post(anomaly("b"))

    found, more = due(cluster)

    assert ([(one.signal.workload, one.signal.symptom) for one in found], more) == (
        [("a", "resource"), ("b", "resource")],
        True,
    )


def test_a_workload_with_many_signals_does_not_delay_the_others(cluster: SimulatedCluster) -> None:
    post(*(anomaly("a", f"unknown-{number}") for number in range(20)))
    post(anomaly("b"), anomaly("c"))

    found, more = due(cluster, limit=4)

    assert (sorted(names(found)), more) == (["a", "a", "b", "c"], True)


def test_signals_that_no_rule_matches_are_decided_on_together(cluster: SimulatedCluster) -> None:
    post(*(anomaly("a", f"unknown-{number}") for number in range(20)))

    assert decide(cluster) == []
    assert set(Signal.objects.values_list("state", flat=True)) == {S.IGNORED}


def test_a_signal_that_is_being_looked_up_is_not_due_again(cluster: SimulatedCluster) -> None:
    post(anomaly("a"), anomaly("b"))
    [first, *_], _ = due(cluster)

    found, _ = due(cluster, asking=(first.signal.pk,))

    assert len(found) == 1
    assert found[0].signal.pk != first.signal.pk


def test_a_signal_waits_until_its_problem_has_lasted_as_long_as_its_rule_asks(cluster: SimulatedCluster) -> None:
    Rule.objects.filter(symptom="resource").update(for_seconds=60)
    post(anomaly("a"))

    assert decide(cluster) == []
    seen = Signal.objects.get()
    assert (seen.state, seen.reason) == (S.PENDING, Reason.NOT_LASTED)
    assert timedelta(0) <= seen.not_before - seen.first_seen_at - timedelta(seconds=60) < timedelta(seconds=30)

    wait(61)
    assert [claim.action.workload.name for claim in decide(cluster)] == ["a"]
    first, last = DecisionRecord.objects.order_by("pk")
    assert (first.outcome, first.reason, last.outcome) == ("defer", Reason.NOT_LASTED, "allow")
    assert [replay(one.inputs) for one in (first, last)] == [first.verdicts, last.verdicts]


def test_a_problem_that_ends_does_not_wait_any_longer(cluster: SimulatedCluster) -> None:
    Rule.objects.filter(symptom="resource").update(for_seconds=60)
    post(anomaly("a"))
    decide(cluster)

    post(anomaly("a", firing=False))
    wait(61)

    assert decide(cluster) == []
    assert rows() == {"a": (S.RESOLVED, Reason.SIGNAL_RESOLVED)}


def test_a_signal_that_nobody_reports_again_expires_while_its_rule_waits(cluster: SimulatedCluster) -> None:
    Rule.objects.filter(symptom="resource").update(for_seconds=3600)
    post(anomaly("a"))
    decide(cluster)

    wait(3601)

    assert decide(cluster) == []
    assert rows() == {"a": (S.DENIED, Reason.SIGNAL_EXPIRED)}


def test_a_rule_counts_the_last_reports_of_a_problem_also_those_of_earlier_episodes(cluster: SimulatedCluster) -> None:
    Rule.objects.filter(symptom="resource").update(min_reports=3, of_reports=5)
    for firing in (True, False, False, True):
        post(anomaly("a", firing=firing))
        assert decide(cluster) == []

    waiting = Signal.objects.get(state=S.PENDING)
    assert (waiting.reason, waiting.recent_reports) == (Reason.TOO_FEW_REPORTS, 0b1001)
    assert waiting.not_before - waiting.last_seen_at > timedelta(seconds=900)  # then it expires

    post(anomaly("a", score=0.9), anomaly("a"))  # it is due again at once
    [claim] = decide(cluster)
    assert claim.action.signal_id == waiting.pk
    assert Signal.objects.get(pk=waiting.pk).recent_reports == 0b100111
    assert Problem.objects.get().recent_reports == 0b100111


def test_a_signal_that_is_not_reported_often_enough_expires(cluster: SimulatedCluster) -> None:
    Rule.objects.filter(symptom="resource").update(min_reports=2, of_reports=2)
    post(anomaly("a"))
    decide(cluster)

    wait((Signal.objects.get().not_before - Signal.objects.get().first_seen_at).total_seconds())

    assert decide(cluster) == []
    assert rows() == {"a": (S.DENIED, Reason.SIGNAL_EXPIRED)}


def test_repeated_and_late_reports_are_not_counted(cluster: SimulatedCluster) -> None:
    end, beginning = anomaly("a", firing=False), anomaly("a")
    post(end, replace(end, firing=True), beginning, beginning)
    post(beginning)

    assert Problem.objects.get().recent_reports == 0b01
    assert Signal.objects.get().recent_reports == 0b01


def test_a_changed_rule_is_applied_to_the_signals_that_wait_for_it(cluster: SimulatedCluster) -> None:
    Rule.objects.filter(symptom="resource").update(for_seconds=3600)
    post(anomaly("a"))
    assert decide(cluster) == []

    Rule.objects.filter(symptom="resource").update(for_seconds=0)

    assert [claim.action.workload.name for claim in decide(cluster)] == ["a"]


def test_rules_with_patterns_find_the_signals_that_they_match(cluster: SimulatedCluster) -> None:
    Rule.objects.all().delete()
    fields = {"source": "rca", "action_type": "RESTART", "params": {}}
    Rule.objects.create(name="listed", symptom="oom, Dead Lock", symptom_match="one_of", workload="b.*", **fields)
    Rule.objects.create(name="pattern", symptom="mem.*", symptom_match="pattern", namespace="smartops-.*", **fields)
    post(root_cause("a", "Memory Leak"), root_cause("b", "deadlock"), root_cause("c", "deadlock"))

    claims = decide(cluster)

    assert sorted(claim.action.requested_by for claim in claims) == ["rule:listed", "rule:pattern"]
    assert rows()["c"] == (S.IGNORED, Reason.NO_RULE)
    [ignored] = DecisionRecord.objects.filter(outcome="ignore")
    assert ignored.message.endswith("The nearest rule is listed: its workload is “b.*”, and not “c”.")
    assert [one["name"] for one in ignored.inputs["rules"]] == ["listed"]


def test_a_signal_whose_rule_cannot_be_read_costs_itself(cluster: SimulatedCluster) -> None:
    """The rule may be of a newer version of SmartOps, which runs beside this one for a while."""
    post(anomaly("a"), anomaly("b", "latency"))
    Rule.objects.filter(symptom="resource").update(action_type="EVICT")

    candidates, _ = due(cluster)
    claims = those_stored(candidates, lambda some: admit.admit(some, "reconciler:test"), admit.record_failure)

    assert [claim.action.workload.name for claim in claims] == ["b"]
    assert rows()["a"] == (S.PENDING, Reason.PROCESSING_ERROR)
    assert rows()["b"][0] == S.ADMITTED


@pytest.mark.parametrize(
    ("matches", "state", "policy", "expected"),
    [
        (True, TargetState(seen=True), False, True),
        (True, TargetState(seen=True), True, True),
        (True, UNMANAGED, False, False),
        (False, TargetState(seen=True), True, False),
    ],
    ids=["a target that is not in the cache", "the same with a policy", "a namespace that is not managed", "no rule"],
)
def test_a_decision_takes_a_network_call_if_something_is_unknown(
    cluster: SimulatedCluster, matches: bool, state: TargetState, policy: bool, expected: bool
) -> None:
    post(anomaly("a" if matches else "b", "resource" if matches else "an unknown symptom"))
    [candidate], _ = due(cluster)

    assert admit.needs_lookup(replace(candidate, state=state), policy) is expected


def test_a_policy_is_queried_about_a_target_that_the_cache_has(cluster: SimulatedCluster) -> None:
    post(anomaly("a"))
    [candidate], _ = due(cluster)

    assert admit.needs_lookup(candidate, policy_is_configured=True)
    assert not admit.needs_lookup(candidate, policy_is_configured=False)


def test_a_batch_becomes_planned_actions(cluster: SimulatedCluster) -> None:
    post(anomaly("a"), root_cause("b"), anomaly("c", "latency"))

    claims = decide(cluster)

    planned = {claim.action.workload.name: claim.action for claim in claims}
    assert {name: (one.type, one.change) for name, one in planned.items()} == {
        "a": ("SCALE", {"replicas": 3}),
        "b": ("RESTART", {"value": str(planned["b"].pk)}),
        "c": ("SCALE", {"replicas": 3}),
    }
    stored = Action.objects.values_list("state", "epoch", "attempts", "planned_resource_version", "moved_by")
    assert list(stored) == [(ActionState.APPLYING, 1, 1, "2", "reconciler:test")] * 3
    assert set(rows().values()) == {(S.ADMITTED, "")}
    assert {(one.outcome, one.action_id) for one in DecisionRecord.objects.all()} == {
        ("allow", one.pk) for one in planned.values()
    }
    assert all(claim.limits is not None and claim.writes == 0 for claim in claims)


def test_each_signal_of_a_batch_gets_its_own_outcome(cluster: SimulatedCluster) -> None:
    requested("b")
    post(anomaly("a"), anomaly("b"), anomaly("c", "an unknown symptom"), anomaly("missing"))

    claims = decide(cluster)

    assert [claim.action.workload.name for claim in claims] == ["a"]
    assert rows() == {
        "a": (S.ADMITTED, ""),
        "b": (S.PENDING, Reason.TARGET_BUSY),
        "c": (S.IGNORED, Reason.NO_RULE),
        "missing": (S.DENIED, Reason.TARGET_NOT_FOUND),
    }
    assert Signal.objects.get(workload="b").not_before > Signal.objects.get(workload="a").not_before
    assert DecisionRecord.objects.count() == 4


def test_a_target_that_does_not_exist_is_never_admitted(cluster: SimulatedCluster) -> None:
    post(anomaly("a"))
    candidates, _ = due(cluster)
    gone = [replace(one, state=TargetState(seen=True), policy=PolicyAnswer(True, "", "opa")) for one in candidates]

    assert admit.admit(gone, "reconciler:test") == []
    assert rows() == {"a": (S.DENIED, Reason.TARGET_NOT_FOUND)}


def test_one_of_two_signals_of_a_workload_is_decided_and_the_other_stays_due(cluster: SimulatedCluster) -> None:
    post(anomaly("a"))
    [first], _ = due(cluster)
    post(anomaly("a", "latency"))
    [second], _ = due(cluster, asking=(first.signal.pk,))

    [claim] = admit.admit([first, second], "reconciler:test")

    assert claim.action.signal_id == first.signal.pk
    assert DecisionRecord.objects.count() == 1
    [left], _ = due(cluster)
    assert left.signal.pk == second.signal.pk
    decide(cluster)
    assert Signal.objects.get(symptom="latency").reason == Reason.TARGET_BUSY


def test_a_signal_whose_proposal_has_changed_stays_due(cluster: SimulatedCluster) -> None:
    post(anomaly("a"))
    candidates, _ = due(cluster)
    post(anomaly("a", score=0.3))

    assert admit.admit(candidates, "reconciler:test") == []
    assert rows() == {"a": (S.PENDING, "")}
    assert DecisionRecord.objects.count() == 0

    decide(cluster)
    assert rows() == {"a": (S.IGNORED, Reason.BELOW_THRESHOLD)}


def test_a_repeat_that_changes_no_proposal_does_not_delay_the_decision(cluster: SimulatedCluster) -> None:
    post(anomaly("a"))
    candidates, _ = due(cluster)
    post(anomaly("a", score=0.99))

    [_] = admit.admit(candidates, "reconciler:test")

    assert DecisionRecord.objects.get().inputs["signal"]["score"] == 0.99


def test_a_signal_that_was_resolved_in_the_meantime_is_not_decided_on(cluster: SimulatedCluster) -> None:
    post(anomaly("a"))
    candidates, _ = due(cluster)
    post(anomaly("a", firing=False))

    assert admit.admit(candidates, "reconciler:test") == []
    assert rows()["a"][0] == S.RESOLVED
    assert DecisionRecord.objects.count() == 0


def test_a_signal_that_was_decided_on_by_another_process_is_not_decided_again(cluster: SimulatedCluster) -> None:
    post(anomaly("a"))
    candidates, _ = due(cluster)
    decide(cluster)

    assert admit.admit(candidates, "reconciler:another") == []
    assert (Action.objects.count(), DecisionRecord.objects.count()) == (1, 1)


def test_a_row_that_fails_costs_itself(cluster: SimulatedCluster, monkeypatch: pytest.MonkeyPatch) -> None:
    post(anomaly("a"), anomaly("b"), anomaly("c"))
    poison(monkeypatch, admit, "_question", lambda one, *_: one.signal.workload == "b")
    candidates, _ = due(cluster)

    claims = those_stored(candidates, lambda some: admit.admit(some, "reconciler:test"), admit.record_failure)

    assert {claim.action.workload.name for claim in claims} == {"a", "c"}
    failed = Signal.objects.get(workload="b")
    assert (failed.state, failed.reason, failed.message, failed.errors) == (
        S.PENDING,
        Reason.PROCESSING_ERROR,
        "ValueError: poison",
        1,
    )
    assert DecisionRecord.objects.count() == 2


def test_a_call_that_failed_unexpectedly_costs_its_signal(cluster: SimulatedCluster) -> None:
    post(anomaly("a"), anomaly("b"))
    first, second = due(cluster)[0]
    candidates = [replace(first, error=ValueError("no answer can be parsed")), second]

    claims = those_stored(candidates, lambda some: admit.admit(some, "reconciler:test"), admit.record_failure)

    assert len(claims) == 1
    assert rows()[first.signal.workload] == (S.PENDING, Reason.PROCESSING_ERROR)


def test_a_signal_that_always_fails_is_tried_five_times(cluster: SimulatedCluster) -> None:
    post(anomaly("a"))
    delays = []
    for errors in range(admit.MAX_ERRORS):
        [candidate], _ = due(cluster)
        assert str(candidate) == f"signal {candidate.signal.pk}", "the log names it"
        assert candidate.signal.errors == errors
        before = Now()
        admit.record_failure(candidate, ValueError("poison"))
        signal = Signal.objects.annotate(now=before).get()
        delays.append(round((signal.not_before - signal.now).total_seconds()))
        Signal.objects.filter(state=S.PENDING).update(not_before=Now())

    assert delays[:-1] == [1, 2, 4, 8]
    assert rows() == {"a": (S.FAILED, Reason.PROCESSING_ERROR)}
    assert Signal.objects.get().closed_at is not None


def test_a_failure_of_a_signal_that_was_decided_on_is_not_recorded(cluster: SimulatedCluster) -> None:
    post(anomaly("a"))
    [candidate], _ = due(cluster)
    decide(cluster)

    admit.record_failure(candidate, ValueError("poison"))

    assert rows() == {"a": (S.ADMITTED, "")}


@pytest.mark.django_db(transaction=True)
def test_a_signal_that_another_transaction_holds_stays_due(cluster: SimulatedCluster) -> None:
    post(anomaly("a"), anomaly("b"))
    candidates, _ = due(cluster)

    def decide_elsewhere() -> list[str]:
        try:
            return [claim.action.workload.name for claim in admit.admit(candidates, "reconciler:another")]
        finally:
            connection.close()

    with ThreadPoolExecutor(1) as threads, transaction.atomic():
        Signal.objects.select_for_update().get(workload="a")
        claimed = threads.submit(decide_elsewhere).result(PATIENCE)

    assert claimed == ["b"]
    assert rows()["a"] == (S.PENDING, "")
    assert names(due(cluster)[0]) == ["a"]
