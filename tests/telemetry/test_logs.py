"""What a whole closed loop writes to its logs: a line for each transition, and nothing that is not meant for all."""

import json
import logging
from pathlib import Path
from typing import Any

import pytest
from django.db import IntegrityError, connection, transaction

from orchestrator.models import Action, AuditEvent
from signals.lib.transition_log import log_transition
from signals.models import Signal
from smartops.logs import formatter
from tests.kit.installation import Agent, installed
from tests.kit.processes import PASSWORD, until
from tests.kit.signals import NAMESPACE, anomaly_body, post
from tests.kit.signals import anomaly as observed
from tests.kit.world import World, deployment
from tests.telemetry.collector import Collector


def record(level: int = logging.INFO, **more: Any) -> logging.LogRecord:
    return logging.makeLogRecord({"name": "tests", "levelno": level, "levelname": "INFO", "msg": "it moved"} | more)


def test_a_closed_loop_is_one_json_line_for_each_transition(world: World, collector: Collector, log: Path) -> None:
    world.deploy(deployment("erp-simulator", ready_after="0"))
    world.settle("erp-simulator")
    secrets = {"SMARTOPS_SECRET_KEY": "the-secret-key", "SMARTOPS_TOKEN_PEPPERS": "the-pepper"}
    ours = {"SMARTOPS_LOG_LEVEL": "INFO", "SMARTOPS_LOG_FORMAT": "json"}
    with (
        pytest.MonkeyPatch.context() as here,
        installed(world.sandbox.kubeconfig, NAMESPACE, log, reconcilers=1, **ours, **secrets) as installation,
    ):
        here.setattr("smartops.tokens.settings.SMARTOPS_TOKEN_PEPPERS", ["the-pepper"])
        agent = Agent(installation.address)
        payload = {"note": "the-payload"}
        agent.post(
            "/v1/signals/anomaly", anomaly_body(NAMESPACE, "erp-simulator", windowId="the-window", metadata=payload)
        )
        until(lambda: Action.objects.filter(state="succeeded").exists())
        agent.post(
            "/v1/signals/anomaly",
            anomaly_body(NAMESPACE, "unknown-service", windowId="the-next-window", metadata=payload),
        )
        until(lambda: Signal.objects.filter(state="denied").exists())
        agent.post("/v1/signals/anomaly", {"windowId": "the-window", "note": "the-malformed-body"})
        agent.call("GET", "/v1/signals", Authorization="Bearer the-wrong-token")
        spans = collector.until(lambda spans: sum(one.name == "admit" for one in spans) == 2)

    lines = [json.loads(line) for line in log.read_text().splitlines()]
    moves = [line for line in lines if line["logger"] == "signals.lib.transition_log"]
    signal, denied = Signal.objects.order_by("id")
    timeline = [(one.from_state, one.to_state) for one in AuditEvent.objects.filter(action__signal=signal)]
    assert [(one.get("from", ""), one["to"]) for one in moves if "action" in one] == timeline
    assert [(one.get("from", ""), one["to"]) for one in moves if one.get("signal") == str(signal.pk)] == [
        ("", "pending"), ("pending", "admitted"), *timeline,
    ]  # fmt: skip
    assert [(one["to"], one.get("reason")) for one in moves if one.get("signal") == str(denied.pk)] == [
        ("pending", None),
        ("denied", denied.reason),
    ]
    assert {one["trace_id"] for one in moves} == {one.trace for one in spans if "smartops.signal.id" in one.attributes}
    told = log.read_text()
    for secret in (PASSWORD, *secrets.values(), agent.token, agent.token.split("_")[2]):
        assert secret not in told
    for value in ("the-payload", "the-window", "the-malformed-body", "the-wrong-token"):
        assert value not in told


def test_an_episode_that_opens_or_ends_is_logged_and_its_repeats_are_not(
    transactional_db: None, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)

    post(observed("one"))
    post(observed("one"))
    post(observed("one", firing=False))
    post(observed("healthy", firing=False))
    post(observed("two"), observed("three"))

    assert [one.getMessage() for one in caplog.records] == [
        "signal new → pending",
        "signal pending → resolved",
        "2 signals new → pending",
    ]


def test_a_transition_that_is_rolled_back_is_not_logged(
    transactional_db: None, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)

    with transaction.atomic():
        log_transition("signal", 1, "pending", "admitted")
        transaction.set_rollback(True)
    log_transition("signal", 2, "pending", "admitted")

    assert [one.__dict__["signal"] for one in caplog.records] == ["2"]


def test_a_row_that_postgresql_refuses_is_not_quoted(db: None) -> None:
    payload = "the-payload"
    with pytest.raises(IntegrityError) as refused, connection.cursor() as cursor:
        cursor.execute("INSERT INTO signals_rule (name, symptom) VALUES (%s, '')", [payload])
    error = refused.value
    assert payload in str(error)

    for style in ("json", "console"):
        line = formatter(style).format(record(exc_info=(type(error), error, error.__traceback__)))
        assert "IntegrityError" in line
        assert payload not in line


def test_fields_that_libraries_attach_to_a_log_line_are_not_shown() -> None:
    line = json.loads(formatter("json").format(record(request="the-request", sql="the-sql", signal="s-1")))

    assert {key: line[key] for key in ("message", "level", "logger", "signal")} == {
        "message": "it moved", "level": "info", "logger": "tests", "signal": "s-1",
    }  # fmt: skip
    assert not {"request", "sql"} & line.keys()


def test_the_log_is_text_for_people() -> None:
    line = formatter("console").format(record(signal="s-1"))

    assert "it moved" in line
    assert "signal=s-1" in line
    assert "\x1b" not in line
