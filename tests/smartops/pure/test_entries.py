"""The place of an entry in the list, as the links to the next pages carry it."""

from datetime import UTC, datetime
from uuid import UUID

import pytest

from smartops.audit.entries import Position

NOON = datetime(2026, 11, 1, 12, 0, 0, 123456, tzinfo=UTC)
ID = UUID("01a19467-e800-7000-8000-000000000000")


@pytest.mark.parametrize("position", [Position(NOON, 70, ID), Position(NOON, 0, 7)], ids=str)
def test_a_position_is_read_from_its_text(position: Position) -> None:
    assert Position.parse(str(position)) == position


@pytest.mark.parametrize("text", ["", "1.2", "1.2.x", "x.1.1", "1.-1.3", "1.100.3", f"{10**30}.1.1"])
def test_a_position_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r".*"):
        Position.parse(text)
