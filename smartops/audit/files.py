"""The formats of an export: bytes from entries. Pure.

The last line of a file says that it is complete, how many entries it has, and the SHA-256 of all bytes before that
line. A file without it is incomplete.
"""

import csv
import json
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from io import StringIO
from typing import Any

from smartops.audit.entries import Entry

COLUMNS = (
    *("at", "kind", "actor", "what", "reason", "message"),
    *("cluster", "workload_kind", "namespace", "workload"),
    *("decision", "action", "signal", "table", "key", "address", "details"),
)
# A spreadsheet takes what begins with a sign for a formula, also with a sign of full width. Where the semicolon
# separates cells, a spreadsheet also begins cells and lines within a cell of ours.
SIGN = "=+\\-@＝＋－＠"  # noqa: RUF001
FORMULA = re.compile(f'^(?=[{SIGN}\t\r\n])|(?<=[;\t\r\n])"*(?=[{SIGN}])')


@dataclass(frozen=True, slots=True)
class End:
    """The last line. An empty `error`: the file is complete."""

    rows: int
    sha256: str
    until: datetime
    error: str = ""


@dataclass(frozen=True, slots=True)
class Format:
    """`whole`: the lines have all columns of the rows."""

    name: str
    content_type: str
    whole: bool
    header: bytes
    line: Callable[[Entry], bytes]
    end: Callable[[End], bytes]


def neutral(cell: str) -> str:
    """Text that a spreadsheet does not evaluate: an apostrophe stands before what would be a formula."""
    return FORMULA.sub(r"\g<0>'", cell)


def _csv(cells: Iterable[Any]) -> bytes:
    """A record of RFC 4180."""
    text = StringIO()
    csv.writer(text, lineterminator="\r\n").writerow(neutral(_text(cell)) for cell in cells)
    return text.getvalue().encode()


def _json(document: Any) -> bytes:
    return json.dumps(document, default=_text, ensure_ascii=False).encode() + b"\n"


def _text(value: Any) -> str:
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, dict):
        return json.dumps(value, default=_text, ensure_ascii=False) if value else ""
    return "" if value is None else str(value)


def _record(entry: Entry) -> dict[str, Any]:
    return {name: getattr(entry, name) for name in COLUMNS}


def _csv_end(end: End) -> bytes:
    result = end.error or f"{end.rows} entries before {end.until.isoformat()}."
    cells = {
        "kind": "end",
        "what": "incomplete" if end.error else "complete",
        "message": f"{result} SHA-256 of the lines before this one: {end.sha256}",
    }
    return _csv(cells.get(name, "") for name in COLUMNS)


def _json_end(end: End) -> bytes:
    found = {"complete": not end.error, "rows": end.rows, "sha256": end.sha256, "until": end.until}
    return _json({"end": found | ({"error": end.error} if end.error else {})})


CSV = Format(
    name="csv",
    content_type="text/csv; charset=utf-8; header=present",
    whole=False,
    header=_csv(COLUMNS),
    line=lambda entry: _csv(_record(entry).values()),
    end=_csv_end,
)
JSON_LINES = Format(
    name="jsonl",
    content_type="application/jsonl; charset=utf-8",
    whole=True,
    header=b"",
    line=lambda entry: _json(_record(entry) | {"row": entry.row}),
    end=_json_end,
)
FORMATS = {one.name: one for one in (CSV, JSON_LINES)}
