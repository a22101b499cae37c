"""A database with years of history: `HISTORY` fills it, and `python -m benchmarks.history DIRECTORY` reports its size,
and what work on it costs. The server's files are in the directory, and stay there.

Each action has its signal, its decision with inputs of the usual size, three rows of the timeline, and a verification.
"""

import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from uuid import uuid4

import psycopg

from benchmarks.processes import cpu_seconds
from smartops.dev import postgres

MONTHS = 24
WORKLOADS = 1000
ROUNDS = 100
PARTITIONS = """
    SELECT smartops_create_partition(c.relname, a.attname, month)
    FROM pg_partitioned_table p JOIN pg_class c ON c.oid = p.partrelid
    JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = p.partattrs[0],
    generate_series(1, {months}) n, LATERAL (
        SELECT date_trunc('month', now() AT TIME ZONE 'UTC') - n * interval '1 month' AS month) m
    WHERE to_regclass(c.relname || to_char(month, '_YYYY_MM')) IS NULL;
"""
# Finished actions with their signals, evenly over the workloads and months, the youngest two hours old.
ACTIONS = """
    INSERT INTO orchestrator_workload (cluster, namespace, kind, name)
    SELECT 'default', 'smartops-dev', 'Deployment', 'w' || n FROM generate_series(0, {workloads} - 1) n
    ON CONFLICT DO NOTHING;

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
        before, scale_increase, ambiguous)
    SELECT action, w.id, 'default', signal, 'closed_loop', 'rule:r', 'reconciler:r', '', 'SCALE', '{{"delta": 1}}', '',
        false, true, 'succeeded', '', '', '{{}}', 1, 1, at, at, at, at, at, at, 'uid', 'rv',
        '{{"replicas": 2}}', 1, false
    FROM past JOIN orchestrator_workload w ON w.name = 'w' || n % {workloads};
"""
EVIDENCE = """
    INSERT INTO orchestrator_decisionrecord (id, phase, signal_id, action_id, cluster, kind, namespace, workload,
        requested_by, outcome, reason, message, inputs, verdicts, created_at)
    SELECT action, 'admit', signal, action, 'default', 'Deployment', 'smartops-dev', 'w' || n % {workloads}, 'rule:r',
        'allow', '', '', inputs, verdicts, at
    FROM past, (SELECT inputs, verdicts FROM usual) usual;

    INSERT INTO orchestrator_auditevent (action_id, at, from_state, to_state, epoch, reason, message, details, actor)
    SELECT action, at, lag, state, 1, '', 'Applied as generation 7.', '{{}}', 'reconciler:host-1/1'
    FROM past, (VALUES ('', 'applying'), ('applying', 'verifying'), ('verifying', 'succeeded')) moves(lag, state);

    INSERT INTO orchestrator_verification (action_id, status, message, generation, baseline, stabilization_seconds,
        started_at, finished_at, desired_replicas, ready_replicas, available_replicas, updated_replicas,
        observed_generation)
    SELECT action, 'SUCCESS', 'The rollout is complete.', 7, '{{"replicas": 2}}', 30, at, at, 3, 3, 3, 3, 7 FROM past;
"""
BEGIN = "BEGIN; ALTER TABLE orchestrator_action DISABLE TRIGGER USER;"
# What an earlier run has decided or stored.
END_EARLIER = """
    UPDATE orchestrator_action SET state = 'cancelled', finished_at = now(), lease_until = NULL
    WHERE finished_at IS NULL;
    UPDATE signals_signal SET closed_at = now() WHERE state = 'admitted' AND closed_at IS NULL;
    UPDATE signals_signal SET state = 'resolved', reason = 'SignalResolved', closed_at = now(), resolved_at = now()
    WHERE state = 'pending';
"""
END = "SET CONSTRAINTS ALL IMMEDIATE; ALTER TABLE orchestrator_action ENABLE TRIGGER USER; COMMIT;"


def fill(session: psycopg.Connection, actions: int, *, evidence: bool = False) -> None:
    """In one transaction: a database that was migrated, and has no action yet. `evidence` needs the inputs of a
    decision in the temporary table `usual`."""
    text = PARTITIONS + BEGIN + ACTIONS + (EVIDENCE if evidence else "") + END
    session.execute(text.format(workloads=WORKLOADS, actions=actions, months=MONTHS).encode())
    session.execute("VACUUM (ANALYZE)")


class Meter:
    """Times of work on a server, with the processor time of this process and what it starts, and of the server. Other
    programs make the elapsed time longer."""

    def __init__(self, server: postgres.Server) -> None:
        self._server = server.pid

    def report(self, name: str, work: Callable[[], object], count: int = 1) -> None:
        """`count`: how often `work` does what is named."""
        began, own, server = time.perf_counter(), sum(os.times()[:4]), cpu_seconds(self._server)
        work()
        taken = (time.perf_counter() - began, sum(os.times()[:4]) - own, cpu_seconds(self._server) - server)
        elapsed, own, server = (one / count for one in taken)
        print(f"{name}: {shown(elapsed)}; processor: {shown(own)}, PostgreSQL {shown(server)}", flush=True)


def shown(seconds: float) -> str:
    return f"{seconds:.1f} s" if seconds >= 1 else f"{1000 * seconds:.2f} ms"


