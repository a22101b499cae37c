"""What publishers are given, and what they answer. A publisher is one file beside this one."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol
from uuid import UUID

from prometheus_client import Counter

from signals.types import Target


@dataclass(frozen=True, slots=True)
class TransitionEntry:
    """A row of an action's timeline, with what the action says of itself. `before` and `change` are those of the plan
    (see Action), empty where there is none. `uid` is that of the target, empty where no reconciler has read it. A
    receiver can tell by `event_id` that it gets the entry again."""

    event_id: int
    at: datetime
    action_id: UUID
    signal_id: UUID | None
    target: Target
    type: str  # ActionType
    requested_by: str
    justification: str
    dry_run: bool
    from_state: str  # ActionState; empty: the action is new
    to_state: str
    reason: str
    message: str
    actor: str
    uid: str
    before: Mapping[str, Any] = field(hash=False)
    change: Mapping[str, Any] = field(hash=False)


@dataclass(frozen=True, slots=True)
class DecisionEntry:
    """A stored decision that led to no action: the proposal was refused or deferred, or no rule matched the signal.
    `signal_id` is None where it was a direct request. `inputs` is what `guardrails.replay.load_inputs` takes."""

    at: datetime
    decision_id: UUID
    signal_id: UUID | None
    outcome: str  # guardrails.types.Outcome
    reason: str
    message: str
    inputs: Mapping[str, Any] = field(hash=False)


Entry = TransitionEntry | DecisionEntry


@dataclass(frozen=True, slots=True)
class Published:
    """It was sent."""


@dataclass(frozen=True, slots=True)
class Ignored:
    """It is not for this publisher, or was sent before: no request was made."""


@dataclass(frozen=True, slots=True)
class Dropped:
    """The receiver refuses it, and always will."""

    message: str


@dataclass(frozen=True, slots=True)
class Retry:
    """It could not be sent now. `after`: seconds that the receiver asked for, None if it named no time."""

    message: str
    after: float | None = None


Outcome = Published | Ignored | Dropped | Retry


@dataclass(frozen=True, slots=True)
class Terms:
    """How entries are delivered. Times in seconds. `rate` and `burst` bound the requests; an entry older than `max_age`
    is skipped; one that could not be sent for `retry_for` is dropped, so that it does not block the others."""

    rate: float = 20.0
    burst: int = 50
    max_age: float = 3600.0
    retry_for: float = 600.0


class Publisher(Protocol):
    """Gets each entry of one cluster's timeline at least once, in order, from the moment it is first configured. It
    runs on a thread of its own, outside of any transaction."""

    @property
    def name(self) -> str:
        """The key of its cursor: under another name it is another publisher, which begins with the next entry."""

    @property
    def terms(self) -> Terms: ...

    @property
    def dropped(self) -> Counter:
        """Counts what was to be sent and never will be."""

    def publish(self, entry: Entry) -> Outcome:
        """One request at most, with a timeout well below the lease of the cursor (30 s)."""
