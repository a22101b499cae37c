"""A verdict in words, also where it allows. Pure."""

from collections.abc import Mapping
from typing import Any

# Of guardrails that allow without details and without a message.
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
    "large_change": "no large change of the replicas",
    "protected_labels": "no protected label",
    "failed_before": "no failure that takes an approval",
}


def explain(verdict: Mapping[str, Any]) -> str:
    """Of a stored verdict: value and limit if it allows, else its message."""
    if verdict["outcome"] != "allow":
        return str(verdict["message"] or "")
    match verdict["details"]:
        case {"age_seconds": age, "limit_seconds": limit}:
            return f"{age:.1f} s old, limit {limit} s"
        case {"replicas": replicas, "minimum": minimum, "current": current}:
            return f"{current if replicas is None else replicas} replicas, at least {minimum}"
        case {"rollout": "complete"}:
            return "no rollout in progress"
        case {"uid": uid, "replicas": replicas}:
            return f"{replicas} replicas, uid {uid}"
        case {"mode": mode} if not verdict["message"]:
            return f"the mode is {mode}"
        case {"value": value, "percent": percent} if not verdict["message"]:
            return f"{value} replicas would change, {percent}%"
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
    return str(verdict["message"] or "") or WITHOUT_DETAILS.get(verdict["guardrail"], "")
