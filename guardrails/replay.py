"""Decisions as JSON and back: what is stored is enough to decide again."""

from typing import Any

from pydantic import TypeAdapter

from guardrails.evaluate import decide
from guardrails.types import Inputs, Verdict

_INPUTS = TypeAdapter(Inputs)
_VERDICTS = TypeAdapter(tuple[Verdict, ...])


def dump_inputs(inputs: Inputs) -> dict[str, Any]:
    document: dict[str, Any] = _INPUTS.dump_python(inputs, mode="json")
    return document


def load_inputs(document: dict[str, Any]) -> Inputs:
    return _INPUTS.validate_python(document)


def dump_verdicts(verdicts: tuple[Verdict, ...]) -> list[dict[str, Any]]:
    document: list[dict[str, Any]] = _VERDICTS.dump_python(verdicts, mode="json")
    return document


def replay(inputs: dict[str, Any]) -> list[dict[str, Any]]:
    """The verdicts that the stored inputs lead to now: equal to those stored with them, or the code has changed."""
    return dump_verdicts(decide(load_inputs(inputs)).verdicts)
