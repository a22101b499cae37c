"""What reports that change nothing cost on disk: the size of the database by the number of posts."""

from collections.abc import Iterator
from random import Random

import psycopg

from benchmarks.figures import Figure, Target
from benchmarks.servers import Servers
from signals import actors, transitions
from signals.holds import hold
from signals.ingest import ingest
from signals.lib.notifications import connection_parameters
from signals.models import Signal
from signals.types import Observation, Source
from signals.types import Target as Workload

SERVICES = 1000
DAY = 1440  # minutes
TOKEN = actors.token("detectors")
SIZE = """
    SELECT sum(pg_total_relation_size(oid)) FROM pg_class
    WHERE relkind = 'r' AND relname ~ '^(signals|orchestrator)_'
"""


def a_day(servers: Servers, quick: bool = False) -> Iterator[Figure]:  # noqa: ARG001 - it needs the database alone
    """1,000 services, each reported every minute: one in twenty firing, of which no rule takes note, with a value that
    moves; the others healthy. A decision is made as a reconciler makes it."""
    random, minutes = Random(7), 3 if quick else DAY  # noqa: S311
    with psycopg.connect(**connection_parameters()) as session:
        before = _size(session)
        for minute in range(minutes):
            ingest([_report(random, service, minute) for service in range(SERVICES)], TOKEN)
            _ignore()
        grown = _size(session) - before
    what = f"{SERVICES:,} services that report every minute, {minutes} minutes: on disk a post"
    yield Figure(what, grown / (SERVICES * minutes), " B", target=Target("value", "≤", 150))


def _report(random: Random, service: int, minute: int) -> Observation:
    target = Workload("default", "shop", f"service-{service}")
    firing, score = service % 20 == 0, random.uniform(0.3, 0.7)
    body = {"windowId": f"w-{service}-{minute}", "service": target.name, "isAnomaly": firing, "score": score}
    return Observation(Source.ANOMALY, target, "other", f"w-{service}-{minute}", firing, body, score=score)


def _ignore() -> None:
    due = Signal.due("default", SERVICES)
    holds = [(one, hold(one.facts(), one.enabled_rules, one.settings_version)) for one in due]
    transitions.store([transitions.ignore(one, "NoRule", "", kept) for one, kept in holds])


def _size(session: "psycopg.Connection[object]") -> float:
    session.execute("VACUUM")
    row = session.execute(SIZE).fetchone()
    return float(row[0]) if isinstance(row, tuple) else 0.0
