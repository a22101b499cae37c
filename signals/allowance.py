"""How much a token may post: a rate, and a number of signals that wait for a decision. PostgreSQL counts both, so that
they hold for all processes.

The rate is a bucket that holds the signals of a minute. It costs a post one statement. The waiting signals are not
counted for each post: `spare` says how many more may be opened at least. Only when this gets low, the posts of the
token take turns, and each counts before it stores.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from math import ceil

from django.db import connection, transaction

from signals import queries
from signals.actors import Actor
from signals.ingest import Receipt, ingest
from signals.models import Allowance, Signal
from signals.types import Observation

MARGIN = 2000  # signals of posts that were granted, and are not stored yet, when another one counts
PAUSE = 5  # seconds until a signal that waits may have been decided


@dataclass(frozen=True, slots=True)
class Quota:
    """Of one token: signals per minute, and how many of its signals may wait for a decision at a time."""

    per_minute: int
    waiting: int


@dataclass(frozen=True, slots=True)
class Exceeded:
    """The observation was not stored. `rate`: the rate was exceeded, otherwise the number of waiting signals.
    `retry_after`: seconds."""

    rate: bool
    limit: int
    retry_after: int


def post(observations: Sequence[Observation], posted_by: Actor, quota: Quota) -> list[Receipt | Exceeded]:
    """Stores the first observations that the rate grants, except those that would open too many signals. One result
    for each, in order. Raises DatabaseError; then nothing is stored."""
    granted, spare, pause = _take(posted_by, len(observations), quota)
    too_fast = Exceeded(True, quota.per_minute, max(1, ceil(pause)))
    store = ingest if spare >= MARGIN else partial(_count_and_store, waiting=quota.waiting)
    return [*store(observations[:granted], posted_by), *[too_fast] * (len(observations) - granted)]


def _take(posted_by: Actor, wanted: int, quota: Quota) -> tuple[int, int, float]:
    if not wanted:
        return 0, MARGIN, 0
    asked: dict[str, str | int] = {"name": posted_by, "wanted": wanted, "per_minute": quota.per_minute}
    with connection.cursor() as cursor:
        cursor.execute(queries.TAKE, asked)
        granted, spare, pause = cursor.fetchone()
    return granted, spare, pause


def _count_and_store(observations: Sequence[Observation], posted_by: Actor, waiting: int) -> list[Receipt | Exceeded]:
    with transaction.atomic():
        Allowance.objects.select_for_update().get(pk=posted_by)
        with connection.cursor() as cursor:
            cursor.execute(queries.WAITING, {"name": posted_by, "first": Signal.first_pending()})
            room = waiting - cursor.fetchone()[0]
        beyond = _beyond(observations, room)
        refused = [one.firing and one.fingerprint in beyond for one in observations]
        stored = ingest(
            [one for one, is_refused in zip(observations, refused, strict=True) if not is_refused], posted_by
        )
        Allowance.objects.filter(pk=posted_by).update(spare=room - len(stored))
    receipts, too_many = iter(stored), Exceeded(False, waiting, PAUSE)
    return [too_many if is_refused else next(receipts) for is_refused in refused]


def _beyond(observations: Sequence[Observation], room: int) -> set[str]:
    """The fingerprints whose reports would open a signal, and that have no room for one."""
    firing = dict.fromkeys(one.fingerprint for one in observations if one.firing)
    if room >= len(firing):
        return set()
    columns = ("fingerprint", "score", "probability", "confidence")
    rows = [{name: getattr(one, name) for name in columns} for one in observations if one.firing]
    with connection.cursor() as cursor:
        cursor.execute(queries.OPENING, [json.dumps(rows)])
        opening = {fingerprint for [fingerprint] in cursor.fetchall()}
    return set([one for one in firing if one in opening][max(0, room) :])
