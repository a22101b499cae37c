"""What an act of a person leads to."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from django.db import OperationalError

from guardrails.types import Defer, Deny, Ignore
from orchestrator.models import Action
from signals.lib.availability import is_locked

MAX_REASON = 1000  # characters


class WhyNot(StrEnum):
    """Why an act was not done. Nothing has changed then."""

    REASON = "reason"  # the person has to give a reason, or a shorter one
    INVALID = "invalid"  # what was entered is not possible; `fields` says where
    RISK = "risk"  # the person has to acknowledge why the risk is high
    STATE = "state"  # the row is in a state in which this cannot be done
    AMBIGUOUS = "ambiguous"  # the change of the action may have been applied
    CHANGED = "changed"  # somebody else, or a reconciler, was first
    GONE = "gone"  # there is no such row
    REFUSED = "refused"  # a guardrail refused it; `decision` has the verdicts
    LOCKED = "locked"  # another session holds a row that the act needs: try again


@dataclass(frozen=True, slots=True)
class Done:
    """`message`: a sentence for the person. `action`: the action that was changed or created."""

    message: str
    action: Action | None = None


@dataclass(frozen=True, slots=True)
class NotDone:
    """`message`: what is in the way, and what to do. `fields`: messages by the names of fields."""

    why: WhyNot
    message: str
    fields: dict[str, str] | None = None
    decision: Defer | Deny | Ignore | None = None


Outcome = Done | NotDone


def require_reason(reason: str, purpose: str, most: int = MAX_REASON) -> NotDone | None:
    """None if it is one. `purpose`: “to settle an action”, for instance. `most`: characters."""
    if not reason.strip():
        return NotDone(WhyNot.REASON, f"Enter a reason {purpose}. It is part of the history.")
    return too_long(reason, most)


def too_long(reason: str, most: int = MAX_REASON) -> NotDone | None:
    if len(reason) > most:
        return NotDone(WhyNot.REASON, f"The reason has {len(reason)} characters. At most {most} are stored.")
    return None


def unless_locked(act: Callable[[], Outcome], name: object) -> Outcome:
    """A session that is stuck may hold the row of a workload: then nobody waits for it longer than a moment."""
    try:
        return act()
    except OperationalError as error:
        if not is_locked(error):
            raise
        return NotDone(WhyNot.LOCKED, f"Another session holds the row of {name}. Nothing was changed. Try again.")
