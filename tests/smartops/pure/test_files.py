"""The files of an export: what a spreadsheet and a program read from them."""

import csv
import hashlib
import io
import json
from dataclasses import replace
from datetime import UTC, datetime
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smartops.audit.entries import Entry, Kind, Position
from smartops.audit.files import COLUMNS, CSV, FORMATS, FORMULA, JSON_LINES, End, Format, neutral

NOON = datetime(2026, 11, 1, 12, 0, 0, 123456, tzinfo=UTC)
ID = UUID("01a19467-e800-7000-8000-000000000000")
ENTRY = Entry(
    position=Position(NOON, 70, ID),
    kind=Kind.DECISION,
    actor="token:ana",
    what="deny on the request",
    reason="Frozen",
    message='Frozen: "shop",\r\nuntil noon.',
    namespace="erp",
    workload="wéb",
    decision=ID,
    details={"until": NOON},
    row={"inputs": {"now": NOON}, "id": ID, "until": None},
)


def rows(data: bytes) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(data.decode(), newline=""), strict=True))


def test_a_csv_file_has_a_header_and_a_record_for_each_entry() -> None:
    end = End(1, "digest", NOON)

    [found, last] = rows(CSV.header + CSV.line(ENTRY) + CSV.end(end))

    assert tuple(found) == COLUMNS
    assert {name: value for name, value in found.items() if value} == {
        "at": "2026-11-01T12:00:00.123456+00:00",
        "kind": "decision",
        "actor": "token:ana",
        "what": "deny on the request",
        "reason": "Frozen",
        "message": 'Frozen: "shop",\r\nuntil noon.',
        "namespace": "erp",
        "workload": "wéb",
        "decision": str(ID),
        "details": '{"until": "2026-11-01T12:00:00.123456+00:00"}',
    }
    assert (last["kind"], last["what"]) == ("end", "complete")
    assert last["message"] == (
        "1 entries before 2026-11-01T12:00:00.123456+00:00. SHA-256 of the lines before this one: digest"
    )


@pytest.mark.parametrize(
    ("cell", "written"),
    [
        ("=1+1", "'=1+1"),
        ("+1", "'+1"),
        ("-1", "'-1"),
        ("@SUM(A1)", "'@SUM(A1)"),
        ("\t=1", "'\t'=1"),
        ("\r=1", "'\r'=1"),
        ("\n=1", "'\n'=1"),
        ("＝1", "'＝1"),  # noqa: RUF001
        ("a=1", "a=1"),
        ("a; =1", "a; =1"),
        ("a;=1+1;-2", "a;'=1+1;'-2"),
        ("a\n=1", "a\n'=1"),
        ("a\t＋1", "a\t'＋1"),  # noqa: RUF001
        ('a;"=1', "a;\"'=1"),
        ('a;""@x', 'a;""\'@x'),
        ("a=1, b-2; c", "a=1, b-2; c"),
        ("1", "1"),
        ("", ""),
    ],
)
def test_a_cell_that_would_be_a_formula_begins_with_an_apostrophe(cell: str, written: str) -> None:
    [found] = rows(CSV.header + CSV.line(replace(ENTRY, message=cell)))

    assert found["message"] == neutral(cell) == written


@pytest.mark.hypothesis
@given(st.text(st.characters(exclude_categories=["Cs"])), st.text(st.characters(exclude_categories=["Cs"])))
def test_no_text_breaks_a_record_or_is_a_formula(actor: str, message: str) -> None:
    [found] = rows(CSV.header + CSV.line(replace(ENTRY, actor=actor, message=message)))

    assert not any(FORMULA.search(cell) for cell in found.values())
    assert found["actor"].replace("'", "") == actor.replace("'", "")
    assert found["message"].replace("'", "") == message.replace("'", "")
    assert json.loads(JSON_LINES.line(replace(ENTRY, message=message)))["message"] == message


def test_a_line_of_json_has_the_whole_row() -> None:
    line = JSON_LINES.line(ENTRY)

    found = json.loads(line)
    assert line.count(b"\n") == 1
    assert found["row"] == {"inputs": {"now": NOON.isoformat()}, "id": str(ID), "until": None}
    assert found["details"] == {"until": NOON.isoformat()}
    assert (found["at"], found["decision"], found["action"], found["message"]) == (
        NOON.isoformat(),
        str(ID),
        None,
        ENTRY.message,
    )


@pytest.mark.parametrize("form", FORMATS.values(), ids=FORMATS)
def test_the_last_line_has_the_digest_of_the_others(form: Format) -> None:
    lines = form.header + form.line(ENTRY)
    digest = hashlib.sha256(lines).hexdigest()

    assert digest.encode() in form.end(End(1, digest, NOON))
    assert b"incomplete" not in form.end(End(1, digest, NOON))


def test_the_last_line_says_why_a_file_is_incomplete() -> None:
    end = End(3, "digest", NOON, "The database failed.")

    assert json.loads(JSON_LINES.end(end)) == {
        "end": {
            "complete": False,
            "rows": 3,
            "sha256": "digest",
            "until": NOON.isoformat(),
            "error": "The database failed.",
        }
    }
    [last] = rows(CSV.header + CSV.end(end))
    assert (last["what"], last["message"]) == (
        "incomplete",
        "The database failed. SHA-256 of the lines before this one: digest",
    )
