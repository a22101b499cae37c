"""The external policy engine in the loop: its no is final, its silence is no yes."""

import re
import shutil
import socket
import subprocess
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import urllib3
from pytest_django.fixtures import Settings

from guardrails.replay import replay
from orchestrator.decide.direct import Refused, admit_direct
from orchestrator.models import Action, ActionState, DecisionRecord
from orchestrator.reconciler import admit as verb
from signals import actors
from signals.models import Signal, SignalState
from signals.reasons import Reason
from signals.types import ActionType, Origin, Proposal, Target
from smartops.api.refusals import of_decision
from smartops.dev.sandbox.faults import Refuse
from tests.kit.patience import PATIENCE, eventually
from tests.kit.policy_engine import Engine, Handler, replies, says, serving
from tests.kit.signals import NAMESPACE, anomaly, post
from tests.kit.world import World, deployment, only_action, only_signal

NO = says({"allow": False, "reason": "Not during the quarter's end."})
SILENCE = replies(500, b"")
SCALE = Proposal(ActionType.SCALE, Target("default", NAMESPACE, "erp-simulator"), Origin.DIRECT, {"replicas": 3})


@pytest.fixture
def engine(world: World, settings: Settings) -> Iterator[Engine]:
    with serving() as engine:
        settings.SMARTOPS_OPA_URL = engine.url
        settings.SMARTOPS_OPA_TIMEOUT = PATIENCE  # a busy machine is not a silent engine
        yield engine
        for decision in DecisionRecord.objects.all():
            assert replay(decision.inputs) == decision.verdicts


def in_turn(*answers: Callable[[Handler], None]) -> Callable[[Handler], None]:
    rest = iter(answers)
    return lambda handler: next(rest)(handler)


def test_the_policy_engine_is_queried_at_admission_and_before_the_next_write(world: World, engine: Engine) -> None:
    world.deploy(deployment("erp-simulator"))
    world.sandbox.fault(Refuse(method="PATCH", status=409))
    post(anomaly("erp-simulator", payload={"metadata": {"cpu": 96.3}}))

    world.drain()

    assert only_action().state == ActionState.SUCCEEDED
    assert len(engine.asked) == 2
    for asked in engine.asked:
        assert asked["action"]["params"] == {"delta": 1}
        assert asked["context"]["target"]["replicas"] == 2
        assert asked["signal"]["payload"]["metadata"] == {"cpu": 96.3}


def test_a_no_of_the_policy_engine_denies_the_signal_and_nothing_is_written(world: World, engine: Engine) -> None:
    engine.answer = NO
    world.deploy(deployment("erp-simulator"))
    post(anomaly("erp-simulator"))

    world.drain()

    assert (only_signal().state, only_signal().reason) == (SignalState.DENIED, Reason.POLICY_DENIED)
    assert only_signal().message == "Not during the quarter's end."
    assert not Action.objects.exists()
    assert world.writes() == []


def test_silence_of_the_policy_engine_defers_the_signal_and_nothing_is_written(world: World, engine: Engine) -> None:
    engine.answer = SILENCE
    world.deploy(deployment("erp-simulator"))
    post(anomaly("erp-simulator"))

    world.drain()

    assert (only_signal().state, only_signal().reason) == (SignalState.PENDING, Reason.POLICY_UNAVAILABLE)
    assert (only_signal().not_before - DecisionRecord.objects.get().created_at).total_seconds() == pytest.approx(
        60, abs=5
    )
    assert not Action.objects.exists()
    assert world.writes() == []


def test_a_no_before_the_next_write_cancels_the_action(world: World, engine: Engine) -> None:
    engine.answer = in_turn(says(True), NO)
    world.deploy(deployment("erp-simulator"))
    world.sandbox.fault(Refuse(method="PATCH", status=409))
    post(anomaly("erp-simulator"))

    world.drain()

    assert (only_action().state, only_action().reason) == (ActionState.CANCELLED, Reason.POLICY_DENIED)
    assert world.writes() == []


