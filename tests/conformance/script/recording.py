"""`recorded.yaml`: a line for each request and one for its answer, so that a new recording reads as a diff."""

from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from tests.kit.client import Object

RECORDING = Path(__file__).parent / "recorded.yaml"
Answers = Sequence[tuple[str, Object]]


def record(recorded: Mapping[str, Answers]) -> None:
    lines = []
    for scene, answers in recorded.items():
        lines.append(f"{scene}:")
        for do, answer in answers:
            lines += [f"- - {_line(do)}", f"  - {_line(answer)}"]
    RECORDING.write_text("\n".join(lines) + "\n")


def recorded(scene: str) -> Answers:
    return [(do, answer) for do, answer in _read().get(scene, ())]


@cache
def _read() -> Mapping[str, Any]:
    document: Mapping[str, Any] = yaml.load(RECORDING.read_text(), yaml.CSafeLoader)
    return document


def _line(value: object) -> str:
    text: str = yaml.safe_dump(value, default_flow_style=True, sort_keys=False, width=100_000, allow_unicode=True)
    return text.removesuffix("...\n").strip()
