"""Stores observations and opens, counts up or resolves their signals: one statement per polarity, so that a batch costs
what its rows cost.

The row lock of a Problem orders the reports of it, and its Windows recognize repeats, also for concurrent posts.
"""

import collections
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import uuid_utils as uuids
from django.db import connection, transaction
from prometheus_client import Counter

from signals import queries
from signals.actors import Actor
from signals.ingest_trace import IngestTrace
from signals.lib.metrics import initialized
from signals.types import Observation, Source

OBSERVATIONS = initialized(
    Counter(
        "orchestrator_closed_loop_observations_total",
        "Posts of detectors; duplicates changed nothing.",
        ["kind", "outcome"],
    ),
    Source,
    ("stored", "duplicate"),
)
Numbered = tuple[int, Observation]  # with its place in the batch


@dataclass(frozen=True, slots=True)
class Receipt:
    """The result of one observation: the id and state of its signal; "" and `resolved` if nothing was open. It is
    counted then. `duplicate`: an equal post was stored before, and nothing changed. `late`: it is a beginning whose end
    was stored before; the signal did not change."""

    signal_id: str
    state: str
    duplicate: bool
    late: bool = False


def ingest(observations: Sequence[Observation], posted_by: Actor) -> list[Receipt]:
    """Stores all observations or none. Returns one receipt per observation, in order. Raises DatabaseError."""
    parts, trace = list(_parts(observations)), IngestTrace(len(observations) > 1)
    stored = _store_all(parts, posted_by, trace)
    receipts = [stored[number] for number in range(len(observations))]
    _count(observations, receipts)
    trace.finish(receipts)
    return receipts


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
        if len(parts) > 1:
            _execute(queries.LOCK_PROBLEMS, [json.dumps([_problem(one) for part in parts for _, one in part])])
        for part in parts:
            stored |= _store(part, posted_by, trace)
    return stored


def _store(part: list[Numbered], posted_by: Actor, trace: IngestTrace) -> dict[int, Receipt]:
    unique: dict[str, tuple[int, Observation]] = {}  # the first of each window
    for number, observation in part:
        unique.setdefault(observation.window_key, (number, observation))
    document = json.dumps([_row(number, observation, trace) for number, observation in unique.values()])
    statement = queries.FIRE if part[0][1].firing else queries.RESOLVE
    stored = {
        number: Receipt(pk, state, duplicate, late)
        for number, pk, state, duplicate, late in _execute(statement, [posted_by, document])
    }
    for number, observation in part:  # of equal observations, the first is stored
        first, _ = unique[observation.window_key]
        if number != first:
            stored[number] = replace(stored[first], duplicate=True, late=False)
    return stored


def _count(observations: Sequence[Observation], receipts: Sequence[Receipt]) -> None:
    kinds = collections.Counter(zip((o.source for o in observations), (r.duplicate for r in receipts), strict=True))
    for (source, duplicate), number in kinds.items():
        OBSERVATIONS.labels(source, "duplicate" if duplicate else "stored").inc(number)


def _execute(statement: str, parameters: list[Any]) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(statement, parameters)
        return list(cursor.fetchall())


def _problem(o: Observation) -> dict[str, Any]:
    return {
        "fingerprint": o.fingerprint,
        "source": o.source,
        "cluster": o.target.cluster,
        "kind": o.target.kind,
        "namespace": o.target.namespace,
        "workload": o.target.name,
        "symptom": o.symptom,
    }


def _row(number: int, o: Observation, trace: IngestTrace) -> dict[str, Any]:
    """One element of the JSON array that the statements read."""
    pk = str(uuids.uuid7())  # of the signal, if this observation opens one
    return {
        **_problem(o),
        "ord": number,
        "observation_id": str(uuids.uuid7()),
        "id": pk,
        "window_key": o.window_key,
        "window_id": o.window_id,
        "score": o.score,
        "probability": o.probability,
        "confidence": o.confidence,
        "named_by": o.named_by,
        "labels": dict(o.labels),
        "annotations": dict(o.annotations),
        "severity": o.severity,
        "started_at": None if o.started_at is None else o.started_at.isoformat(),
        "payload": dict(o.payload),
        "traceparent": trace.traceparent(pk),
    }