def main(directory: Path, actions: int) -> None:
    server = postgres.start(directory / "postgres")
    url, meter = server.uri, Meter(server)
    os.environ |= {"DATABASE_URL": url, "DJANGO_SETTINGS_MODULE": "smartops.settings", "SMARTOPS_INSECURE_HTTP": "1"}
    os.environ["SMARTOPS_LOG_LEVEL"] = "WARNING"  # a line for each transition would be among the figures
    import django
    from django.core.management import call_command

    django.setup()
    call_command("migrate", verbosity=0)
    from benchmarks.growth import decide
    from orchestrator.models import Action, DecisionRecord

    if not Action.objects.exists():
        with psycopg.connect(url, autocommit=True) as session:
            fill_first(session)
            decide(0, 1)
            one = DecisionRecord.objects.latest("pk")
            session.execute("CREATE TEMPORARY TABLE usual (inputs jsonb, verdicts jsonb)")
            session.execute("INSERT INTO usual VALUES (%s, %s)", [json.dumps(one.inputs), json.dumps(one.verdicts)])
            meter.report("fill", lambda: fill(session, actions, evidence=True))
    measure(url, meter, directory, decide)


def fill_first(session: psycopg.Connection) -> None:
    """The partitions, before the first row of their months."""
    session.execute(PARTITIONS.format(months=MONTHS).encode())


def store(size: int) -> None:
    """ROUNDS batches of so many observations, each of which opens a signal."""
    from signals import actors
    from signals.ingest import ingest
    from signals.types import Observation, Source, Target

    for _ in range(ROUNDS):
        targets = [Target("default", "elsewhere", uuid4().hex) for _ in range(size)]
        ingest(
            [Observation(Source.ANOMALY, one, "resource", uuid4().hex, True, {}, score=0.95) for one in targets],
            actors.token("benchmark"),
        )


def measure(url: str, meter: Meter, directory: Path, decide: Callable[[int, int], float]) -> None:
    from benchmarks.screens import measure as screens

    sizes = """
        SELECT p.partrelid::regclass::text, pg_size_pretty(sum(pg_total_relation_size(relid)))
        FROM pg_partitioned_table p, pg_partition_tree(p.partrelid) GROUP BY 1 ORDER BY 1
    """
    with psycopg.connect(url, autocommit=True) as session:
        for name, size in session.execute(sizes).fetchall():
            print(f"{name}: {size}")
        session.execute(END_EARLIER)
    for number in range(4):
        meter.report("a signal and its decision", partial(decide, number, 100), 100)
    for size in (1, 500):
        store(size)
        meter.report(f"a batch of {size}", partial(store, size), ROUNDS)
    for path, (seconds, queries) in screens().items():
        print(f"{path}: {1000 * seconds:.0f} ms, {queries} queries", flush=True)
    exports = directory / "exports"
    exports.mkdir(exist_ok=True)
    upgrade(meter)
    dump = directory / "dump"
    pg_dump = [str(postgres.binary("pg_dump")), "--format=custom", "--compress=1", "--file", str(dump), url]
    meter.report("pg_dump", lambda: subprocess.run(pg_dump, check=True))
    restore(url, dump, meter)
    meter.report("retain", lambda: manage("retain", str(exports)))
    print(f"memory of a command: {resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024:.0f} MB at most")


def manage(*arguments: str) -> None:
    subprocess.run([sys.executable, "manage.py", *arguments], check=True)


def upgrade(meter: Meter) -> None:
    """Without a migration, and with the changes that one makes of a large table, which are removed again."""
    from django.apps import apps
    from django.db import connection, models
    from django.db.migrations import AddField, RemoveField
    from django.db.migrations.state import ProjectState

    from signals.lib.partition_index import AddIndexByPartition

    meter.report("migrate with nothing to do", lambda: manage("migrate", "--verbosity=0"))
    state = ProjectState.from_apps(apps)
    for name in ("Action", "DecisionRecord"):
        with connection.schema_editor(atomic=False) as editor:
            grown = state.clone()
            column = AddField(name, "added", models.TextField(db_default=""))
            column.state_forwards("orchestrator", grown)
            work = partial(column.database_forwards, "orchestrator", editor, state, grown)
            meter.report(f"a column of {name}", work)
            RemoveField(name, "added").database_forwards("orchestrator", editor, grown, state)
            index = AddIndexByPartition(name, models.Index(fields=["reason", "id"], name="added"))
            meter.report(f"an index of {name}", partial(index.database_forwards, "orchestrator", editor, state, state))
            editor.execute("DROP INDEX added")


def restore(url: str, dump: Path, meter: Meter) -> None:
    """Into a database of its own, which is dropped."""
    restored = f"{url.rpartition('/')[0]}/restored"
    pg_restore = [str(postgres.binary("pg_restore")), "--exit-on-error", "--no-owner", "--dbname", restored, str(dump)]
    with psycopg.connect(url, autocommit=True) as session:
        session.execute("CREATE DATABASE restored")
        meter.report("pg_restore", lambda: subprocess.run(pg_restore, check=True))
        session.execute("DROP DATABASE restored")


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 3_000_000)
