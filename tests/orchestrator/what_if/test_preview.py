"""Previews of histories that the control loop has made."""

import gc
import sys
from contextlib import closing
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.db import connection
from django.db.models import Q
from hypothesis import HealthCheck, Phase, assume, given, settings
from hypothesis import strategies as st

from guardrails.evaluate import decide
from guardrails.models import Freeze, GuardrailSetting
from guardrails.replay import load_inputs
from guardrails.types import Inputs, Outcome
from guardrails.what_if.evaluate import evaluate
from guardrails.what_if.history import DraftHistory
from guardrails.what_if.types import SAME, Comparison, Doubt, Edit, Effect, PastDecision
from orchestrator.acts import Done
from orchestrator.acts.direct import request
from orchestrator.models import Action, DecisionRecord, Preview
from orchestrator.what_if.deferred import would_run
from orchestrator.what_if.draft import AFTERWARDS, Draft, edit_of, target_of
from orchestrator.what_if.preview import (
    GIVES_WAY_AFTER,
    Result,
    _decisions,
    _latest,
    _streamed,
    _turn,
    advance,
    begin,
    compare,
    progress,
    result_of,
    stop,
)
from signals import actors
from signals.lib.clock import database_now
from signals.models import Rule, Signal
from signals.types import ActionType, Origin, Proposal, Target
from tests.kit.decisions import NOW, inputs
from tests.kit.rules import install_default_rules
from tests.kit.signals import NAMESPACE, anomaly, post, root_cause
from tests.kit.simulation import Simulation

DAY = timedelta(days=1)
ANA = actors.user("ana")
WORKLOADS = ("erp-simulator", "shop")


@pytest.fixture
def simulation(db: None) -> Simulation:
    install_default_rules()
    made = Simulation()
    for name in WORKLOADS:
        made.cluster.deploy(name)
    made.observe()
    return made


def settle(simulation: Simulation) -> None:
    """Until the changes are rolled out and verified."""
    for _ in range(3):
        simulation.run(2)
        for key in list(simulation.cluster.deployments):
            simulation.cluster.roll_out(key)
        simulation.observe()
        simulation.clock.advance(10)
        simulation.run()


def preview(*edits: Edit, where: Q | None = None) -> Result:
    row: Preview | None = begin(ANA, edits, DAY)
    while row is not None and row.finished_at is None:
        row = advance(row.pk, where or Q(), 0)
    assert row is not None
    return result_of(row)


def limits(**fields: Any) -> GuardrailSetting:
    return GuardrailSetting(**{"namespace": NAMESPACE, **fields})


def words(result: Result) -> list[tuple[str, str, str]]:
    return [(one.target.rpartition("/")[2], one.before, one.after) for one in result.shown]


def test_a_lower_limit_refuses_what_was_done(simulation: Simulation) -> None:
    post(anomaly("erp-simulator"))
    settle(simulation)
    post(root_cause("shop"))
    settle(simulation)
    assert Action.objects.count() == 2

    result = preview(edit_of(None, limits(max_replicas=2)))

    assert words(result) == [("erp-simulator", "allow", "deny (ReplicaLimit)")]
    assert (result.examined, result.counts) == (2, {Comparison.DIFFERENT: 1, Comparison.SAME: 1})
    [one] = result.shown
    assert (one.signal, one.action) == (Signal.objects.get(workload="erp-simulator").pk, Action.objects.first().pk)  # type: ignore[union-attr]


