"""Whether a long history makes decisions slower."""

import os
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import get_context
from uuid import uuid4

import psycopg

from benchmarks.figures import Figure, Target, median_ratio
from benchmarks.history import fill
from benchmarks.servers import Servers


def decision_growth(servers: Servers, quick: bool = False) -> Iterator[Figure]:
    few, many = (100, 1000) if quick else (10_000, 3_000_000)
    rounds, samples = (2, 5) if quick else (9, 100)
    with history(servers, few) as small, history(servers, many) as large:
        pairs = [
            (large.submit(decide, number, samples).result(), small.submit(decide, number, samples).result())
            for number in range(rounds)
        ][1:]
    value, baseline, ratio = median_ratio(pairs)
    what, against = f"a decision, {many:,} actions stored", f"{few:,} stored"
    yield Figure(what, 1000 * value, "ms", against, 1000 * baseline, ratio, Target("ratio", "≤", 1.2))


@contextmanager
def history(servers: Servers, actions: int) -> Iterator[ProcessPoolExecutor]:
    """A process of its own, at a database of its own with so many past actions."""
    name = f"history_{actions}"
    with psycopg.connect(servers.database_url, autocommit=True) as session:
        session.execute(f"CREATE DATABASE {name}")
        url = f"{servers.database_url.rpartition('/')[0]}/{name}"
        try:
            with ProcessPoolExecutor(1, get_context("spawn"), initializer=_remember, initargs=(url, actions)) as pool:
                yield pool
        finally:
            session.execute(f"DROP DATABASE {name} WITH (FORCE)")


def decide(number: int, samples: int) -> float:
    """Seconds for one decision, of so many: from the due signal to the claimed action, in its transaction."""
    from orchestrator.k8s.target import TargetState
    from orchestrator.k8s.types import WorkloadKey, WorkloadObject
    from orchestrator.reconciler.admit import admit, due
    from signals import actors
    from signals.ingest import ingest
    from signals.types import Observation, Source, Target

    live = WorkloadObject(WorkloadKey("smartops-dev", "any"), "uid", "1", 1, 2, False, False, {}, 1, 2, 2, 2, 2)
    look = TargetState(seen=True, object=live)
    targets = [Target("default", "smartops-dev", f"w{number * samples + n}") for n in range(samples)]
    ingest(
        [Observation(Source.ANOMALY, target, "resource", uuid4().hex, True, {}, score=0.95) for target in targets],
        actors.token("benchmark"),
    )
    started = time.perf_counter()
    candidates, _ = due("default", samples, (), lambda _: look)
    admitted = [claim for candidate in candidates for claim in admit([candidate], actors.reconciler("benchmark"))]
    took = time.perf_counter() - started
    if len(admitted) != samples:
        raise RuntimeError(f"{len(admitted)} of {samples} signals were admitted, or fewer")
    return took / samples


def _remember(url: str, actions: int) -> None:
    """Runs first in the process."""
    os.environ |= {"DATABASE_URL": url, "DJANGO_SETTINGS_MODULE": "smartops.settings"}
    import django
    from django.core.management import call_command

    django.setup()
    call_command("migrate", verbosity=0)
    with psycopg.connect(url, autocommit=True) as session:
        fill(session, actions)
