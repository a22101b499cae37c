"""How fast signals are stored: one by one, and in batches."""

import json
import time
from collections.abc import Iterator, Sequence
from itertools import count
from typing import Any

import psycopg
import uuid_utils.compat as uuids
from psycopg.types.json import Jsonb

from benchmarks.figures import Figure, Target, median_ratio
from benchmarks.http import rate
from benchmarks.servers import Servers
from signals.lib.notifications import connection_parameters
from smartops.tokens import Scope, issue

SERVICES = 1000
BATCH = 500
BARE_TABLE = """
    DROP TABLE IF EXISTS bare;
    CREATE TABLE bare (
        id uuid PRIMARY KEY DEFAULT uuidv7(), window_id text NOT NULL, service text NOT NULL,
        is_anomaly bool NOT NULL, score float8 NOT NULL, type text NOT NULL, metadata jsonb NOT NULL,
        received_at timestamptz NOT NULL DEFAULT now())
"""
# Equal to the table of signals, its indexes included.
RAW_TABLE = "DROP TABLE IF EXISTS raw; CREATE TABLE raw (LIKE signals_signal INCLUDING ALL)"
RAW_COLUMNS = {
    "id": "uuid",
    "source": "text",
    "cluster": "text",
    "namespace": "text",
    "workload": "text",
    "symptom": "text",
    "fingerprint": "text",
    "score": "float8",
    "payload": "jsonb",
}
RAW_INSERT = f"""
    INSERT INTO raw ({", ".join(RAW_COLUMNS)}, state, reason, message, errors, count)
    SELECT *, 'pending', '', '', 0, 1 FROM unnest({", ".join(f"%s::{kind}[]" for kind in RAW_COLUMNS.values())})
"""  # noqa: S608 - it is composed of constants

_windows = count()


def single(servers: Servers, quick: bool = False) -> Iterator[Figure]:
    rounds, posts = (2, 20) if quick else (7, 400)
    with psycopg.connect(**connection_parameters()) as session:
        session.execute(BARE_TABLE)
    product, bare = servers.web(), servers.web("benchmarks.bare:application")
    headers = token("single")
    pairs = []
    for number in range(rounds + 1):
        bodies = [json.dumps(anomaly()).encode() for _ in range(posts)]
        baseline = rate(bare.address, "/anomaly", bodies)
        stored = rate(product.address, "/v1/signals/anomaly", bodies, headers)
        if number:  # the first one warms both up
            pairs.append((stored, baseline))
    value, baseline, ratio = median_ratio(pairs)
    what, against = "POST /v1/signals/anomaly", "bare ninja view, one INSERT"
    yield Figure(what, value, "/s", against, baseline, ratio, Target("ratio", "≥", 0.85))


def batch(servers: Servers, quick: bool = False) -> Iterator[Figure]:
    rounds, batches = (2, 2) if quick else (7, 20)
    product, headers = servers.web(), token("batch")
    with psycopg.connect(**connection_parameters()) as session:
        session.execute(RAW_TABLE)
        pairs = []
        for number in range(rounds + 1):
            signals = [[anomaly() for _ in range(BATCH)] for _ in range(batches)]
            baseline = _raw_rate(session, signals)
            bodies = [json.dumps({"signals": batch}).encode() for batch in signals]
            stored = BATCH * rate(product.address, "/v1/signals/batch", bodies, headers, clients=2)
            if number:
                pairs.append((stored, baseline))
    value, baseline, ratio = median_ratio(pairs)
    what, against = f"signals in batches of {BATCH}, one web process", "raw psycopg unnest"
    yield Figure(what, value, "/s", target=Target("value", "≥", 10_000))
    yield Figure(what, value, "/s", against, baseline, ratio, Target("ratio", "≥", 0.6))


def anomaly() -> dict[str, Any]:
    """A new window of one of `SERVICES` services."""
    window = next(_windows)
    return {
        "windowId": f"win-{window}",
        "service": f"service-{window % SERVICES}",
        "isAnomaly": True,
        "score": 0.95,
        "type": "resource",
        "metadata": {"cpu": 96.3},
    }


def token(name: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {issue(f'{name} {uuids.uuid7()}', [Scope.SIGNALS_WRITE])}"}


def _raw_rate(session: "psycopg.Connection[Any]", batches: Sequence[Sequence[dict[str, Any]]]) -> float:
    started = time.perf_counter()
    for signals in batches:
        rows = [_raw_row(signal) for signal in signals]
        session.execute(RAW_INSERT, [list(column) for column in zip(*rows, strict=True)])
    return sum(map(len, batches)) / (time.perf_counter() - started)


def _raw_row(signal: dict[str, Any]) -> tuple[Any, ...]:
    place = ("anomaly", "default", "smartops-dev", signal["service"], signal["type"])
    return (uuids.uuid7(), *place, signal["windowId"], signal["score"], Jsonb(signal))