def test_the_loop_under_the_draft_does_what_the_preview_says(simulation: Simulation) -> None:
    """The same signals twice, of two workloads: once before the draft is saved, and once after."""

    def signals(workload: str) -> list[tuple[str, str]]:
        for _ in range(3):
            post(anomaly(workload))
            settle(simulation)
        rows = DecisionRecord.objects.filter(workload=workload, phase="admit").order_by("pk")
        return list(rows.values_list("outcome", "reason"))

    own = limits(cooldown_seconds=0, max_actions_per_hour=6)
    own.save()
    assert signals("erp-simulator") == [("allow", "")] * 3
    draft = limits(pk=own.pk, cooldown_seconds=0, max_actions_per_hour=1)

    result = preview(edit_of(own, draft))

    assert words(result) == [("erp-simulator", "allow", "defer (RateLimit)")]
    assert result.counts == {Comparison.SAME: 1, Comparison.DIFFERENT: 1, Comparison.NOT_MADE: 1}
    draft.save()
    # The report of the third signal is counted on the second, which waits.
    assert signals("shop") == [("allow", ""), ("defer", "RateLimit")]


def test_a_draft_changes_only_what_it_says(simulation: Simulation) -> None:
    """Somebody changed another column in between, and a wider row."""
    own = limits(max_replicas=2)
    own.save()
    post(anomaly("erp-simulator"))
    settle(simulation)
    assert DecisionRecord.objects.get().reason == "ReplicaLimit"
    GuardrailSetting.objects.filter(pk=own.pk).update(max_replicas=9)
    limits(namespace="", max_actions_per_hour=0).save()
    own.refresh_from_db()

    same = preview(edit_of(own, limits(pk=own.pk, max_replicas=9, max_scale_increase=7)))
    assert same.counts == {Comparison.SAME: 1}
    deleted = preview(edit_of(own, None))
    assert words(deleted) == [("erp-simulator", "deny (ReplicaLimit)", "allow")]


def test_a_rule_that_is_changed_removed_or_added(simulation: Simulation) -> None:
    post(anomaly("erp-simulator"), anomaly("shop", "latency"))
    settle(simulation)
    rule = Rule.objects.get(source="anomaly", symptom="resource")
    bigger = Rule.objects.get(pk=rule.pk)
    bigger.params = {"delta": 2}

    assert words(preview(edit_of(rule, bigger))) == [("erp-simulator", "allow", "allow")]
    assert words(preview(edit_of(rule, None)))[0][:2] == ("erp-simulator", "allow")
    assert preview(edit_of(rule, None)).shown[0].after == "ignore (NoRule)"
    first = Rule(name="first", priority=1, source="anomaly", symptom="resource", action_type="RESTART", params={})
    [found] = preview(edit_of(None, first)).doubts.items()
    assert found == (Doubt.FACTS_NOT_LOADED, 1)  # whether somebody else owns the fields that a restart changes


def test_a_freeze_and_its_lift(simulation: Simulation) -> None:
    freeze = Freeze(namespace=NAMESPACE, workload="shop", reason="release", by=ANA)
    freeze.save()
    post(anomaly("erp-simulator"), anomaly("shop"))
    settle(simulation)
    lifted = Freeze.objects.get(pk=freeze.pk)
    lifted.lifted_at, lifted.lifted_by, lifted.lift_reason = database_now(), ANA, "released"

    assert words(preview(edit_of(freeze, lifted))) == [("shop", "defer (Frozen)", "allow")]
    everything = Freeze(reason="incident", by=ANA)
    assert words(preview(edit_of(None, everything))) == [("erp-simulator", "allow", "defer (Frozen)")]
    [one], _ = would_run(Draft([edit_of(freeze, lifted)], database_now()), Q())
    assert (one.signal.workload, one.change, one.doubt) == ("shop", "Scale by +1", None)


def test_a_deferred_signal_runs_only_if_the_draft_is_what_it_waits_for(simulation: Simulation) -> None:
    limits(max_actions_per_hour=0).save()
    Freeze(namespace=NAMESPACE, workload="shop", reason="release", by=ANA).save()
    post(anomaly("erp-simulator"), anomaly("shop"))
    settle(simulation)
    own = GuardrailSetting.objects.get()
    draft = edit_of(own, limits(pk=own.pk, max_actions_per_hour=3))

    found, more = would_run(Draft([draft], database_now()), Q())
    assert [one.signal.workload for one in found] == ["erp-simulator"]
    assert not more
    assert would_run(Draft([draft], database_now()), Q(namespace="another")) == ([], False)
    assert would_run(Draft([edit_of(own, own)], database_now()), Q()) == ([], False)


