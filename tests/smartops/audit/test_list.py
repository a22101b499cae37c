"""The list of the audit: complete, in order, and nothing that a person may not see."""

from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from orchestrator.models import AuditEvent
from signals.lib.acting import acting
from smartops import tokens
from smartops.audit import merge
from smartops.audit.entries import Entry, Kind, Position
from smartops.audit.merge import page, page_above, stream
from smartops.audit.search import Search
from smartops.people.access import Access, Place, Right
from smartops.tokens import Scope
from tests.smartops.audit import rows
from tests.smartops.audit.rows import ADMIN, MILLISECOND, NOBODY, NOON, VIEWER, listed, reader_of

pytestmark = pytest.mark.django_db

ALL = ["decision", "transition", "approval", "setting", "refused request", "sign-in", "export"]
IN_PLACES = ALL[:5]


def walk(access: Access, search: Search, size: int) -> list[Entry]:
    """All pages, by the links to the next ones as a browser has them."""
    found: list[Entry] = []
    before: Position | None = None
    while True:
        one = page(access, search, before, size)
        found += one.entries
        assert len(one.entries) <= size
        if one.older is None:
            return found
        before = Position.parse(str(one.older))


def climb(search: Search, start: Position, size: int) -> list[Entry]:
    """All pages above an entry, by the links to the newer ones: each entry once."""
    found: dict[Position, Entry] = {}
    after: Position | None = start
    while after is not None:
        one = page_above(ADMIN, search, Position.parse(str(after)), size)
        assert len(one.entries) <= size
        assert list(one.entries) == sorted(one.entries, key=lambda entry: entry.position, reverse=True)
        above = {entry.position: entry for entry in one.entries if entry.position > start}
        found = above | {place: entry for place, entry in found.items() if place not in above}
        after = one.newer
    return list(found.values())


