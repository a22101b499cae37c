"""The values of a preview: stored decisions, what a draft makes of their inputs, and how they would have ended."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, NamedTuple

from guardrails.types import Inputs, Outcome


@dataclass(frozen=True, slots=True)
class Effect:
    """What became of the action that a decision allowed. `applied_at` is None if its change was not applied."""

    applied_at: datetime | None = None
    finished_at: datetime | None = None
    increase: int = 0
    decrease: int = 0


@dataclass(frozen=True, slots=True)
class PastDecision:
    """A stored decision. `action`: the id of the action that it led to or whose write it checked; "" for none.
    `before_write`: it checked a write."""

    id: str
    inputs: Inputs
    outcome: Outcome
    reason: str = ""
    until: datetime | None = None
    signal: str = ""
    action: str = ""
    before_write: bool = False
    effect: Effect = Effect()


class Doubt(StrEnum):
    """Why it cannot be known how a decision would have ended."""

    FACTS_NOT_LOADED = "facts_not_loaded"
    POLICY_NOT_QUERIED = "policy_not_queried"
    RULES_UNKNOWN = "rules_unknown"
    OTHER_VERSION = "other_version"
    DECIDED_ANOTHER_TIME = "decided_another_time"
    VERIFICATION_UNKNOWN = "verification_unknown"
    APPROVAL_UNKNOWN = "approval_unknown"

    @property
    def words(self) -> str:
        return WORDS[self]


WORDS = {
    Doubt.FACTS_NOT_LOADED: "The facts that the changed proposal needs were not loaded for this decision.",
    Doubt.POLICY_NOT_QUERIED: "The policy engine was not queried about the changed proposal.",
    Doubt.RULES_UNKNOWN: "The rules that were enabled at that time cannot be reconstructed.",
    Doubt.OTHER_VERSION: "Another version of SmartOps made this decision: the same inputs lead to another result now.",
    Doubt.DECIDED_ANOTHER_TIME: "A deferred signal would have been decided at a time for which no facts are stored.",
    Doubt.VERIFICATION_UNKNOWN: "The end of an action that was not made is unknown, and so is its verification.",
    Doubt.APPROVAL_UNKNOWN: "Nobody was asked for an approval: what a person would have decided is unknown.",
}


@dataclass(frozen=True, slots=True)
class Drafted:
    """The inputs of a decision with the limits, freezes and rules of the draft."""

    inputs: Inputs
    doubt: Doubt | None = None


class Comparison(StrEnum):
    """How a decision would have ended under the draft, compared with how it ended."""

    SAME = "same"
    DIFFERENT = "different"  # another outcome, another reason of a refusal, or another change
    OTHER_TIME = "other_time"  # deferred as before, until another time
    NOT_MADE = "not_made"  # it follows from an earlier one that would have ended differently
    UNKNOWN = "unknown"


class Compared(NamedTuple):
    """`outcome`, `reason`, `message` and `until` are those under the draft; None where it would not have been made."""

    comparison: Comparison
    outcome: Outcome | None = None
    reason: str | None = None
    message: str = ""
    until: datetime | None = None
    doubt: Doubt | None = None


SAME = Compared(Comparison.SAME)
NOT_MADE = Compared(Comparison.NOT_MADE)


@dataclass(frozen=True, slots=True)
class Edit:
    """A change of one row that people edit, which is not saved. `table` is its table in the database; `before` and
    `after` are its columns as the history of settings has them, None for a row that is added or deleted."""

    table: str
    before: Mapping[str, Any] | None
    after: Mapping[str, Any] | None

    @property
    def key(self) -> str:
        """The primary key, "" for a row that is added."""
        return "" if self.before is None else str(self.before["id"])
