"""Texts for the screen, from the documents of the API. Pure."""

import json
from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Any

from signals.proposals import PROPOSAL_TYPES
from signals.types import ActionType, workload_name

Json = dict[str, Any]

# The texts of guardrails that allow without details and without a message.
WITHOUT_DETAILS = {
    "readable_namespace": "the namespace has synced",
    "protected_namespace": "not a protected namespace",
    "own_workload": "not a part of SmartOps",
    "patch_allowlist": "changes no field outside of the allowlist",
    "freeze": "no freeze in force",
    "paused": "not paused, or the change needs no rollout",
    "scale_direction": "no absolute number of replicas",
    "autoscaler": "no autoscaler sets the replicas",
    "field_owners": "no other owner of the changed fields",
    "one_action_at_a_time": "no other active action",
    "missing_replicas": "no added replica is missing",
    "recently_refused": "not refused by the cluster before",
}


def verdict_lines(verdicts: Iterable[Json]) -> Iterator[tuple[str, str]]:
    """Yields (label, text) for each guardrail."""
    for verdict in verdicts:
        outcome = verdict["outcome"].replace("_", " ")
        yield f"{outcome:<13} {verdict['guardrail']:<21} ", explain(verdict)


def explain(verdict: Json) -> str:
    """Value and limit of a guardrail that allows; the message of one that does not."""
    if verdict["outcome"] != "allow":
        until = f" Again at {clock(verdict['until'])}." if verdict["until"] else ""
        return f"{verdict['message']}{until}"
    match verdict["details"]:
        case {"age_seconds": age, "limit_seconds": limit}:
            return f"{age:.1f} s old, limit {limit} s"
        case {"replicas": replicas, "minimum": minimum, "current": current}:
            return f"{current if replicas is None else replicas} replicas, at least {minimum}"
        case {"rollout": "complete"}:
            return "no rollout in progress"
        case {"uid": uid, "replicas": replicas}:
            return f"{replicas} replicas, uid {uid}"
        case {"value": value, "limit": limit, "current": current}:
            return f"{current if value is None else value} of {limit} replicas"
        case {"value": value, "wanted": wanted, "limit": limit, "window_seconds": window}:
            sign = "-" if verdict["guardrail"] == "scale_down_velocity" else "+"
            return f"{sign}{value} so far, {sign}{wanted} requested, limit {sign}{limit} in {window // 60} min"
        case {"value": value, "limit": limit, "window_seconds": window}:
            return f"{value} of {limit} actions in {window // 60} min"
        case {"kind": kind}:
            return f"a {kind} has the changed fields"
        case {"replicas": replicas}:
            return f"{replicas} replicas"
        case {"limit_seconds": limit}:
            return f"0 s left of {limit} s"
    return verdict["message"] or WITHOUT_DETAILS.get(verdict["guardrail"], "")


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
