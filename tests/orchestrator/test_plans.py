"""With many rows, the queries of the loop and of the lists find theirs by an index."""

import json
from collections.abc import Callable, Iterator
from typing import Any
from uuid import uuid4

import pytest
from django.db import connection, transaction
from django.http import HttpRequest
from django.test.utils import CaptureQueriesContext

from orchestrator.models import Action, Workload
from orchestrator.process import gauges
from orchestrator.queries import MOVE_ACTIONS
from orchestrator.reconciler.claim import claim_due
from orchestrator.reconciler.reclaim import cancel_resolved, expire_actions, reclaim
from signals import actors
from signals.ingest import ingest
from signals.models import Signal
from signals.queries import MOVE
from signals.types import Observation, Source, Target
from smartops.api.pagination import PageQuery, paginate
from tests.kit.history import rewritable
from tests.kit.verbs import history

pytestmark = pytest.mark.django_db

BIG = ("signals_signal", "signals_observation", "signals_problem", "signals_window", "orchestrator_action")
ROWS = """
    ALTER TABLE orchestrator_action DISABLE TRIGGER USER;  -- nobody needs their timelines

    INSERT INTO orchestrator_workload (cluster, namespace, kind, name)
    SELECT 'default', 'smartops-dev', 'Deployment', 'w' || n FROM generate_series(1, 20000) n;

    -- One in a hundred is open.
    INSERT INTO signals_signal (id, source, cluster, namespace, workload, symptom, fingerprint, state, reason, message,
                                payload, count, errors, resolved_at, closed_at)
    SELECT gen_random_uuid(), 'anomaly', 'default', 'smartops-dev', 'w' || n % 2000, 'resource', md5(n::text),
           CASE n % 100 WHEN 0 THEN 'pending' WHEN 1 THEN 'admitted' ELSE 'resolved' END, '', '', '{}', 1, 0,
           CASE WHEN n % 100 > 1 THEN now() END, CASE WHEN n % 100 > 1 THEN now() END
    FROM generate_series(1, 20000) n;

    INSERT INTO signals_observation (id, signal_id, window_id, firing, payload, posted_by)
    SELECT gen_random_uuid(), id, 'w1', true, '{}', 'token:an agent' FROM signals_signal;

    INSERT INTO signals_problem (fingerprint, source, cluster, kind, namespace, workload, symptom, signal_id)
    SELECT fingerprint, source, cluster, kind, namespace, workload, symptom, id FROM signals_signal;

    INSERT INTO signals_window (key, reported_at, signal_id, last)
    SELECT md5(id::text)::uuid, now(), id, 1 FROM signals_signal;

    -- One in a hundred is active, each on a workload of its own.
    INSERT INTO orchestrator_action (id, workload_id, cluster, signal_id, origin, requested_by, moved_by,
        request_digest, type, params, justification, dry_run, verify, state, reason, message, details, epoch, attempts,
        deadline_at, lease_until, applied_at, finished_at, planned_uid, planned_resource_version,
        scale_increase, ambiguous)
    SELECT uuidv7(), w.id, 'default', s.id, 'closed_loop', 'rule:a', 'reconciler:a', '', 'SCALE', '{}', '', false, true,
           state, '', '', '{}', 1, 1, now() + interval '1 hour',
           CASE state WHEN 'applying' THEN now() + interval '1 minute' END,
           CASE WHEN state IN ('verifying', 'succeeded') THEN now() - n * interval '1 minute' END,
           CASE state WHEN 'succeeded' THEN now() END, '', '', 1, false
    FROM generate_series(1, 20000) n
    JOIN (SELECT id, row_number() OVER () AS r FROM orchestrator_workload) w ON w.r = (n - 1) % 2000 + 1
    JOIN (SELECT id, row_number() OVER () AS r FROM signals_signal) s ON s.r = n
    CROSS JOIN LATERAL (SELECT CASE WHEN n > 200 THEN 'succeeded'
                        ELSE (ARRAY['pending', 'applying', 'verifying', 'needs_review'])[n % 4 + 1] END AS state) c;

    INSERT INTO orchestrator_activeaction (workload_id, action_id, dry_run)
    SELECT workload_id, id, dry_run FROM orchestrator_action WHERE finished_at IS NULL;

    SET CONSTRAINTS ALL IMMEDIATE;
    ALTER TABLE orchestrator_action ENABLE TRIGGER USER;
    ANALYZE orchestrator_workload, signals_signal, signals_observation, signals_problem, signals_window,
        orchestrator_action;
"""


