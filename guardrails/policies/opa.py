"""Asks an external policy engine in OPA's REST shape: `POST <url>` with `{"input": ...}`.

Fails closed: no answer, an undefined result, or anything but a boolean (or an object with a boolean `allow`) does not
allow. Off unless SMARTOPS_OPA_URL is set. Call it outside of transactions. Credentials of the URL are sent as Basic
authentication; what is stored and answered has neither these nor the query.
"""

from dataclasses import asdict
from typing import Any
from urllib.parse import unquote, urlsplit

import urllib3
from django.conf import settings
from prometheus_client import Counter, Histogram

from guardrails.types import PolicyAnswer
from signals.lib.metrics import initialized
from signals.lib.redaction import redacted
from signals.models import Signal
from signals.types import ActionType, Proposal

DENIALS = initialized(
    Counter(
        "smartops_orchestrator_policy_denials_total",
        "Proposals that the policy engine did not allow.",
        ["type", "reason"],
    ),
    [type_.lower() for type_ in ActionType],
    ("denied", "unavailable"),
)
LATENCY = Histogram(
    "smartops_orchestrator_policy_latency_seconds",
    "How long the policy engine took to answer, or not to.",
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
)
_pool = urllib3.PoolManager(retries=False, maxsize=16)


def check_policy(action: Proposal, context: dict[str, Any], signal: Signal | None = None) -> PolicyAnswer | None:
    """None when no engine is configured. `context` tells what is known: origin, requester, the target as it is."""
    url = settings.SMARTOPS_OPA_URL
    if not url:
        return None
    document = {"action": _action(action), "context": context, "signal": signal and _described(signal)}
    engine = redacted(url)
    try:
        address, headers = _request(url)
        with LATENCY.time():
            response = _pool.request(
                "POST", address, json={"input": document}, headers=headers, timeout=settings.SMARTOPS_OPA_TIMEOUT
            )
        answer = _read(engine, response.status, response.json() if response.status == 200 else None)
    except (urllib3.exceptions.HTTPError, ValueError, RecursionError) as error:
        answer = PolicyAnswer(None, f"{type(error).__name__}", engine)
    if not answer.allow:
        DENIALS.labels(action.type.lower(), "unavailable" if answer.allow is None else "denied").inc()
    return answer


def _request(url: str) -> tuple[str, dict[str, str]]:
    """The address without the credentials, and the headers with them."""
    parts = urlsplit(url)
    credentials, _, host = parts.netloc.rpartition("@")
    headers = urllib3.make_headers(basic_auth=unquote(credentials)) if credentials else {}
    return parts._replace(netloc=host).geturl(), {"Content-Type": "application/json", **headers}


def _read(engine: str, status: int, body: Any) -> PolicyAnswer:
    if status != 200:
        return PolicyAnswer(None, f"HTTP status {status}", engine)
    result = body.get("result") if isinstance(body, dict) else None
    if isinstance(result, bool):
        return PolicyAnswer(result, "Allowed by policy." if result else "Denied by policy.", engine)
    if isinstance(result, dict) and isinstance(result.get("allow"), bool):
        allow = result["allow"]
        reason = result.get("reason")
        said = redacted(str(reason or ("Allowed by policy." if allow else "Denied by policy.")))
        return PolicyAnswer(allow, said, engine)
    return PolicyAnswer(None, "the result is undefined", engine)


def _action(action: Proposal) -> dict[str, Any]:
    left_out = ("requested_by", "mode")  # the context has the first, and guardrails answer for the second
    return {name: value for name, value in asdict(action).items() if name not in left_out}


def _described(signal: Signal) -> dict[str, Any]:
    """Its facts, and what the detector posted last: `payload.metadata` is the detector's own."""
    facts = asdict(signal.facts())
    for name in ("due_at", "kept_seconds", "deferred_for", "lasted_seconds", "recent_reports"):
        del facts[name]  # they concern the queue and the rules, not the problem
    return facts | {"last_seen_at": signal.last_seen_at.isoformat(), "payload": signal.payload}
