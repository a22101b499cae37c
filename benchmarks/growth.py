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
from benchmarks.servers import Servers

WORKLOADS = 1000
MONTHS = 24
# Finished actions with their signals, evenly over the workloads and months, the youngest two hours old.
HISTORY = """
    BEGIN;
    SELECT smartops_create_partition(c.relname, a.attname, month)
    FROM pg_partitioned_table p JOIN pg_class c ON c.oid = p.partrelid
    JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = p.partattrs[0],
    generate_series(1, {months}) n, LATERAL (
        SELECT date_trunc('month', now() AT TIME ZONE 'UTC') - n * interval '1 month' AS month) m;
    ALTER TABLE orchestrator_action DISABLE TRIGGER USER;

    INSERT INTO orchestrator_workload (cluster, namespace, kind, name)
    SELECT 'default', 'smartops-dev', 'Deployment', 'w' || n FROM generate_series(0, {workloads} - 1) n;

    CREATE TEMPORARY TABLE past AS
    SELECT n, uuidv7(-age) AS signal, uuidv7(-age) AS action, now() - age AS at
    FROM generate_series(1, {actions}) n, LATERAL (SELECT interval '2 hours' + interval '{months} months'
        * ({actions} - n) / {actions} AS age) a;

    INSERT INTO signals_signal (id, source, cluster, namespace, workload, symptom, fingerprint, state, reason, message,
        payload, count, errors, first_seen_at, last_seen_at, not_before, closed_at)
    SELECT signal, 'anomaly', 'default', 'smartops-dev', 'w' || n % {workloads}, 'resource', md5(n::text), 'admitted',
        '', '', '{{}}', 1, 0, at, at, at, at
    FROM past;

    INSERT INTO orchestrator_action (id, workload_id, cluster, signal_id, origin, requested_by, moved_by,
        request_digest, type, params, justification, dry_run, verify, state, reason, message, details, epoch, attempts,
        created_at, updated_at, not_before, deadline_at, applied_at, finished_at, planned_uid, planned_resource_version,
        scale_increase, ambiguous)
    SELECT action, w.id, 'default', signal, 'closed_loop', 'rule:r', 'reconciler:r', '', 'SCALE', '{{"delta": 1}}', '',
        false, true, 'succeeded', '', '', '{{}}', 1, 1, at, at, at, at, at, at, 'uid', 'rv', 1, false
    FROM past JOIN orchestrator_workload w ON w.name = 'w' || n % {workloads};

    SET CONSTRAINTS ALL IMMEDIATE;
    ALTER TABLE orchestrator_action ENABLE TRIGGER USER;
    COMMIT;
"""


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

    live = WorkloadObject(WorkloadKey("smartops-dev", "any"), "uid", "1", 1, 2, False, False, {})
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
        session.execute(HISTORY.format(workloads=WORKLOADS, actions=actions, months=MONTHS))
        session.execute("VACUUM (ANALYZE)")
