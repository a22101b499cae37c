"""Values of many fields: which differ, and copies with other ones."""

from dataclasses import replace
from typing import Any

import pytest

from guardrails.types import Facts, FreezeFacts, Limits, TargetFacts
from guardrails.what_if.values import differing, replaced
from tests.kit.decisions import LIVE, known

FROZEN = (FreezeFacts("everything", "release", "user:ana", None),)
CHANGES: list[tuple[Limits | Facts | TargetFacts, dict[str, Any]]] = [
    (Limits(), {}),
    (Limits(max_replicas=9), {"max_replicas": 0, "sources": {"max_replicas": "everything"}}),
    (known(), {"freezes": FROZEN, "cooldown_until": None, "target": None}),
    (known(freezes=FROZEN), {"freezes": ()}),
    (LIVE, {"replicas": 0, "held": "OnDelete"}),
]


@pytest.mark.parametrize(("value", "changes"), CHANGES)
def test_a_copy_has_the_other_fields_and_keeps_the_rest(value: Any, changes: dict[str, Any]) -> None:
    assert replaced(value, **changes) == replace(value, **changes)


@pytest.mark.parametrize(("value", "changes"), CHANGES)
def test_fields_differ_by_their_values(value: Any, changes: dict[str, Any]) -> None:
    changed = {name for name, becomes in changes.items() if becomes != getattr(value, name)}

    assert set(differing(value, replace(value, **changes))) == changed
    assert differing(value, value) == []


def test_equal_values_that_are_not_the_same_object_do_not_differ() -> None:
    assert differing(Limits(signal_ttl_seconds=int("900")), Limits(signal_ttl_seconds=int("900"))) == []
