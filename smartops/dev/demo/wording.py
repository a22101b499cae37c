"""Texts for the screen, from the documents of the API. Pure."""

import json
from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Any

from guardrails.explain import explain as in_words
from signals.proposals import PROPOSAL_TYPES
from signals.types import ActionType, workload_name

Json = dict[str, Any]


def verdict_lines(verdicts: Iterable[Json]) -> Iterator[tuple[str, str]]:
    """Yields (label, text) for each guardrail."""
    for verdict in verdicts:
        outcome = verdict["outcome"].replace("_", " ")
        yield f"{outcome:<13} {verdict['guardrail']:<21} ", explain(verdict)


def explain(verdict: Json) -> str:
    """The words of a verdict, and until when it defers."""
    until = f" Again at {clock(verdict['until'])}." if verdict["outcome"] != "allow" and verdict["until"] else ""
    return f"{in_words(verdict)}{until}"


def change_of(action: Json) -> str:
    """What was changed, in one line."""
    done = PROPOSAL_TYPES[ActionType(action["type"])].done(action["before"], action["change"])
    target = action["target"]
    return f"{workload_name(target['kind'], target['namespace'], target['name'])}: {done}"


def request_of(received: Json) -> Iterator[tuple[str, str]]:
    """The preconditions of a recorded PATCH, and its response."""
    metadata = json.loads(received["body"])["metadata"]
    yield "precondition uid              ", metadata["uid"]
    yield "precondition resourceVersion  ", metadata["resourceVersion"]
    yield "response                      ", str(received["status"])


def timeline_of_write(action: Json) -> tuple[str, Iterator[tuple[str, str]]]:
    """The time at which the plan was committed, and the messages of the timeline up to the response."""
    events = action["timeline"]
    planned = max(index for index, event in enumerate(events) if event["to_state"] == "applying")
    return events[planned]["at"], (("", event["message"] or "") for event in events[planned : planned + 2])


def clock(moment: str) -> str:
    """The local time, as HH:MM:SS."""
    return f"{datetime.fromisoformat(moment).astimezone():%H:%M:%S}"
