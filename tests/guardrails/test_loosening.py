from dataclasses import replace
from typing import Any

import pytest

from guardrails.loosening import LOOSER_BY_RULE, LOOSER_IF_HIGHER, LOOSER_IF_LOWER, NEITHER, Loosened, loosened
from guardrails.models import LIMIT_FIELDS
from guardrails.types import Limits
from signals.types import Mode


def test_every_limit_is_looser_in_one_direction_or_in_none() -> None:
    assert sorted([*LOOSER_IF_HIGHER, *LOOSER_IF_LOWER, *LOOSER_BY_RULE, *NEITHER]) == sorted(LIMIT_FIELDS)


@pytest.mark.parametrize("name", LOOSER_IF_HIGHER)
def test_a_higher_maximum_is_looser(name: str) -> None:
    before = Limits()
    after = replace(before, **{name: getattr(before, name) + 1})

    assert loosened(before, after) == (Loosened(name, getattr(before, name), getattr(after, name)),)
    assert loosened(after, before) == ()


@pytest.mark.parametrize("name", LOOSER_IF_LOWER)
def test_a_lower_minimum_or_wait_is_looser(name: str) -> None:
    before = Limits(approve_after_failure=True)
    lower: Any = False if isinstance(getattr(before, name), bool) else getattr(before, name) - 1
    after = replace(before, **{name: lower})

    assert loosened(before, after) == (Loosened(name, getattr(before, name), lower),)
    assert loosened(after, before) == ()


def test_a_time_for_the_verification_is_neither() -> None:
    assert loosened(Limits(), Limits(verification_timeout_seconds=1)) == ()
    assert loosened(Limits(), Limits(verification_timeout_seconds=9_000)) == ()


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        (Limits(mode=Mode.APPROVE), Limits(), ("mode", Mode.APPROVE, Mode.AUTO)),
        (Limits(mode=Mode.OBSERVE), Limits(mode=Mode.APPROVE), ("mode", Mode.OBSERVE, Mode.APPROVE)),
        (Limits(), Limits(mode=Mode.OBSERVE), None),
        (Limits(protected_labels="a, b"), Limits(protected_labels="b"), ("protected_labels", "a, b", "b")),
        (Limits(protected_labels="pci"), Limits(), ("protected_labels", "pci", "")),
        (Limits(protected_labels="pci"), Limits(protected_labels="tier, pci"), None),
    ],
)
def test_a_less_strict_mode_and_a_missing_label_are_looser(
    before: Limits, after: Limits, said: tuple[str, Any, Any] | None
) -> None:
    assert loosened(before, after) == ((Loosened(*said),) if said else ())
