"""With many rows, no list of the console and of the API reads all of a table that grows with time, or sorts all of its
rows. With each filter alone, also with a value that matches nothing, it compares a bounded number of them."""

import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlencode

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django_filters import FilterSet

from orchestrator.models import ActionState
from signals.models import Rule, SignalState
from smartops import scan
from smartops.audit import merge
from smartops.audit.entries import Kind as EntryKind
from smartops.console import rules
from smartops.console.actions import ActionFilter
from smartops.console.approvals import ApprovalFilter
from smartops.console.signals import SignalFilter
from smartops.people.roles import Place, Role
from tests.kit.api import bearer
from tests.kit.history import rewritable
from tests.kit.people import grant, person
from tests.kit.visitor import Visitor
from tests.orchestrator.test_plans import AUTOVACUUM, FULL, ROWS, nodes

pytestmark = pytest.mark.django_db

SCANNED = 100  # rows of a source of the audit, or of a list, that are compared for a page
READ = 1500  # rows of one statement; a few workloads have as many
SORTED = 2000  # rows; a page has 50
EARLY, LATE = "01900000-0000-7000-8000-000000000000", "09a00000-0000-7000-8000-000000000000"
OF_WORKLOADS = ("orchestrator_observedworkload", "signals_problem")
GROWING = (
    *("signals_signal", "signals_observation", "signals_window", "signals_settingchange"),
    *("orchestrator_action", "orchestrator_decisionrecord", "orchestrator_auditevent", "orchestrator_approval"),
    *("orchestrator_refusedrequest", "smartops_signin", "smartops_auditexport"),
)
LARGE = (*OF_WORKLOADS, *GROWING)
FILLED = ("orchestrator_workload", "orchestrator_activeaction", *LARGE)
MORE = """
    UPDATE orchestrator_workload SET namespace = 'ns-' || id % 50;
    UPDATE orchestrator_action SET params = '{"replicas": 2}';
    UPDATE signals_signal SET id = uuidv7(-interval '1 minute' * substr(workload, 2)::int),
        namespace = 'ns-' || substr(workload, 2)::int % 50;

    INSERT INTO orchestrator_decisionrecord (id, phase, signal_id, action_id, cluster, kind, namespace, workload,
        requested_by, outcome, reason, message, inputs, verdicts)
    SELECT uuidv7(-interval '1 minute' * n), 'admit', signal_id, CASE WHEN n % 2 = 0 THEN id END, 'default',
        'Deployment', 'ns-' || n % 50, 'w' || n % 2000, CASE n % 50 WHEN 0 THEN 'token:ana' ELSE 'rule:a' END, 'allow',
        CASE n % 50 WHEN 1 THEN 'Frozen' ELSE '' END, '', '{}', '[]'
    FROM (SELECT *, row_number() OVER () AS n FROM orchestrator_action) a;

    INSERT INTO orchestrator_auditevent (action_id, at, from_state, to_state, epoch, reason, message, details, actor)
    SELECT id, now() - n * interval '1 minute', 'pending', state, 1, CASE n % 50 WHEN 1 THEN 'Frozen' ELSE '' END, '',
        '{}', CASE n % 50 WHEN 0 THEN 'token:ana' ELSE 'reconciler:r' END
    FROM (SELECT *, row_number() OVER () AS n FROM orchestrator_action) a;

    INSERT INTO orchestrator_approval (id, action_id, digest, by, decision, reason)
    SELECT uuidv7(-interval '1 minute' * n), id, 'd', 'user:u' || n % 50, 'approve', ''
    FROM (SELECT id, row_number() OVER () AS n FROM orchestrator_action LIMIT 10000) a;

    INSERT INTO signals_settingchange
        (at, table_name, key, operation, actor, login, address, reason, before, after, transaction_id)
    SELECT now() - n * interval '1 minute', (ARRAY['guardrails_guardrailsetting', 'signals_rule', 'smartops_token',
        'auth_user'])[n % 4 + 1], n % 500, 'update', 'user:u' || n % 50, 'plans', '', 'why', '{}', '{}', n
    FROM generate_series(1, 10000) n;

    INSERT INTO orchestrator_refusedrequest (requested_by, hour, reason, cluster, kind, namespace, name, message, count,
        first_at, last_at)
    SELECT 'token:t' || n % 50, date_trunc('hour', at), 'ScopeForbidden', 'default', 'Deployment', 'ns-' || n % 50,
        'w' || n, 'no', 1, at, at
    FROM generate_series(1, 10000) n, LATERAL (SELECT now() - n * interval '1 minute' AS at) t;

    INSERT INTO smartops_signin (at, event, actor, address, reason, count)
    SELECT now() - n * interval '1 minute', 'signed in', 'user:u' || n % 50, '', '', 1 FROM generate_series(1, 10000) n;

    INSERT INTO smartops_auditexport (at, actor, address, format, search, outcome, rows, sha256, ended_at)
    SELECT now() - n * interval '1 minute', 'user:u' || n % 50, '', 'csv', '{}', 'complete', 1, '', now()
    FROM generate_series(1, 10000) n;

    INSERT INTO orchestrator_observedworkload (cluster, kind, namespace, name, uid, generation, replicas, ready,
        available, updated, rollout, rollout_message, rollout_by, paused, deleting, held, problem, own, owners, digest)
    SELECT 'default', 'Deployment', 'ns-' || n % 50, 'w' || n, 'u', 1, 2, 2, 2, 2, 'complete', '', '', false, false, '',
        '', '', '[]', ''
    FROM generate_series(1, 10000) n;
"""
LISTS = (
    *("actions/", "actions/?state=active", "actions/?state=succeeded", "actions/?cluster=default&namespace=ns-7"),
    *("actions/?q=w7", "actions/?q=w1234", "actions/?state=unsuccessful&since=week"),
    *("signals/", "signals/?state=open", "signals/?state=waiting", "signals/?cluster=default&namespace=ns-7"),
    *("signals/?q=w7", "signals/?q=w1234", "signals/?state=resolved&since=day"),
    *("workloads/", "workloads/?namespace=ns-7", "workloads/?cluster=default", "workloads/?q=w77"),
    *("workloads/?condition=unhealthy", "approvals/", "approvals/?namespace=ns-7&cluster=default", "approvals/?q=w77"),
    *("audit/", "audit/?actor=user:u7", "audit/?actor=ana", "audit/?reason=Frozen", "audit/?reason=because"),
    *("audit/?q=ns-7/w7", "audit/?q=ns-7/", "audit/?q=guardrails_guardrailsetting/7", "audit/?kind=setting"),
    *("audit/?since=2026-01-01&until=2026-02-01", "audit/?q=019a0000-0000-7000-8000-000000000000"),
    *("audit/?after=1700000000000000.20.7", "audit/?before=4000000000000000.60.7"),
)


