"""An export of the audit: exactly what the search finds, recorded, and never taken for complete if it is not."""

import hashlib
import json
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from asgiref.sync import async_to_sync, sync_to_async
from django.db import DatabaseError, OperationalError, connection, transaction
from django.utils import timezone
from pytest_django.fixtures import Settings

from signals import actors
from signals.lib import partitions
from smartops.audit import export, merge
from smartops.audit.entries import Kind
from smartops.audit.export import AT_ONCE, PER_HOUR, Pieces, RightsChanged, TooMany, begin, sent
from smartops.audit.merge import stream
from smartops.audit.search import Search
from smartops.models import AuditExport, RoleGrant
from smartops.people.access import Access, Place, Role, access_of
from tests.kit.people import person
from tests.smartops.audit import rows
from tests.smartops.audit.rows import ADMIN, NOON, reader_of
from tests.smartops.retention.test_retain import OLD, retain

pytestmark = pytest.mark.django_db

BO, NOW = actors.user("bo"), timezone.now()


def pieces_of(begun: AuditExport, search: Search, access: Access = ADMIN) -> Pieces:
    return Pieces(begun, access, search, lambda: access)


def exported(search: Search, access: Access = ADMIN, form: str = "jsonl") -> tuple[bytes, AuditExport]:
    begun = begin(BO, "192.0.2.1", form, {"reason": search.reason})

    async def read() -> bytes:
        return b"".join([piece async for piece in sent(pieces_of(begun, search, access))])

    found = async_to_sync(read)()
    return found, AuditExport.objects.get(pk=begun.pk)


def lines(data: bytes) -> list[dict[str, Any]]:
    return [json.loads(line) for line in data.splitlines()]


def test_an_export_has_what_the_list_has_and_is_recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(export, "PIECE", 500)
    monkeypatch.setattr(merge, "BATCH", 2)
    for hours in range(3):
        rows.one_of_each(NOON - timedelta(hours=hours))
    search = Search(until=NOON)

    data, record = exported(search)

    *found, last = lines(data)
    assert [one["row"]["id"] for one in found] == [
        str(entry.row["id"]) if isinstance(one["row"]["id"], str) else entry.row["id"]
        for one, entry in zip(found, stream(ADMIN, search, whole=True), strict=True)
    ]
    assert len(found) == 14
    before = data[: data.rindex(b'{"end"')]
    digest = hashlib.sha256(before).hexdigest()
    assert last == {"end": {"complete": True, "rows": 14, "sha256": digest, "until": NOON.isoformat()}}
    assert (record.outcome, record.rows, record.sha256) == ("complete", 14, digest)
    assert (record.actor, record.address, record.format, record.search) == (BO, "192.0.2.1", "jsonl", {"reason": ""})


def test_an_export_ends_with_the_moment_at_which_it_began() -> None:
    data, record = exported(Search())

    assert lines(data)[-1]["end"]["until"] == record.at.isoformat()
    assert b'"kind": "export"' not in data, "it does not contain itself"


def test_an_export_has_nothing_that_the_person_may_not_see() -> None:
    rows.one_of_each(NOON, "erp")
    rows.one_of_each(NOON, "crm")

    data, _ = exported(Search(until=NOON + timedelta(hours=1)), reader_of("erp"), "csv")

    assert b"erp" in data
    assert b"crm" not in data
    assert b"sign-in" not in data
    assert data.count(b"\r\n") == 7, "a header, five entries, and the end"


def test_a_failing_database_ends_the_file_with_a_line_that_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """A statement of the second batch takes too long."""
    for _ in range(3):
        rows.one_of_each(NOON)
    monkeypatch.setattr(merge, "BATCH", 1)
    monkeypatch.setattr(export, "PIECE", 1)
    begun = begin(BO, "", "jsonl", {})
    pieces = pieces_of(begun, Search(until=NOON + timedelta(hours=1)))
    take = pieces.next
    taken: list[bytes] = []

    def next_piece() -> bytes | None:
        if len(taken) == 4:
            with transaction.atomic(), connection.cursor() as cursor:
                cursor.execute("SET LOCAL statement_timeout = '1ms'")
                cursor.execute("SELECT pg_sleep(5)")
        return take()

    async def read() -> None:
        async for piece in sent(pieces):
            taken.append(piece)  # noqa: PERF401 - what came before the error is kept

    monkeypatch.setattr(pieces, "next", next_piece)
    with pytest.raises(OperationalError):
        async_to_sync(read)()

    *found, last = lines(b"".join(taken))
    end = last["end"]
    assert (end["complete"], end["rows"], len(found)) == (False, 4, 4)
    assert end["error"].startswith("The database failed: QueryCanceled: canceling statement due to statement timeout")
    assert end["sha256"] == hashlib.sha256(b"".join(taken[:-1])).hexdigest()
    assert AuditExport.objects.get(pk=begun.pk).outcome == "failed"


