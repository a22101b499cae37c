"""Observations in, stored signals out: in one statement each way, so that a batch costs what its rows cost.

Equal posts meet in the unique key of Observation; repeats meet in the unique key of the open Signal. Whatever the
interleaving, PostgreSQL lets one through.
"""

import collections
import json
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from typing import Any

import uuid_utils.compat as uuids
from django.db import DatabaseError, connection, transaction
from prometheus_client import Counter
from psycopg.errors import DeadlockDetected, UniqueViolation

from signals.ingest_trace import IngestTrace
from signals.lib.metrics import initialized
from signals.types import Observation, Source

OBSERVATIONS = initialized(
    Counter(
        "orchestrator_closed_loop_observations_total",
        "Posts of agents; duplicates changed nothing.",
        ["kind", "outcome"],
    ),
    Source,
    ("stored", "duplicate"),
)
ATTEMPTS = 5
Key = tuple[str, str, bool]  # fingerprint, window, firing

_INPUT = """
    input AS (SELECT * FROM json_to_recordset(%s::json) AS t(
        ord int, observation_id uuid, id uuid, fingerprint text, window_id text, source text, cluster text,
        namespace text, workload text, symptom text, score float8, probability float8, confidence float8,
        payload jsonb, traceparent text)),
    fresh AS (SELECT input.* FROM input WHERE (
        SELECT id FROM signals_observation seen  -- a value, not EXISTS: that could become a join that reads the table
        WHERE seen.fingerprint = input.fingerprint AND seen.window_id = input.window_id AND seen.firing = %s) IS NULL),
    latest AS (SELECT DISTINCT ON (fingerprint) *, count(*) OVER (PARTITION BY fingerprint)
               FROM fresh ORDER BY fingerprint, ord DESC)
"""
_SIGNAL = (
    "id, source, cluster, namespace, workload, symptom, fingerprint, score, probability, confidence, payload, count, "
    "traceparent"
)
_STORE = """
    stored AS (
        INSERT INTO signals_observation (id, signal_id, fingerprint, window_id, firing, payload, posted_by)
        SELECT observation_id, touched.id, fingerprint, window_id, %s, payload, %s
        FROM fresh JOIN touched USING (fingerprint)
        RETURNING fingerprint, window_id, signal_id)
    SELECT stored.fingerprint, stored.window_id, touched.id, touched.state
    FROM stored JOIN touched USING (fingerprint)
"""
_FIRE = f"""
    WITH {_INPUT},
    touched AS (
        INSERT INTO signals_signal AS open ({_SIGNAL}, state, reason, message, errors)
        SELECT {_SIGNAL}, 'pending', '', '', 0 FROM latest
        ON CONFLICT (fingerprint) WHERE closed_at IS NULL DO UPDATE SET
            count = open.count + EXCLUDED.count, last_seen_at = statement_timestamp(), resolved_at = NULL,
            payload = EXCLUDED.payload, score = EXCLUDED.score, probability = EXCLUDED.probability,
            confidence = EXCLUDED.confidence
        RETURNING id, fingerprint, state),
    {_STORE}
"""
# An admitted signal keeps its state: the reconciler withdraws what its action has not applied yet, and closes it. A
# trouble that is back before that is not over: firing clears `resolved_at`.
_RESOLVE = f"""
    WITH {_INPUT},
    ended AS (
        UPDATE signals_signal open SET
            resolved_at = coalesce(resolved_at, statement_timestamp()),
            state = CASE open.state WHEN 'pending' THEN 'resolved' ELSE open.state END,
            closed_at = CASE open.state WHEN 'pending' THEN statement_timestamp() END,
            reason = CASE open.state WHEN 'pending' THEN 'SignalResolved' ELSE open.reason END,
            message = CASE open.state WHEN 'pending' THEN 'The trouble is over.' ELSE open.message END
        FROM latest WHERE open.fingerprint = latest.fingerprint AND open.closed_at IS NULL
        RETURNING open.id, open.fingerprint, open.state),
    healthy AS (
        INSERT INTO signals_signal ({_SIGNAL}, state, reason, message, errors, resolved_at, closed_at)
        SELECT {_SIGNAL}, 'resolved', 'Healthy', 'Nothing was open.', 0, statement_timestamp(), statement_timestamp()
        FROM latest WHERE fingerprint NOT IN (SELECT fingerprint FROM ended)
        RETURNING id, fingerprint, state),
    touched AS (SELECT * FROM ended UNION ALL SELECT * FROM healthy),
    {_STORE}
"""
_SEEN = """
    SELECT o.fingerprint, o.window_id, s.id, s.state
    FROM unnest(%s::text[], %s::text[]) AS t(fingerprint, window_id)
    JOIN signals_observation o ON o.fingerprint = t.fingerprint AND o.window_id = t.window_id AND o.firing = %s
    JOIN signals_signal s ON s.id = o.signal_id
"""