@pytest.fixture(scope="module", autouse=True)
def many_rows(django_db_setup: None, django_db_blocker: Any) -> Iterator[None]:
    """Tens of thousands of rows in each table, for all tests of this module."""

    def autovacuum(how: str) -> None:
        cursor.execute(AUTOVACUUM, [how, list(FILLED)])
        for [statement] in cursor.fetchall():
            cursor.execute(statement)

    with django_db_blocker.unblock(), connection.cursor() as cursor:
        autovacuum("off")
        with rewritable():
            cursor.execute(ROWS)
        with rewritable():
            cursor.execute(MORE)
        cursor.execute(f"ANALYZE {', '.join(FILLED)}")
        yield
        with rewritable():
            cursor.execute("DELETE FROM signals_settingchange WHERE login = 'plans'")  # others are of the migrations
            cursor.execute(f"TRUNCATE {', '.join(one for one in FILLED if one != 'signals_settingchange')} CASCADE")
        autovacuum("on")


@pytest.fixture(params=["everything", "one namespace"])
def reader(request: pytest.FixtureRequest) -> User:
    """Who reads all of it, and who reads the fiftieth part."""
    if request.param == "everything":
        return User.objects.create_superuser("ana")
    found = person("ben")
    grant(found, Role.VIEWER, Place("default", "ns-7"))
    return found


