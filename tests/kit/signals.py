"""What detectors and RCA engines report: request bodies, and the observations that are parsed from them."""

from dataclasses import replace
from typing import Any
from uuid import uuid4

from django.db import connection

from signals import actors
from signals.ingest import Receipt, ingest
from signals.types import Kind, Observation, Source, Target

NAMESPACE = "smartops-dev"
ANOMALY = {"windowId": "win-123", "service": "erp-simulator", "isAnomaly": True, "score": 0.95, "type": "resource"}
CAUSE = {"svc": "erp-simulator", "cause": "memory_leak", "probability": 0.93}
RCA = {"windowId": "win-xxx", "rankedCauses": [CAUSE], "confidence": 0.93}


def anomaly_body(namespace: str, service: str, type_: str = "resource", **fields: Any) -> dict[str, Any]:
    """The body of `POST /v1/signals/anomaly`, with a window of its own."""
    return {**ANOMALY, "windowId": uuid4().hex, "namespace": namespace, "service": service, "type": type_, **fields}


def rca_body(namespace: str, service: str, cause: str = "memory_leak", **fields: Any) -> dict[str, Any]:
    """The body of `POST /v1/signals/rca`, with a window of its own."""
    ranked = [{**CAUSE, "svc": service, "cause": cause}]
    return {**RCA, "windowId": uuid4().hex, "namespace": namespace, "rankedCauses": ranked, **fields}


def anomaly(service: str, type_: str = "resource", **fields: Any) -> Observation:
    """Of a workload in NAMESPACE, with a window of its own."""
    target = Target("default", NAMESPACE, service)
    observation = Observation(Source.ANOMALY, target, type_, uuid4().hex, True, {"cpu": 96.3}, score=0.95)
    return replace(observation, **fields)


def root_cause(service: str, cause: str = "memory_leak", **fields: Any) -> Observation:
    """Of a workload in NAMESPACE, with a window of its own."""
    target = Target("default", NAMESPACE, service)
    observation = Observation(Source.RCA, target, cause, uuid4().hex, True, {}, probability=0.93, confidence=0.93)
    return replace(observation, **fields)


def post(*observations: Observation) -> list[Receipt]:
    """Store them as the API does."""
    return ingest(observations, posted_by=actors.token("an agent"))


def wait(seconds: float) -> None:
    """Makes everything that is stored of signals older, as its owner may."""
    ago = "{0} = {0} - make_interval(secs => %(seconds)s)"
    times = ["first_seen_at", "last_seen_at", "not_before", "resolved_at", "closed_at"]
    statements = [
        "SET CONSTRAINTS ALL IMMEDIATE",
        "ALTER TABLE signals_observation DISABLE TRIGGER USER",
        f"UPDATE signals_observation SET {ago.format('received_at')}",  # noqa: S608 - of constants
        "ALTER TABLE signals_observation ENABLE TRIGGER USER",
        f"UPDATE signals_signal SET {', '.join(map(ago.format, times))}",  # noqa: S608
        f"UPDATE signals_window SET {ago.format('reported_at')}",  # noqa: S608
        f"UPDATE signals_problem SET {', '.join(map(ago.format, ['firing_at', 'healthy_at']))}",  # noqa: S608
        "SET CONSTRAINTS ALL DEFERRED",
    ]
    with connection.cursor() as cursor:
        for statement in statements:
            cursor.execute(statement, {"seconds": seconds} if statement.startswith("UPDATE") else None)


def delayed(**seconds: float) -> dict[tuple[str, Kind], float]:
    """The delays of the cache for all kinds of each namespace; `everywhere` is "*", and an underscore a hyphen."""
    names = {name: "*" if name == "everywhere" else name.replace("_", "-") for name in seconds}
    return {(names[name], kind): later for name, later in seconds.items() for kind in Kind}
