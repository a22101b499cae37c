"""What guardrails have in common: how long to wait, and what to answer without facts."""

from datetime import datetime, timedelta
from typing import Any

from guardrails.types import Deferral, Denial, Facts, NotEvaluated, Verdict, Warned
from signals.reasons import Reason
from signals.types import Origin, Proposal

RECHECK = timedelta(seconds=60)  # the deferral has no known end; most end earlier, by a notification


def wait_or_refuse(
    name: str, proposal: Proposal, reason: Reason, message: str, details: dict[str, Any], until: datetime
) -> Verdict:
    """The obstacle passes by itself: the closed loop waits for that, a direct caller is refused at once."""
    kind = Deferral if proposal.origin is Origin.CLOSED_LOOP else Denial
    return kind(name, message, details, reason=reason, until=until)


def governs(proposal: Proposal) -> bool:
    """Whether a guardrail that paces the closed loop applies: direct actions are counted, and not held back."""
    return proposal.origin is Origin.CLOSED_LOOP and not proposal.dry_run


def wait_or_warn(
    name: str, proposal: Proposal, reason: Reason, message: str, details: dict[str, Any], until: datetime
) -> Verdict:
    """The closed loop waits. A caller may have a good cause, for instance to correct what is rolled out, and is warned
    in the answer."""
    kind = Deferral if proposal.origin is Origin.CLOSED_LOOP else Warned
    return kind(name, message, details, reason=reason, until=until)


def no_history(name: str) -> Verdict:
    return NotEvaluated(name, "The history of the workload was not loaded: nothing can be done to this target.")


def no_target(name: str, proposal: Proposal, facts: Facts, details: dict[str, Any] | None = None) -> Verdict:
    """The guardrail needs the live target, and there is none."""
    if facts.target_seen:
        return NotEvaluated(name, f"There is no {proposal.target.with_kind}.", details or {})
    return NotEvaluated(
        name, "The target was not observed; the reconciler evaluates this before it writes.", details or {}
    )
