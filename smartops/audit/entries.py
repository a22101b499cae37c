"""An entry of the audit, and its place in the list. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any, Self
from uuid import UUID

EPOCH, MICROSECOND = datetime(1970, 1, 1, tzinfo=UTC), timedelta(microseconds=1)
LAST = datetime(9999, 1, 1, tzinfo=UTC)  # arithmetic with later times overflows


class Kind(StrEnum):
    DECISION = "decision"
    TRANSITION = "transition"  # of an action
    APPROVAL = "approval"  # or rejection, by a person
    SETTING = "setting"  # a limit, rule, alias, freeze or cooldown
    REFUSED = "refused request"
    SIGN_IN = "sign-in"
    ADMINISTRATION = "administration"  # a token, an account, a group, a role grant
    EXPORT = "export"


class Way(StrEnum):
    """Through the list."""

    OLDER = "older"
    NEWER = "newer"


@dataclass(frozen=True, slots=True, order=True)
class Position:
    """Of an entry: the newest first, at one instant the source of the highest rank, and in it the highest key. Keys of
    one source are of one type."""

    at: datetime
    rank: int
    key: int | UUID

    def __str__(self) -> str:
        return f"{(self.at - EPOCH) // MICROSECOND}.{self.rank}.{self.key}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Raises ValueError."""
        at, rank, key = text.split(".")
        try:
            moment = EPOCH + int(at) * MICROSECOND
        except OverflowError:
            raise ValueError(text) from None
        number = int(rank)
        if not 0 <= number < 100 or not EPOCH <= moment < LAST:
            raise ValueError(text)
        return cls(moment, number, UUID(key) if "-" in key else int(key))


@dataclass(frozen=True, slots=True)
class Entry:
    """`what` says in words what was done. `reason` is one of the closed list, or the sentence that a person gave.
    `details` are the values behind it, as a JSON object. `row`: all columns of the row, as they are stored.

    `workload` is the name, `workload_kind` its kind. `table` and `key` name the row that was changed."""

    position: Position
    kind: Kind
    actor: str
    what: str
    reason: str = ""
    message: str = ""
    cluster: str = ""
    workload_kind: str = ""
    namespace: str = ""
    workload: str = ""
    decision: UUID | None = None
    action: UUID | None = None
    signal: UUID | None = None
    table: str = ""
    key: str = ""
    address: str = ""
    details: Mapping[str, Any] = field(default_factory=dict, hash=False)
    row: Mapping[str, Any] = field(default_factory=dict, hash=False, repr=False)

    @property
    def at(self) -> datetime:
        return self.position.at