def test_a_person_sees_only_what_may_be_read(simulation: Simulation) -> None:
    post(anomaly("erp-simulator"))
    settle(simulation)

    assert preview(edit_of(None, limits(max_replicas=1)), where=Q(namespace="another")).examined == 0
    assert preview(edit_of(None, limits(namespace="another", max_replicas=1))).examined == 0  # out of its scope


def test_a_preview_is_one_for_each_person_and_ends_when_it_is_stopped(simulation: Simulation) -> None:
    post(anomaly("erp-simulator"))
    settle(simulation)
    first = begin(ANA, [edit_of(None, limits(max_replicas=1))], DAY)
    second = begin(ANA, [edit_of(None, limits(max_replicas=1))], DAY)
    other = begin(actors.user("bob"), [edit_of(None, limits(max_replicas=1))], DAY)

    assert advance(first.pk, Q(), 0) is None
    assert progress(second) == 0
    found = advance(second.pk, Q(), 0)
    assert found is not None
    assert progress(found) == 100
    stop(ANA)
    assert list(Preview.objects.all()) == [other]
    Preview.objects.update(touched_at=database_now() - DAY)
    begin(ANA, [], DAY)
    assert Preview.objects.get().owner == ANA


def test_a_step_gives_way_and_leaves_the_interpreter_as_it_was(
    simulation: Simulation, monkeypatch: pytest.MonkeyPatch
) -> None:
    post(anomaly("erp-simulator"))
    settle(simulation)
    usual, during = (sys.getswitchinterval(), gc.isenabled()), []

    def compared(*values: Any) -> None:
        during.append((round(sys.getswitchinterval(), 6), gc.isenabled()))

    monkeypatch.setattr("orchestrator.what_if.preview.compare", compared)
    preview(edit_of(None, limits(max_replicas=1)))

    assert during == [(GIVES_WAY_AFTER, False)]
    assert (sys.getswitchinterval(), gc.isenabled()) == usual


def test_a_step_has_plans_for_its_own_range_of_ids(simulation: Simulation) -> None:
    """A generic plan would read and sort the rest of the range for each page."""
    post(anomaly("erp-simulator"))
    settle(simulation)
    preview(edit_of(None, limits(max_replicas=1)))

    with connection.cursor() as cursor:
        cursor.execute("SHOW plan_cache_mode")
        assert cursor.fetchone() == ("force_custom_plan",)


def test_a_process_makes_one_step_at_a_time(simulation: Simulation) -> None:
    post(anomaly("erp-simulator"))
    settle(simulation)
    row = begin(ANA, [edit_of(None, limits(max_replicas=1))], DAY)

    with _turn:
        waits = advance(row.pk, Q(), 0)
    ends = advance(row.pk, Q(), 0)

    assert waits is not None
    assert ends is not None
    assert (waits.position, waits.finished_at) == (None, None)
    assert ends.finished_at is not None


