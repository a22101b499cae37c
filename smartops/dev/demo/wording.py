"""What the API says, in words for the screen. Pure."""

import json
from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Any

from signals.proposals import PROPOSAL_TYPES
from signals.types import ActionType

Json = dict[str, Any]


# What is said of a guardrail that has neither numbers nor a message.
SILENT = {
    "protected_namespace": "not a namespace of the cluster itself",
    "patch_allowlist": "changes no field outside of the allowlist",
    "freeze": "nothing is frozen",
    "paused": "not paused, or scaled all the same",
    "autoscaler": "no autoscaler sets its replicas",
    "field_owners": "nobody else sets what would change",
    "one_action_at_a_time": "no other action is under way",
}


def verdict_lines(verdicts: Iterable[Json]) -> Iterator[tuple[str, str]]:
    """For each guardrail what it says, and its value and limit."""
    for verdict in verdicts:
        outcome = verdict["outcome"].replace("_", " ")
        yield f"{outcome:<13} {verdict['guardrail']:<21} ", numbers(verdict)


def numbers(verdict: Json) -> str:
    if verdict["outcome"] != "allow":
        until = f" Again at {clock(verdict['until'])}." if verdict["until"] else ""
        return f"{verdict['message']}{until}"
    match verdict["details"]:
        case {"age_seconds": age, "limit_seconds": limit}:
            return f"{age:.1f} s old, of at most {limit} s"
        case {"uid": uid, "replicas": replicas}:
            return f"{replicas} replicas, uid {uid}"
        case {"value": value, "limit": limit, "current": current}:
            return f"{current if value is None else value} of {limit} replicas"
        case {"value": value, "wanted": wanted, "limit": limit, "window_seconds": window}:
            return f"+{value} so far, +{wanted} now, of +{limit} in {window // 60} min"
        case {"value": value, "limit": limit, "window_seconds": window}:
            return f"{value} of {limit} in {window // 60} min"
        case {"limit_seconds": limit}:
            return f"0 s left of {limit} s"
    return verdict["message"] or SILENT.get(verdict["guardrail"], "")


def patched(action: Json) -> str:
    """What was changed, in one line."""
    done = PROPOSAL_TYPES[ActionType(action["type"])].done(action["before"], action["change"])
    return f"{action['target']['namespace']}/{action['target']['name']}: {done}"


def request_of(received: Json) -> Iterator[tuple[str, str]]:
    """What makes a copy of the request harmless, and the answer that it got."""
    metadata = json.loads(received["body"])["metadata"]
    yield "only for uid        ", metadata["uid"]
    yield "at resourceVersion  ", metadata["resourceVersion"]
    yield "the server answered ", str(received["status"])


def timeline_of_write(action: Json) -> tuple[str, Iterator[tuple[str, str]]]:
    """When the intent was committed, and what the timeline says from there to the answer."""
    events = action["timeline"]
    planned = max(index for index, event in enumerate(events) if event["to_state"] == "applying")
    return events[planned]["at"], (("", event["message"] or "") for event in events[planned : planned + 2])


def clock(moment: str) -> str:
    """The local time of day."""
    return f"{datetime.fromisoformat(moment).astimezone():%H:%M:%S}"