@pytest.mark.parametrize("scanned", [3, 10_000])
@pytest.mark.parametrize("size", [3, 50])
def test_the_pages_have_each_row_of_an_instant_once(size: int, scanned: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also if they end among rows of one instant, and if only a few rows are compared for each."""
    monkeypatch.setattr(merge, "SCANNED", scanned)
    for at in (NOON, NOON, NOON + MILLISECOND / 2, NOON + MILLISECOND, NOON - timedelta(days=40)):
        rows.one_of_each(at)
    rows.moved(rows.an_action(), NOON, message="half of them")
    end = NOON + MILLISECOND * 2  # the rows of the migrations are newer
    kinds = frozenset({Kind.TRANSITION, Kind.SIGN_IN})

    for search in (Search(until=end), Search(until=end, reason="half"), Search(until=end, kinds=kinds)):
        everything = list(stream(ADMIN, search, whole=False))
        assert walk(ADMIN, search, size) == everything
        assert everything == sorted(everything, key=lambda entry: entry.position, reverse=True)
        assert len({entry.position for entry in everything}) == len(everything)
        for start in (len(everything) - 1, len(everything) // 2):
            assert climb(search, everything[start].position, size) == everything[:start], "and on the way back"
    assert len(list(stream(ADMIN, Search(until=end), whole=False))) == 36


def test_a_stream_reads_in_batches_that_share_no_row(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = Search(until=NOON + timedelta(hours=1))
    for at in (NOON, NOON, NOON, NOON - timedelta(days=40)):
        rows.one_of_each(at)
    expected = list(stream(VIEWER, whole, whole=False))
    monkeypatch.setattr(merge, "BATCH", 2)
    monkeypatch.setattr(merge, "BATCH_SCANNED", 1)

    assert list(stream(VIEWER, whole, whole=False)) == expected
    assert len(expected) == 20


def test_a_page_takes_a_constant_number_of_queries() -> None:
    def count() -> int:
        with CaptureQueriesContext(connection) as captured:
            page(reader_of("erp"), Search(reason="slow"))
        return len(captured)

    rows.one_of_each(NOON)
    few = count()
    for number in range(60):
        rows.moved(rows.an_action(name=f"w{number}"), NOON, message="slow")

    assert count() == few <= 2 * len(ALL)


@pytest.mark.parametrize(
    ("access", "expected"),
    [
        (ADMIN, ALL),
        (VIEWER, IN_PLACES),
        (reader_of("erp"), IN_PLACES),
        (reader_of("", "default"), IN_PLACES),
        (reader_of("erp", "other"), ["setting"]),  # the limit is for the namespace in all clusters
        (reader_of("crm"), []),
        (Access({Right.ADMINISTER: (Place("default", "erp"),)}), []),
        (NOBODY, []),
    ],
)
def test_a_person_sees_what_their_places_have(access: Access, expected: list[str]) -> None:
    rows.one_of_each(NOON)

    assert listed(access) == expected
    search = Search(since=NOON, until=NOON + MILLISECOND)
    assert [entry.kind for entry in stream(access, search, whole=True)] == expected


@pytest.mark.parametrize(
    ("table", "row", "seen_by_erp"),
    [
        ("guardrails_freeze", {"cluster": "", "kind": "", "namespace": "", "workload": ""}, True),
        ("guardrails_freeze", {"cluster": "default", "kind": "", "namespace": "", "workload": ""}, True),
        ("guardrails_freeze", {"cluster": "other", "kind": "", "namespace": "", "workload": ""}, False),
        ("guardrails_freeze", {"cluster": "", "kind": "", "namespace": "crm", "workload": ""}, False),
        ("signals_rule", {"name": "scale-up", "namespace": ""}, True),
        ("signals_rule", {"name": "scale-up", "namespace": "erp"}, True),
        ("signals_rule", {"name": "scale-up", "namespace": "crm"}, False),
        ("signals_alias", {"cluster": "", "namespace": "", "to_namespace": "crm"}, False),
        ("smartops_token", {"name": "ana", "namespaces": ["erp"]}, False),
        ("auth_user", {"username": "bo"}, False),
    ],
)
@pytest.mark.parametrize("when", ["before", "after"])
def test_a_setting_is_seen_where_it_applies_or_applied(
    table: str, row: dict[str, Any], seen_by_erp: bool, when: str
) -> None:
    operation = "delete" if when == "before" else "insert"
    rows.set_to(NOON, table, operation=operation, **{"after": None, when: row})

    assert bool(listed(reader_of("erp"))) == seen_by_erp
    assert len(listed(ADMIN)) == 1


def test_a_setting_that_moves_to_another_place_is_for_those_who_may_read_both() -> None:
    place = {"cluster": "", "kind": "", "workload": ""}
    rows.set_to(NOON, operation="update", before=place | {"namespace": "erp"}, after=place | {"namespace": "crm"})

    assert [listed(reader_of(namespace)) for namespace in ("erp", "crm", "hr")] == [[], [], []]
    assert listed(Access({Right.READ: (Place("", "crm"), Place("", "erp"))})) == ["setting"]


def test_a_refusal_without_a_target_is_for_those_who_read_everything() -> None:
    rows.refused(NOON, namespace="", cluster="", kind="", name="")

    assert listed(VIEWER) == ["refused request"]
    assert listed(reader_of("", "default")) == listed(reader_of("erp")) == []


@pytest.mark.parametrize(
    ("search", "expected"),
    [
        ({"actor": "token:ana"}, ["decision", "refused request"]),
        ({"actor": "ana"}, ["decision", "refused request"]),
        ({"actor": "user:bo"}, ["approval", "setting", "sign-in", "export"]),
        ({"actor": "reconciler:r"}, ["transition"]),
        ({"actor": "r"}, []),  # the name of a caller
        ({"about": "erp/web"}, ["decision", "transition", "approval", "setting"]),
        ({"about": "default:Deployment erp/web"}, ["decision", "transition", "approval"]),
        ({"about": "StatefulSet erp/web"}, []),
        ({"about": "erp/"}, IN_PLACES),
        ({"about": "crm/"}, []),
        ({"about": "guardrails_guardrailsetting"}, ["setting"]),
        ({"about": "guardrails_guardrailsetting/7"}, ["setting"]),
        ({"about": "guardrails_freeze/7"}, []),
        ({"about": "7"}, ["setting"]),
        ({"about": str(uuid4())}, []),
        ({"reason": "the shop"}, ["setting"]),
        ({"reason": "NamespaceForbidden"}, ["refused request"]),
        ({"reason": "Frozen"}, []),
        ({"kinds": frozenset({Kind.SIGN_IN, Kind.SETTING})}, ["setting", "sign-in"]),
        ({"kinds": frozenset({Kind.ADMINISTRATION})}, []),
        ({"until": NOON}, []),
        ({"since": NOON + MILLISECOND}, []),
        ({"since": NOON, "until": NOON + MILLISECOND}, ALL),
    ],
)
def test_a_search_finds_the_rows_of_each_source(search: dict[str, Any], expected: list[str]) -> None:
    rows.one_of_each(NOON)

    assert listed(**search) == expected


def test_an_id_finds_all_that_belongs_to_it() -> None:
    action = rows.an_action()
    decision = rows.decided(NOON, action=action, reason="Frozen")
    rows.moved(action, NOON)
    rows.one_of_each(NOON)

    def found(pk: UUID) -> list[str]:
        return [entry.kind.value for entry in page(ADMIN, Search(about=str(pk))).entries]

    assert found(decision.pk) == ["decision"]
    assert sorted(found(action.pk)) == ["decision", "transition", "transition"]
    assert listed(reason="Frozen") == ["decision"]


def test_refusals_of_an_hour_are_found_by_the_time_of_any() -> None:
    rows.refused(NOON, count=2, last_at=NOON + timedelta(minutes=40))
    minute = timedelta(minutes=1)

    assert listed(since=NOON + 30 * minute, until=NOON + 50 * minute) == ["refused request"]
    assert listed(since=NOON + 41 * minute, until=NOON + 50 * minute) == []


@pytest.mark.parametrize(
    ("operation", "about", "expected"),
    [
        ("insert", "", 0),
        ("insert", "auth_permission", 1),
        ("insert", "auth_permission/7", 1),
        ("update", "", 1),
        ("delete", "", 1),
    ],
)
def test_only_a_search_for_their_table_finds_the_definitions_of_permissions(
    operation: str, about: str, expected: int
) -> None:
    row = {"name": "Can view freeze"}
    before, after = (row if operation != "insert" else None), (row if operation != "delete" else None)
    rows.set_to(NOON, "auth_permission", operation=operation, before=before, after=after)

    assert listed(about=about) == ["administration"] * expected
    assert len(list(stream(ADMIN, Search(about=about, until=NOON + MILLISECOND), whole=True))) == expected


def test_a_token_is_an_entry_that_has_no_secret() -> None:
    with acting("user:bo", "192.0.2.1", "for the detector"):
        text = tokens.issue("detector", [Scope.SIGNALS_WRITE])

    [entry] = page(ADMIN, Search(about="smartops_token")).entries

    assert (entry.kind, entry.what, entry.actor) == (Kind.ADMINISTRATION, "created token detector", "user:bo")
    assert entry.reason == "for the detector"
    assert text.removeprefix("smo_")[13:] not in str(entry)
    assert entry.details["digest"] == {"before": None, "after": "secret"}


def test_a_transition_says_what_became_of_which_workload() -> None:
    action = rows.an_action()
    event = AuditEvent.objects.get(action=action)

    [entry] = page(ADMIN, Search(about=str(action.pk))).entries

    assert (entry.what, entry.namespace, entry.workload, entry.at) == (
        "RESTART: new → cancelled",
        "erp",
        "web",
        event.at,
    )