def test_a_step_of_another_process_goes_on_from_the_stored_state(
    simulation: Simulation, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = limits(cooldown_seconds=0)
    own.save()
    for _ in range(4):
        post(anomaly("erp-simulator"))
        settle(simulation)
    monkeypatch.setattr("orchestrator.what_if.preview.PAGE", 1)
    edit = edit_of(own, limits(pk=own.pk, cooldown_seconds=0, max_actions_per_hour=2))
    row: Preview | None = begin(ANA, [edit], DAY)
    while row is not None and row.finished_at is None:
        _latest.clear()  # each process keeps the state of its own last step alone
        row = advance(row.pk, Q(), 0)

    assert row is not None
    assert result_of(row) == preview(edit)
    assert result_of(row).counts[Comparison.NOT_MADE] == 1  # it follows from an earlier step


def test_a_step_that_is_interrupted_is_made_again(simulation: Simulation, monkeypatch: pytest.MonkeyPatch) -> None:
    post(anomaly("erp-simulator"), anomaly("shop"))
    settle(simulation)
    monkeypatch.setattr("orchestrator.what_if.preview.PAGE", 1)
    edit = edit_of(None, limits(max_replicas=1))
    row = begin(ANA, [edit], DAY)
    compared = iter([compare])

    def interrupted(*values: Any) -> None:
        next(compared)(*values)  # the first decision of the process; at the second one, it is killed

    monkeypatch.setattr("orchestrator.what_if.preview.compare", interrupted)
    with pytest.raises(StopIteration):
        advance(row.pk, Q(), 60)
    monkeypatch.setattr("orchestrator.what_if.preview.compare", compare)
    row.refresh_from_db()
    assert (row.position, row.finished_at) == (None, None)

    found: Preview | None = row
    while found is not None and found.finished_at is None:
        found = advance(row.pk, Q(), 0)

    assert found is not None
    assert result_of(found).counts == {Comparison.DIFFERENT: 2}


def test_a_rule_that_is_deleted_during_a_preview_of_it_counts_as_it_was(simulation: Simulation) -> None:
    post(anomaly("erp-simulator"))
    settle(simulation)
    rule = Rule.objects.get(source="anomaly", symptom="resource")
    disabled = Rule.objects.get(pk=rule.pk)
    disabled.enabled = False
    row = begin(ANA, [edit_of(rule, disabled)], DAY)
    Rule.objects.all().delete()

    found = advance(row.pk, Q(), 60)

    assert found is not None
    assert [(one.before, one.after) for one in result_of(found).shown] == [("allow", "ignore (NoRule)")]


def test_a_draft_that_no_decision_matches_ends_at_once(simulation: Simulation) -> None:
    assert preview(edit_of(None, limits(max_replicas=1))).examined == 0
    post(anomaly("erp-simulator"))
    settle(simulation)
    assert preview(edit_of(None, limits(workload="absent", max_replicas=1))).examined == 0


SCOPES = st.fixed_dictionaries(
    {
        "cluster": st.sampled_from(["", "default", "other"]),
        "namespace": st.sampled_from(["smartops-dev", "production"]),
        "workload": st.sampled_from(["", "erp-simulator", "api.v1"]),
    }
)
EDITS = st.one_of(
    st.builds(lambda scope: Freeze(**scope, reason="r", by=ANA), SCOPES),
    st.builds(lambda scope, seconds: GuardrailSetting(**scope, **seconds), SCOPES, st.sampled_from(
        [{name: 61} for name in sorted(AFTERWARDS)] + [{"cooldown_seconds": 1}, {"mode": "observe"}]
    )),
    st.builds(lambda scope, kind: Rule(
        namespace=scope["namespace"], workload=scope["workload"], kind=kind, name="r", priority=1, source="anomaly",
        symptom="resource", action_type="RESTART", params={},
    ), SCOPES, st.sampled_from(["", "StatefulSet"])),
)  # fmt: skip


@settings(
    max_examples=150,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.filter_too_much],
    deadline=None,
)
@given(inputs(), EDITS)
def test_a_decision_that_a_draft_does_not_concern_ends_as_it_did(db: None, given_: Inputs, edited: Any) -> None:
    """It is counted without an evaluation: a full one finds the same."""
    draft = Draft([edit_of(None, edited)], NOW - DAY)
    assume(not draft.concerns(target_of(given_)))
    decision, history = decide(given_), DraftHistory()
    reason, until = str(getattr(decision, "reason", "")), getattr(decision, "until", None)
    action = "a" if decision.outcome is Outcome.ALLOW else ""

    past = PastDecision("d", given_, decision.outcome, reason, until, "s", action, effect=Effect(NOW, NOW, 1))

    assert evaluate(past, draft.drafted(given_), history) == SAME
    assert not history.differs


