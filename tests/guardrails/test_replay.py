"""What is stored with a decision is enough to make it again."""

import json
from typing import Any

import pytest
from django.db import connection
from hypothesis import given, settings

from guardrails.evaluate import decide
from guardrails.replay import dump_inputs, dump_verdicts, load_inputs, replay
from guardrails.types import Inputs
from tests.kit.decisions import inputs


def through_postgresql(document: Any) -> Any:
    with connection.cursor() as cursor:
        cursor.execute("SELECT %s::jsonb::text", [json.dumps(document)])
        return json.loads(cursor.fetchone()[0])


@settings(max_examples=200)
@given(inputs())
def test_inputs_survive_json(given_: Inputs) -> None:
    assert load_inputs(json.loads(json.dumps(dump_inputs(given_)))) == given_


@pytest.mark.django_db
@settings(max_examples=150)
@given(inputs())
def test_inputs_and_verdicts_survive_postgresql_and_decide_alike(given_: Inputs) -> None:
    decision = decide(given_)
    stored = through_postgresql({"inputs": dump_inputs(given_), "verdicts": dump_verdicts(decision.verdicts)})

    assert load_inputs(stored["inputs"]) == given_
    assert decide(load_inputs(stored["inputs"])) == decision
    assert replay(stored["inputs"]) == stored["verdicts"]


def test_other_inputs_give_other_verdicts() -> None:
    """A replay that compared nothing would pass as well."""
    document: dict[str, Any] = {
        "now": "2026-03-01T12:00:00.000001+00:00",
        "facts": {"target_seen": True, "target": {"uid": "u", "replicas": 8}},
        "limits": {},
        "proposal": {
            "type": "SCALE",
            "target": {"cluster": "default", "namespace": "smartops-dev", "name": "erp-simulator"},
            "origin": "direct",
            "params": {"delta": 1},
        },
    }
    stored = dump_inputs(load_inputs(document))
    assert dump_inputs(load_inputs(stored)) == stored
    verdicts = replay(document)
    assert [one["reason"] for one in verdicts if one["outcome"] == "deny"] == ["ReplicaLimit"]

    document["limits"] = {"max_replicas": 9}
    assert [one["reason"] for one in replay(document) if one["outcome"] == "deny"] == []