def test_an_export_whose_client_goes_away_reads_no_further() -> None:
    rows.one_of_each(NOON)
    begun = begin(BO, "", "jsonl", {})
    pieces = pieces_of(begun, Search())

    async def read() -> AsyncIterator[bytes] | None:
        stream: Any = sent(pieces)
        await anext(stream)
        await stream.aclose()
        return None

    async_to_sync(read)()

    record = AuditExport.objects.get(pk=begun.pk)
    assert (record.outcome, record.rows) == ("aborted", pieces.rows)
    assert record.ended_at is not None


def test_an_export_ends_when_the_rights_of_the_person_change(monkeypatch: pytest.MonkeyPatch) -> None:
    for _ in range(3):
        rows.one_of_each(NOON)
    monkeypatch.setattr(export, "PIECE", 1)
    monkeypatch.setattr(merge, "BATCH", 1)
    ben = person("ben", Role.VIEWER, Place("default", "erp"))
    begun = begin(actors.user("ben"), "", "jsonl", {})
    pieces = Pieces(begun, access_of(ben), Search(until=NOON + timedelta(hours=1)), lambda: access_of(ben))
    taken: list[bytes] = []

    async def read() -> None:
        async for piece in sent(pieces):
            taken.append(piece)
            if len(taken) == 4:
                await sync_to_async(RoleGrant.objects.all().delete)()

    with pytest.raises(RightsChanged):
        async_to_sync(read)()

    *found, last = lines(b"".join(taken))
    assert (last["end"]["complete"], len(found)) == (False, 4)
    assert last["end"]["error"] == "The rights of your account have changed since the export began. Export again."
    assert AuditExport.objects.get(pk=begun.pk).outcome == "failed"


def test_an_export_goes_on_while_the_retention_drops_a_month(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, settings: Settings
) -> None:
    """The rows of the month are missing from there on, and no other ones."""
    settings.SMARTOPS_RETAIN_AUDIT_DAYS = 40
    for number in range(3):
        rows.signed_in(NOW - timedelta(minutes=number))
        rows.signed_in(OLD - timedelta(minutes=number))
    partitions.create_ahead()
    monkeypatch.setattr(merge, "BATCH", 1)
    found = stream(ADMIN, Search(kinds=frozenset({Kind.SIGN_IN})), whole=True)
    first = [next(found) for _ in range(2)]

    retain(tmp_path)

    assert [entry.at for entry in (*first, *found)] == [NOW - timedelta(minutes=number) for number in range(3)]


def test_a_person_exports_a_limited_number_of_times() -> None:
    for _ in range(AT_ONCE):
        begin(BO, "", "csv", {})
    with pytest.raises(TooMany, match="2 exports of yours are running"):
        begin(BO, "", "csv", {})
    begin(actors.user("ana"), "", "csv", {})
    for one in AuditExport.objects.filter(actor=BO):
        pieces_of(one, Search()).end(AuditExport.Outcome.COMPLETE)
    for _ in range(PER_HOUR - AT_ONCE):
        pieces_of(begin(BO, "", "csv", {}), Search()).end(AuditExport.Outcome.COMPLETE)

    with pytest.raises(TooMany, match="20 times within an hour"):
        begin(BO, "", "csv", {})


@pytest.mark.parametrize(
    "change", ["actor = 'user:eve'", "search = '{}'", "outcome = 'aborted'", "sha256 = 'x'", "at = now()"]
)
def test_the_record_of_an_export_never_changes_after_its_end(change: str) -> None:
    rows.exported(NOON, outcome="complete", ended_at=NOON, search={"a": "b"})

    with pytest.raises(DatabaseError, match="history is kept"), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(f"UPDATE smartops_auditexport SET {change}")  # noqa: S608


def test_the_record_of_an_export_is_never_deleted() -> None:
    rows.exported(NOON)

    with pytest.raises(DatabaseError, match="history is kept"), transaction.atomic():
        AuditExport.objects.all().delete()