@pytest.mark.parametrize("address", LISTS)
def test_a_list_finds_its_rows_by_an_index(reader: User, address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(merge, "SCANNED", SCANNED)
    with CaptureQueriesContext(connection) as captured:
        assert Visitor(reader).get(f"/console/{address}").status_code == 200

    # A part of a name, and a condition, are compared with those of all workloads.
    tables = GROWING if "q=" in address or "condition=" in address else LARGE
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL random_page_cost = 1.1")  # as on every disk of today
        cursor.execute(FULL)
        full = {name for [name] in cursor.fetchall() if name.startswith(tables)}
    statements = [one["sql"] for one in captured if one["sql"].startswith(("SELECT", "WITH"))]
    assert not [f"{problem}: {one[:400]}" for one in statements for problem in faults(one, full)]


def faults(statement: str, full: set[str]) -> Iterator[str]:
    with connection.cursor() as cursor:
        cursor.execute("EXPLAIN (FORMAT JSON) " + statement)
        answer = cursor.fetchone()[0]
    plan = (json.loads(answer) if isinstance(answer, str) else answer)[0]["Plan"]
    for node in nodes(plan):
        if node["Node Type"] == "Seq Scan" and node["Relation Name"] in full:
            yield f"reads all of {node['Relation Name']}"
        if node["Node Type"] == "Sort" and node["Plans"][0]["Plan Rows"] > SORTED:
            yield f"sorts {node['Plans'][0]['Plan Rows']} rows"


def alone(filters: type[FilterSet]) -> Iterator[str]:
    """Each filter: each state, two of the values that the form offers for others, and a text that nothing has."""
    for name, one in filters.base_filters.items():
        offered = [value for value, _ in one.extra.get("choices", ())] or ["nothing-has-this"]
        yield from (
            urlencode({name: value}) for value in (offered if name == "state" else sorted({offered[0], offered[-1]}))
        )


CONSOLE = (
    *(f"actions/?{query}" for query in alone(ActionFilter)),
    *("actions/?state=succeeded&type=PATCH", "actions/?state=failed&kind=DaemonSet", "actions/?q=w123&type=PATCH"),
    *("actions/?q=w7&verification=FAILED", f"actions/?before={LATE}&type=PATCH", f"actions/?after={EARLY}&type=PATCH"),
    *(f"signals/?{query}" for query in alone(SignalFilter)),
    *("signals/?state=resolved&reason=Frozen", "signals/?q=w123&source=rca", "signals/?namespace=ns-7&source=rca"),
    *(f"signals/?before={LATE}&source=rca", f"signals/?after={EARLY}&source=rca"),
    *(f"approvals/?{query}" for query in alone(ApprovalFilter)),
    *(f"audit/?{urlencode({'kind': kind})}" for kind in EntryKind),
    *("audit/?actor=nobody", "audit/?actor=user:nobody", "audit/?reason=nothing", "audit/?reason=CooldownActive"),
    *("audit/?q=nothing", "audit/?q=nothing/nothing", "audit/?q=nothing/", "rules/", "rules/{rule}/"),
)
API = (
    *(f"actions?state={state}" for state in ActionState),
    *("actions?type=PATCH", "actions?kind=DaemonSet", "actions?workload=nothing", "actions?namespace=nothing"),
    *("actions?cluster=nothing", "actions?workload=w123&type=PATCH", "actions?state=succeeded&type=PATCH"),
    *(f"signals?state={state}" for state in SignalState),
    *("signals?reason=Frozen", "signals?source=rca", "signals?kind=DaemonSet", "signals?workload=nothing"),
    *("signals?namespace=nothing", "signals?cluster=nothing", "signals?workload=w123&source=rca"),
    *("approvals", "approvals?type=PATCH"),
)


@pytest.mark.parametrize("address", CONSOLE)
def test_a_list_compares_a_bounded_number_of_rows(reader: User, address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(merge, "SCANNED", SCANNED)
    monkeypatch.setattr(scan, "MAX_COMPARED", SCANNED)
    monkeypatch.setattr(rules, "COUNTED", SCANNED)
    path = address.format(rule=Rule.objects.earliest("pk").pk)
    with CaptureQueriesContext(connection) as captured:
        assert Visitor(reader).get(f"/console/{path}").status_code == 200

    assert not excess(captured)


@pytest.mark.parametrize("namespaces", [[], ["ns-7"]])
@pytest.mark.parametrize("address", API)
def test_a_list_of_the_api_compares_a_bounded_number_of_rows(
    address: str, namespaces: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scan, "MAX_COMPARED", SCANNED)
    agent = bearer("agent", namespaces=namespaces)
    with CaptureQueriesContext(connection) as captured:
        assert agent.get(f"/v1/{address}").status_code in (200, 403)

    assert not excess(captured)


def excess(captured: CaptureQueriesContext) -> list[str]:
    """The statements that read more rows of a table that grows."""
    statements = [one["sql"] for one in captured if one["sql"].lstrip().startswith(("SELECT", "WITH"))]
    return [f"reads {number} rows: {one[:600]}" for one in statements if (number := rows_read(one)) > READ]


def rows_read(statement: str) -> int:
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL random_page_cost = 1.1")
        cursor.execute("EXPLAIN (ANALYZE, TIMING OFF, FORMAT JSON) " + statement)
        answer = cursor.fetchone()[0]
    plan = (json.loads(answer) if isinstance(answer, str) else answer)[0]["Plan"]
    removed = ("Rows Removed by Filter", "Rows Removed by Index Recheck")
    return sum(
        int(node["Actual Loops"] * (node["Actual Rows"] + sum(node.get(name, 0) for name in removed)))
        for node in nodes(plan)
        if node.get("Relation Name", "").startswith(GROWING)
    )