# A vacuum in the middle of the tests would change the statistics, and the plans with them.
AUTOVACUUM = """
    SELECT format('ALTER TABLE %%s SET (autovacuum_enabled = %%s)', relid, %s::text)
    FROM unnest(%s::regclass[]) big, pg_partition_tree(big) WHERE isleaf
"""
# The tables and partitions that have the rows; the indexes of partitions, with the index of the table.
FULL = "SELECT relname FROM pg_class WHERE relkind = 'r' AND reltuples > 1000"
INDEXES = "SELECT inhrelid::regclass::text, inhparent::regclass::text FROM pg_inherits"


@pytest.fixture(scope="module")
def many_rows(django_db_setup: None, django_db_blocker: Any) -> Iterator[None]:
    """20,000 signals and as many actions, for all tests of this module."""
    with django_db_blocker.unblock(), connection.cursor() as cursor:
        switch_autovacuum("off")
        cursor.execute(ROWS)
        yield
        with rewritable():
            cursor.execute(
                "TRUNCATE orchestrator_workload, orchestrator_action, "
                "signals_signal, signals_observation, signals_problem, signals_window CASCADE"
            )
        switch_autovacuum("on")


def switch_autovacuum(how: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(AUTOVACUUM, [how, list(BIG)])
        for [statement] in cursor.fetchall():
            cursor.execute(statement)


def nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for inner in plan.get("Plans", []):
        yield from nodes(inner)


def indexes_used(work: Callable[[], Any]) -> set[str]:
    """Does the work, and explains each of its statements: none may read a big table from end to end."""
    with CaptureQueriesContext(connection) as captured:
        work()
    used: set[str] = set()
    with connection.cursor() as cursor:
        cursor.execute(FULL)
        full = {name for [name] in cursor.fetchall()}
        cursor.execute(INDEXES)
        table_index = dict(cursor.fetchall())
    for query in captured.captured_queries:
        if not query["sql"].lstrip().startswith(("SELECT", "WITH", "UPDATE", "INSERT")) or "pg_notify" in query["sql"]:
            continue
        with connection.cursor() as cursor:
            cursor.execute("EXPLAIN (FORMAT JSON) " + query["sql"])
            answer = cursor.fetchone()[0]
        plan = (json.loads(answer) if isinstance(answer, str) else answer)[0]["Plan"]
        for node in nodes(plan):
            scan = node["Node Type"] == "Seq Scan" and node.get("Relation Name") in full
            big = scan and node["Relation Name"].startswith(BIG)
            assert not big, f"reads all of {node.get('Relation Name')}: {query['sql'][:500]}"
            indexes = {node["Index Name"]} if "Index Name" in node else set(node.get("Conflict Arbiter Indexes", ()))
            used |= {table_index.get(name, name) for name in indexes}
    assert used
    return used


def a_workload() -> Workload:
    return Workload.objects.get(name="w7")


def observed(*windows: str, firing: bool = True) -> list[Observation]:
    target = Target("default", "smartops-dev", "w1")
    return [Observation(Source.ANOMALY, target, "resource", window, firing, {}, score=0.9) for window in windows]


def first_page(rows: Any, cursor: str | None = None) -> None:
    request = HttpRequest()
    request.META["HTTP_HOST"] = "localhost"
    paginate(request, rows, PageQuery(limit=50, cursor=cursor))


A_CURSOR, LAST_CURSOR = "AZ3-7wAAcACAAAAAAAAAAA", 21 * "_" + "w"


@pytest.mark.parametrize(
    ("work", "index"),
    [
        (lambda: claim_due("default", 8, "reconciler:test"), "action_due"),
        (lambda: Signal.due("default", 8), "signal_due"),
        (lambda: reclaim("default", "reconciler:test"), "action_leased"),
        (lambda: expire_actions("reconciler:test"), "action_deadline"),
        (lambda: cancel_resolved("default", "reconciler:test"), "action_deadline"),
        (lambda: gauges.measure("default"), "signal_due"),
        (lambda: gauges.measure("default"), "action_deadline"),
        (lambda: history(a_workload().target), "action_window"),
        (lambda: Workload.lock([Target("default", "smartops-dev", "w7")]), "one_workload"),
        (lambda: first_page(Signal.objects.all()), "signals_signal_pkey"),
        (lambda: first_page(Signal.objects.all(), A_CURSOR), "signals_signal_pkey"),
        (lambda: first_page(Signal.objects.filter(state="pending")), "signal_by_state"),
        (lambda: first_page(Action.objects.all(), LAST_CURSOR), "orchestrator_action_pkey"),
        (lambda: first_page(Action.objects.filter(state="succeeded")), "action_by_state"),
        (lambda: first_page(Action.objects.filter(state__in=["failed", "timed_out"])), "action_unsuccessful"),
    ],
)
def test_a_query_finds_its_rows_by_its_index(many_rows: None, work: Callable[[], Any], index: str) -> None:
    assert index in indexes_used(work)


@pytest.mark.parametrize(
    ("statement", "model", "to"),
    [
        (MOVE, Signal, {"state": "ignored", "reason": "", "message": "", "errors": 0, "closed": True}),
        (MOVE_ACTIONS, Action, {}),
    ],
)
def test_a_move_reads_the_rows_that_it_moves_and_not_all_that_wait(
    many_rows: None, statement: str, model: Any, to: dict[str, Any]
) -> None:
    """With the plan that a session keeps: it knows neither the ids nor their number."""
    with transaction.atomic(), connection.cursor() as cursor:
        oldest = str(model.objects.filter(state="pending").order_by("pk").values_list("pk", flat=True)[0])
        text = statement.replace("%(rows)s", "$1").replace("%(first)s", "$2")
        cursor.execute("SET LOCAL plan_cache_mode = force_generic_plan")
        cursor.execute(f"PREPARE move (json, uuid) AS {text}")
        rows = json.dumps([{"id": oldest, **to}])
        cursor.execute(f"EXPLAIN (ANALYZE, FORMAT JSON) EXECUTE move ('{rows}', '{oldest}')")
        answer = cursor.fetchone()[0]
        cursor.execute("DEALLOCATE move")
        transaction.set_rollback(True)

    read = [
        node["Actual Rows"] + node.get("Rows Removed by Filter", 0)
        for node in nodes((json.loads(answer) if isinstance(answer, str) else answer)[0]["Plan"])
        if node.get("Relation Name", "").startswith(model._meta.db_table) and "Scan" in node["Node Type"]
    ]
    assert 1 <= sum(read) <= 4


@pytest.mark.parametrize("size", [1, 500])
@pytest.mark.parametrize("firing", [True, False])
def test_ingest_reads_no_big_table_from_end_to_end(many_rows: None, firing: bool, size: int) -> None:
    """Its functions have plans of their own: the first ones, and from the sixth call on a common one."""
    before = whole_reads()
    for _ in range(7):
        ingest(observed(*(uuid4().hex for _ in range(size)), firing=firing), actors.token("an agent"))

    assert whole_reads() == before


@pytest.mark.parametrize("firing", [True, False])
def test_a_session_that_began_with_empty_tables_does_not_read_them_from_end_to_end(firing: bool) -> None:
    """It keeps the plans that it made when they were empty, and until they are analyzed no other are made."""
    with rewritable(), connection.cursor() as cursor:
        cursor.execute(f"TRUNCATE {', '.join(BIG)} CASCADE")
        cursor.execute("DISCARD PLANS")
    for _ in range(6):
        ingest(observed(uuid4().hex, firing=firing), actors.token("an agent"))

    before = whole_reads()
    ingest(observed(uuid4().hex, firing=firing), actors.token("an agent"))

    assert whole_reads() == before


def whole_reads() -> dict[str, int]:
    """The number of reads of each big table or partition from end to end, in this transaction."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT relname, seq_scan FROM pg_stat_xact_user_tables")
        return {name: reads for name, reads in cursor.fetchall() if name.startswith(BIG)}


def test_a_query_without_an_index_is_noticed(many_rows: None) -> None:
    with pytest.raises(AssertionError, match="reads all of signals_signal"):
        indexes_used(lambda: list(Signal.objects.filter(message="no index for this")))