def test_silence_before_the_next_write_puts_the_action_off(world: World, engine: Engine) -> None:
    engine.answer = in_turn(says(True), SILENCE)
    world.deploy(deployment("erp-simulator"))
    world.sandbox.fault(Refuse(method="PATCH", status=409))
    post(anomaly("erp-simulator"))

    world.drain()

    action = Action.objects.get()
    assert (action.state, action.reason) == (ActionState.PENDING, Reason.POLICY_UNAVAILABLE)
    assert world.writes() == []


def test_a_signal_that_a_repeat_raised_is_not_admitted_without_asking_the_policy_engine(
    world: World, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.deploy(deployment("erp-simulator"))
    world.settle("erp-simulator")
    post(anomaly("erp-simulator", score=0.1))
    needs_lookup = verb.needs_lookup

    def query_and_be_overtaken(*arguments: Any) -> Any:
        if not engine.asked:
            post(anomaly("erp-simulator", score=0.95))
        return needs_lookup(*arguments)

    monkeypatch.setattr(verb, "needs_lookup", query_and_be_overtaken)

    world.drain()

    answers = [decision.inputs["facts"]["policy"] for decision in DecisionRecord.objects.order_by("id")]
    assert [answer and answer["allow"] for answer in answers] == [True]


@pytest.mark.parametrize(("answer", "reason"), [(NO, Reason.POLICY_DENIED), (SILENCE, Reason.POLICY_UNAVAILABLE)])
def test_a_direct_action_is_refused_at_once(
    world: World, engine: Engine, answer: Callable[[Handler], None], reason: Reason
) -> None:
    engine.answer = answer

    with pytest.raises(Refused) as refused:
        admit_direct(SCALE, actors.token("ana"))

    problem = of_decision(refused.value.decision)
    assert (problem.status, problem.reason) == (403, reason)
    assert engine.asked[0]["context"] == {"origin": "direct", "requested_by": "token:ana", "target": None}
    assert not Action.objects.exists()
    assert DecisionRecord.objects.get().reason == reason


@pytest.mark.skipif(shutil.which("opa") is None, reason="no opa on the PATH")
def test_the_policy_of_the_documentation_runs_on_the_real_engine(
    world: World, settings: Settings, tmp_path: Path
) -> None:
    page = Path(__file__).parents[2].joinpath("docs/policy.md").read_text()
    policy = tmp_path / "policy.rego"
    policy.write_text(re.findall("```rego\n(.*?)```", page, re.DOTALL)[0])
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    settings.SMARTOPS_OPA_URL = f"http://{address}/v1/data/smartops/decision"
    world.deploy(deployment("erp-simulator"), deployment("idle"))
    post(anomaly("erp-simulator", payload={"metadata": {"cpu": 96.3}}))
    post(anomaly("idle", payload={"metadata": {"cpu": 42}}))

    opa = subprocess.Popen(["opa", "run", "--server", "--log-level", "error", "--addr", address, str(policy)])
    try:
        eventually(partial(_is_healthy, f"http://{address}/health"), "opa does not answer")
        world.drain()
    finally:
        opa.terminate()
        opa.wait(PATIENCE)

    assert dict(Signal.objects.values_list("workload", "state")) == {"erp-simulator": "admitted", "idle": "denied"}
    denied = Signal.objects.get(workload="idle")
    assert (denied.reason, denied.message) == (
        Reason.POLICY_DENIED,
        "The CPU is at 42 %: another replica would not help.",
    )
    assert world.replicas("erp-simulator") == 3
    assert world.replicas("idle") == 2


def _is_healthy(url: str) -> bool:
    try:
        return urllib3.request("GET", url, retries=False, timeout=PATIENCE).status == 200
    except urllib3.exceptions.HTTPError:
        return False