def test_a_limit_that_a_narrower_scope_sets_concerns_no_decision_there(simulation: Simulation) -> None:
    limits(workload="shop", max_replicas=9).save()

    def concerned(since: datetime) -> list[str]:
        draft = Draft([edit_of(None, limits(max_replicas=1))], since)
        return [name for name in WORKLOADS if draft.concerns(Target("default", NAMESPACE, name))]

    assert concerned(database_now() + DAY) == ["erp-simulator"]
    assert concerned(database_now() - DAY) == [*WORKLOADS]  # the narrower scope has not always been there


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("signal"), st.sampled_from(WORKLOADS), st.sampled_from(["resource", "latency", "memory"])),
        st.tuples(st.just("limits"), st.sampled_from(["", "shop"]), st.sampled_from([0, 1, 300])),
        st.tuples(st.just("freeze"), st.sampled_from(WORKLOADS), st.booleans()),
    ),
    min_size=2,
    max_size=7,
)


@settings(
    max_examples=5, phases=[Phase.explicit, Phase.generate], suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(STEPS)
def test_a_draft_equal_to_the_present_changes_nothing(simulation: Simulation, steps: list[Any]) -> None:
    for step, workload, what in steps:
        match step:
            case "signal":
                post(root_cause(workload) if what == "memory" else anomaly(workload, what))
            case "limits":
                scope = {"namespace": NAMESPACE, "workload": workload, "cluster": "", "kind": ""}
                values = {"cooldown_seconds": what, "max_actions_per_hour": 2 + what}
                GuardrailSetting.objects.update_or_create(**scope, defaults=values)
            case "freeze" if what:
                Freeze(namespace=NAMESPACE, workload=workload, reason="release", by=ANA).save()
            case "freeze":
                for one in Freeze.in_force():
                    one.lift(ANA, "released")
        settle(simulation)
    rows = [*GuardrailSetting.objects.all(), *Freeze.objects.all(), *Rule.objects.all()]
    for row in rows:
        assert set(preview(edit_of(row, row)).counts) <= {Comparison.SAME}
    assert set(preview(*(edit_of(row, row) for row in rows)).counts) <= {Comparison.SAME}


def test_a_preview_reads_decisions_as_they_were_stored(simulation: Simulation) -> None:
    """With a field that is added to inputs later, too."""
    for reported in (anomaly("erp-simulator"), anomaly("erp-simulator"), root_cause("shop"), anomaly("shop", "other")):
        post(reported)
        settle(simulation)
    assert isinstance(
        request(Proposal(ActionType.RESTART, Target("default", NAMESPACE, "shop"), Origin.DIRECT, {}), ANA), Done
    )
    settle(simulation)
    rows = list(DecisionRecord.objects.order_by("pk"))

    with closing(_decisions({str(row.pk) for row in rows}, Q())) as decisions:
        found = list(decisions)

    assert [one.inputs for one in found] == [load_inputs(row.inputs) for row in rows]
    assert [(one.id, one.outcome, one.reason) for one in found] == [(str(r.pk), r.outcome, r.reason) for r in rows]
    assert {one.inputs.proposal is None for one in found} == {True, False}
    assert {one.before_write for one in found} == {True, False}


def test_a_query_between_streamed_rows_is_an_error_and_does_not_block(simulation: Simulation) -> None:
    """So every test of a preview shows that comparisons make none."""
    post(anomaly("erp-simulator"))
    settle(simulation)
    with closing(_streamed(DecisionRecord.objects.values())) as stream:
        next(stream)
        with pytest.raises(RuntimeError, match="would block for ever"):
            DecisionRecord.objects.count()
    assert DecisionRecord.objects.count() == 1