@dataclass(frozen=True, slots=True)
class Receipt:
    """What became of one observation. `duplicate`: the same post had been stored before, and nothing changed."""

    signal_id: str
    state: str
    duplicate: bool


def ingest(observations: Sequence[Observation], posted_by: str) -> list[Receipt]:
    """Stores them all or none; one receipt each, in order."""
    stretches, trace = list(_stretches(observations)), IngestTrace(len(observations) > 1)
    for attempt in range(ATTEMPTS):
        try:
            # A single statement is a transaction by itself.
            with transaction.atomic() if len(stretches) > 1 else nullcontext():
                stored: dict[Key, Receipt] = {}
                for stretch in stretches:
                    stored = _store(stretch, posted_by, trace) | stored  # of equal posts the first counts
            receipts = [_take(stored, _key(one)) for one in observations]
            _count(observations, receipts)
            trace.finish(receipts)
            return receipts
        except DatabaseError as error:
            # Another process stored an equal post between our look and our write, or locked the same rows in another
            # order. It has committed, or we were the victim: another look sees its rows.
            if attempt == ATTEMPTS - 1 or not isinstance(error.__cause__, UniqueViolation | DeadlockDetected):
                raise
    raise AssertionError("unreachable")


def _stretches(observations: Sequence[Observation]) -> Iterator[list[Observation]]:
    """Observations of one polarity each. Cut where a trouble changes its own: one that ends and begins again within a
    batch keeps its order."""
    stretch: dict[bool, list[Observation]] = {True: [], False: []}
    polarity: dict[str, bool] = {}
    for observation in observations:
        if polarity.setdefault(observation.fingerprint, observation.firing) != observation.firing:
            yield from filter(None, stretch.values())
            stretch, polarity = {True: [], False: []}, {observation.fingerprint: observation.firing}
        stretch[observation.firing].append(observation)
    yield from filter(None, stretch.values())


def _store(stretch: list[Observation], posted_by: str, trace: IngestTrace) -> dict[Key, Receipt]:
    firing = stretch[0].firing
    unique: dict[Key, Observation] = {}
    for observation in stretch:
        unique.setdefault(_key(observation), observation)
    document = json.dumps([_row(*numbered, trace) for numbered in enumerate(unique.values())])
    receipts = _receipts(_FIRE if firing else _RESOLVE, [document, firing, firing, posted_by], firing, duplicate=False)
    if seen := [key for key in unique if key not in receipts]:
        places = [[key[0] for key in seen], [key[1] for key in seen]]
        receipts |= _receipts(_SEEN, [*places, firing], firing, duplicate=True)
    return receipts


def _count(observations: Sequence[Observation], receipts: Sequence[Receipt]) -> None:
    kinds = collections.Counter(zip((o.source for o in observations), (r.duplicate for r in receipts), strict=True))
    for (source, duplicate), number in kinds.items():
        OBSERVATIONS.labels(source, "duplicate" if duplicate else "stored").inc(number)


def _take(stored: dict[Key, Receipt], key: Key) -> Receipt:
    """Its receipt; whoever asks for the same once more has posted a duplicate."""
    receipt = stored[key]
    stored[key] = replace(receipt, duplicate=True)
    return receipt


def _key(o: Observation) -> Key:
    return o.fingerprint, o.window_id, o.firing


def _receipts(statement: str, parameters: list[Any], firing: bool, duplicate: bool) -> dict[Key, Receipt]:
    with connection.cursor() as cursor:
        cursor.execute(statement, parameters)
        rows = cursor.fetchall()
    return {
        (fingerprint, window, firing): Receipt(str(pk), state, duplicate) for fingerprint, window, pk, state in rows
    }


def _row(order: int, o: Observation, trace: IngestTrace) -> dict[str, Any]:
    pk = str(uuids.uuid7())  # the signal's, where none is open
    return {
        "ord": order,
        "observation_id": str(uuids.uuid7()),
        "id": pk,
        "fingerprint": o.fingerprint,
        "window_id": o.window_id,
        "source": o.source,
        "cluster": o.target.cluster,
        "namespace": o.target.namespace,
        "workload": o.target.name,
        "symptom": o.symptom,
        "score": o.score,
        "probability": o.probability,
        "confidence": o.confidence,
        "payload": dict(o.payload),
        "traceparent": trace.traceparent(pk),
    }
