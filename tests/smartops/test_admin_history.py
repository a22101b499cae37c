"""Pages of the admin for tables with millions of rows, whose rows may have a megabyte each."""

from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from orchestrator.models import Action, Approval, AuditEvent, DecisionRecord, Verification, Workload
from signals.lib import history_admin
from signals.models import Observation, SettingChange, Signal
from signals.types import Kind
from tests.kit.forms import page
from tests.kit.signals import anomaly as one_of
from tests.kit.signals import post
from tests.kit.verbs import requested
from tests.smartops.console.scene import NAMESPACE, Hour, anomaly

HISTORY: list[Any] = [
    *(Workload, Action, DecisionRecord, Verification, Approval, AuditEvent, Signal, Observation, SettingChange)
]
LARGE = {
    Signal: ["payload"],
    Observation: ["payload"],
    Action: ["params", "details", "before", "change"],
    DecisionRecord: ["inputs", "verdicts"],
    Verification: ["baseline"],
    AuditEvent: ["details"],
    SettingChange: ["before", "after"],
}


@pytest.fixture
def olga(hour: Hour) -> Client:
    action = Action.objects.filter(workload__name="erp-simulator")[0]
    Approval.objects.create(action=action, digest="d", by="user:ben", decision="reject", reason="Not now.")
    client = Client()
    client.force_login(User.objects.create_superuser("olga"))
    return client


def statements(client: Client, url: str, **query: str) -> list[str]:
    with CaptureQueriesContext(connection) as queries:
        assert client.get(url, query).status_code == 200
    others = ("django_", "auth_", "smartops_session")
    return [one["sql"] for one in queries if not any(table in one["sql"] for table in others)]


def loaded(statement: str) -> set[str]:
    """The JSON columns that it returns whole, as table.column."""
    columns = statement.partition(" FROM ")[0]
    return {
        f'"{model._meta.db_table}"."{name}"'
        for model, names in LARGE.items()
        for name in names
        if f'"{model._meta.db_table}"."{name}",' in columns or columns.endswith(f'"{model._meta.db_table}"."{name}"')
    }


@pytest.mark.parametrize("model", HISTORY, ids=lambda one: one.__name__)
def test_a_list_loads_no_json_and_as_many_statements_for_one_row_as_for_many(olga: Client, model: Any) -> None:
    found = statements(olga, page(model, "changelist"))
    assert [loaded(one) for one in found if loaded(one)] == []
    assert len(found) <= 2, "the count, to a limit, and the rows"
    assert "LIMIT" in found[0]


@pytest.mark.parametrize("model", HISTORY, ids=lambda one: one.__name__)
def test_the_page_of_a_row_loads_no_json_whole(olga: Client, model: Any) -> None:
    for row in model.objects.only("pk")[:2]:
        found = statements(olga, page(model, "change", row.pk))
        assert [loaded(one) for one in found if loaded(one)] == []


def test_a_large_payload_is_shown_by_its_beginning(olga: Client, hour: Hour) -> None:
    hour.signal(anomaly("frontend", "other", 0.1, "big", dump="x" * 950_000))
    signal = Signal.objects.get(symptom="other")
    for row in (signal, Observation.objects.get(signal=signal)):
        shown = olga.get(page(type(row), "change", row.pk)).content.decode()
        assert f"The first {history_admin.MAX_SHOWN} characters." in shown
        assert len(shown) < 100_000


@pytest.mark.parametrize("model", HISTORY, ids=lambda one: one.__name__)
def test_a_search_compares_indexed_columns_only(olga: Client, model: Any) -> None:
    signal = Signal.objects.get(symptom="memory_leak", state="admitted")
    for term in (
        f"{NAMESPACE}/erp-simulator",
        f"default:{NAMESPACE}/",
        str(signal.pk),
        "erp",
        "100%",
        "a b",
        "x" * 500,
    ):
        found = statements(olga, page(model, "changelist"), q=term)
        assert not [one for one in found if "LIKE" in one.upper() or "UPPER(" in one.upper()]


@pytest.mark.parametrize(
    ("model", "count"),
    [
        (Workload, 1),
        (Action, 2),
        (DecisionRecord, 2),
        (Verification, 2),
        (Approval, 1),
        (AuditEvent, 5),
        (Signal, 2),
        (Observation, 4),
    ],
)
def test_a_search_finds_the_rows_of_a_workload(olga: Client, model: Any, count: int) -> None:
    answer = olga.get(page(model, "changelist"), {"q": f"{NAMESPACE}/erp-simulator"})
    assert answer.context["cl"].result_count == count
    assert olga.get(page(model, "changelist"), {"q": "default:erp/erp-simulator"}).context["cl"].result_count == 0
    assert olga.get(page(model, "changelist"), {"q": "nothing"}).context["cl"].result_count == 0


@pytest.mark.parametrize("model", [Workload, Action, Signal])
def test_a_search_with_a_kind_finds_the_rows_of_this_kind(olga: Client, model: Any) -> None:
    action = requested("erp-simulator", kind=Kind.STATEFUL_SET)
    post(one_of("", target=action.workload.target))

    def found(term: str) -> set[str]:
        rows = olga.get(page(model, "changelist"), {"q": term}).context["cl"].result_list
        return {one.workload.kind if model is Action else one.kind for one in rows}

    assert found(f"{NAMESPACE}/erp-simulator") == {"Deployment", "StatefulSet"}
    assert found(f"StatefulSet {NAMESPACE}/erp-simulator") == {"StatefulSet"}
    assert found(f"default:StatefulSet {NAMESPACE}/") == {"StatefulSet"}
    assert found(f"DaemonSet {NAMESPACE}/erp-simulator") == found(f"Pod {NAMESPACE}/erp-simulator") == set()


def test_a_search_finds_a_row_by_its_id(olga: Client) -> None:
    action = Action.objects.filter(signal__isnull=False)[0]
    for model in (Action, DecisionRecord, AuditEvent):
        assert olga.get(page(model, "changelist"), {"q": str(action.pk)}).context["cl"].result_count > 0
    assert olga.get(page(Action, "changelist"), {"q": str(action.signal_id)}).context["cl"].result_count == 1


@pytest.mark.parametrize("model", HISTORY, ids=lambda one: one.__name__)
def test_a_list_offers_no_order_and_no_filter_without_an_index(olga: Client, model: Any) -> None:
    changes = olga.get(page(model, "changelist")).context["cl"]
    assert list(changes.sortable_by) == []
    assert changes.date_hierarchy is None
    filters = {getattr(one, "parameter_name", one) for one in changes.list_filter}
    assert filters <= {"state", "table_name", "month"}
    assert filters - {"month"} <= {index.fields[0] for index in model._meta.indexes}


def test_a_list_counts_to_a_limit(olga: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history_admin, "MAX_COUNTED", 5)
    assert olga.get(page(AuditEvent, "changelist")).context["cl"].result_count == 5


@pytest.mark.parametrize("month", ["x", "2026-13", "0001-01", "9999-12"])
def test_a_month_without_rows_has_an_empty_list(olga: Client, month: str) -> None:
    assert olga.get(page(SettingChange, "changelist"), {"month": month}).context["cl"].result_count == 0
