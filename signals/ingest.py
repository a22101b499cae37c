"""Stores observations and opens, counts up or resolves their signals: one statement per polarity, so that a batch costs
what its rows cost.

The reports of one window are numbered, and the unique key of Observation orders concurrent ones. The unique key of open
Signals joins all observations of one problem. PostgreSQL enforces both for concurrent posts.
"""

import collections
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import uuid_utils as uuids
from django.db import DatabaseError, connection, transaction
from prometheus_client import Counter
from psycopg.errors import DeadlockDetected, UniqueViolation

from signals import queries
from signals.actors import Actor
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
Key = tuple[str, str]  # fingerprint, window
Numbered = tuple[int, Observation]  # with its place in the batch


@dataclass(frozen=True, slots=True)
class Receipt:
    """The result of one observation: the id and state of its signal. `duplicate`: an equal post was stored before, and
    nothing changed. `late`: it is a beginning whose end was stored before; the signal did not change."""

    signal_id: str
    state: str
    duplicate: bool
    late: bool = False


def ingest(observations: Sequence[Observation], posted_by: Actor) -> list[Receipt]:
    """Stores all observations or none. Returns one receipt per observation, in order. Raises DatabaseError."""
    parts, trace = list(_parts(observations)), IngestTrace(len(observations) > 1)
    for attempt in range(ATTEMPTS):
        try:
            stored = _store_all(parts, posted_by, trace)
        except DatabaseError as error:
            # Another process stored an equal post between our check and our insert, or locked the same rows in another
            # order. It has committed, or PostgreSQL has cancelled our transaction: the next attempt sees its rows.
            if attempt == ATTEMPTS - 1 or not isinstance(error.__cause__, UniqueViolation | DeadlockDetected):
                raise
        else:
            receipts = [stored[number] for number in range(len(observations))]
            _count(observations, receipts)
            trace.finish(receipts)
            return receipts
    raise AssertionError("unreachable")


def _parts(observations: Sequence[Observation]) -> Iterator[list[Numbered]]:
    """Consecutive observations, divided by polarity. A new part begins where an observation has another polarity than
    an earlier one of its fingerprint: a problem that ends and begins again within a batch keeps its order."""
    part: dict[bool, list[Numbered]] = {True: [], False: []}
    polarity: dict[str, bool] = {}
    for number, observation in enumerate(observations):
        if polarity.setdefault(observation.fingerprint, observation.firing) != observation.firing:
            yield from filter(None, part.values())
            part, polarity = {True: [], False: []}, {observation.fingerprint: observation.firing}
        part[observation.firing].append((number, observation))
    yield from filter(None, part.values())


def _store_all(parts: Sequence[list[Numbered]], posted_by: Actor, trace: IngestTrace) -> dict[int, Receipt]:
    if len(parts) == 1 and not connection.in_atomic_block:  # a single statement is a transaction by itself
        return _store(parts[0], posted_by, trace)
    stored: dict[int, Receipt] = {}
    with transaction.atomic():
        if parts:
            _execute(queries.LOCK_OPEN, [sorted({one.fingerprint for part in parts for _, one in part})])
        for part in parts:
            stored |= _store(part, posted_by, trace)
    return stored


def _store(part: list[Numbered], posted_by: Actor, trace: IngestTrace) -> dict[int, Receipt]:
    unique: dict[Key, Observation] = {}
    for _, observation in part:
        unique.setdefault(_key(observation), observation)
    document = json.dumps([_row(order, key[0], unique[key], trace) for order, key in enumerate(unique)])
    statement = queries.FIRE if part[0][1].firing else queries.RESOLVE
    receipts = {
        (fingerprint, window): Receipt(str(pk), state, duplicate, late)
        for fingerprint, window, pk, state, duplicate, late in _execute(statement, [posted_by, document])
    }
    stored = {}
    for number, observation in part:
        key = _key(observation)
        stored[number] = receipts[key]
        receipts[key] = replace(receipts[key], duplicate=True, late=False)  # of equal observations, the first is stored
    return stored


def _count(observations: Sequence[Observation], receipts: Sequence[Receipt]) -> None:
    kinds = collections.Counter(zip((o.source for o in observations), (r.duplicate for r in receipts), strict=True))
    for (source, duplicate), number in kinds.items():
        OBSERVATIONS.labels(source, "duplicate" if duplicate else "stored").inc(number)


def _key(o: Observation) -> Key:
    return o.fingerprint, o.window_id


def _execute(statement: str, parameters: list[Any]) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(statement, parameters)
        return list(cursor.fetchall())


def _row(order: int, fingerprint: str, o: Observation, trace: IngestTrace) -> dict[str, Any]:
    """One element of the JSON array that FIRE and RESOLVE read."""
    pk = str(uuids.uuid7())  # of the signal, if this observation opens one
    return {
        "ord": order,
        "observation_id": str(uuids.uuid7()),
        "id": pk,
        "fingerprint": fingerprint,
        "window_id": o.window_id,
        "source": o.source,
        "cluster": o.target.cluster,
        "kind": o.target.kind,
        "namespace": o.target.namespace,
        "workload": o.target.name,
        "symptom": o.symptom,
        "score": o.score,
        "probability": o.probability,
        "confidence": o.confidence,
        "payload": dict(o.payload),
        "traceparent": trace.traceparent(pk),
    }
