"""May it be done without a person? Of a dry run, everything may."""

from collections.abc import Iterator
from datetime import datetime
from decimal import Decimal
from typing import Any

from guardrails.checks.answers import no_history, no_target
from guardrails.types import Asked, Facts, Limits, Observed, Verdict
from signals.figures import rounded_down, rounded_up
from signals.proposals import desired_replicas, sets_replicas
from signals.reasons import Reason
from signals.types import Mode, Proposal

STRICTNESS = (Mode.AUTO, Mode.APPROVE, Mode.OBSERVE)  # the last one is the strictest


def mode(proposal: Proposal, facts: Facts, limits: Limits, now: datetime) -> Verdict:
    """Protects what is yet to earn trust: the mode of the rule and that of the scope, of which the stricter one counts.
    `approve` asks for approvals of the plan. `observe` records what would have been done. An action that was shown
    needs its approvals also if the mode has become `auto`.

    Closed loop: ask, or observe. Direct action: ask, or observe.
    """
    name, strictest = "mode", max(proposal.mode, limits.mode, key=STRICTNESS.index)
    by_rule = STRICTNESS.index(proposal.mode) > STRICTNESS.index(limits.mode)
    source = proposal.requested_by if by_rule else limits.sources.get("mode", "default")
    details: dict[str, Any] = {"mode": strictest, "source": source}
    if proposal.dry_run or (strictest is Mode.AUTO and facts.approval is None):
        return Verdict(name, details=details)
    if strictest is Mode.OBSERVE:
        message = f"Nothing is written to {proposal.target}: its mode is observe ({source})."
        return Observed(name, message, details, reason=Reason.OBSERVE_ONLY)
    if strictest is Mode.AUTO:
        return _asked(name, "Persons were asked to approve this action.", details, facts, limits)
    return _asked(name, f"The mode of {proposal.target} is approve ({source}).", details, facts, limits)


def large_change(proposal: Proposal, facts: Facts, limits: Limits, now: datetime) -> Verdict:
    """Protects against a change of scale that surprises: more than `max_unapproved_replicas` added or removed, or more
    than `max_unapproved_percent` of the replicas that there are.

    Closed loop: ask. Direct action: ask.
    """
    name = "large_change"
    if proposal.dry_run or not sets_replicas(proposal):
        return Verdict(name)
    if facts.target is None:
        return no_target(name, proposal, facts)
    current = facts.target.replicas
    changed = abs((desired_replicas(proposal, current) or 0) - current)
    most, share = limits.max_unapproved_replicas, limits.max_unapproved_percent
    is_large_share = changed * 100 > share * max(1, current)
    percent = (rounded_up if is_large_share else rounded_down)(Decimal(changed * 100) / max(1, current), 1)
    details = {"value": changed, "limit": most, "percent": percent, "percent_limit": share, "current": current}
    if changed <= most and not is_large_share:
        return Verdict(name, details=details)
    limit = f"{most} replicas" if changed > most else f"{share}% of the replicas"
    message = f"{changed} of {current} replicas ({percent}%) would change: more than {limit} takes an approval."
    return _asked(name, message, details, facts, limits)


def protected_labels(proposal: Proposal, facts: Facts, limits: Limits, now: datetime) -> Verdict:
    """Protects the workloads that have one of `protected_labels`.

    Closed loop: ask. Direct action: ask.
    """
    name, labels = "protected_labels", labels_of(limits.protected_labels)
    if proposal.dry_run or not labels:
        return Verdict(name)
    details = {"labels": list(labels)}
    if facts.target is None:
        return no_target(name, proposal, facts, details)
    if not facts.target.protected_by:
        return Verdict(name, details=details)
    message = f"{proposal.target} has the protected label {', '.join(facts.target.protected_by)}."
    return _asked(name, message, details, facts, limits)


def failed_before(proposal: Proposal, facts: Facts, limits: Limits, now: datetime) -> Verdict:
    """Protects against a remedy that did not help: with `approve_after_failure`, a person decides where the
    verification of the same action of the workload has failed the last time.

    Closed loop: ask. Direct action: ask.
    """
    name = "failed_before"
    if not facts.history_loaded:
        return no_history(name)
    if proposal.dry_run or not limits.approve_after_failure or facts.failed is None:
        return Verdict(name)
    failed = facts.failed
    message = f"The last such action {failed.action} of {proposal.target} has {_ended(failed.state)}: {failed.message}"
    return _asked(name, message, {"action": failed.action, "state": failed.state}, facts, limits)


def labels_of(text: str) -> tuple[str, ...]:
    """Those of the limit `protected_labels`: each a name, or NAME=VALUE."""
    return tuple(filter(None, (one.strip() for one in text.split(","))))


def protecting(text: str, labels: Any) -> tuple[str, ...]:
    """Which of `protected_labels` an object with these labels has."""
    return tuple(_held(text, labels if isinstance(labels, dict) else {}))


def _held(text: str, labels: dict[str, Any]) -> Iterator[str]:
    for one in labels_of(text):
        name, separator, value = one.partition("=")
        if name in labels and (not separator or labels[name] == value):
            yield one


def _asked(name: str, message: str, details: dict[str, Any], facts: Facts, limits: Limits) -> Verdict:
    """Allows what enough persons have approved, as long as it is what they were shown."""
    approval, required = facts.approval, limits.approvals_required
    details = {**details, "approvals_required": required}
    if approval is not None and approval.shown != approval.now:
        message = f"{message} What was shown has changed."
    elif approval is not None:
        details["approved_by"] = list(approval.by)
        if len(approval.by) >= required:
            return Verdict(name, f"Approved by {', '.join(approval.by)}.", details)
        lost = "".join(f" {one} no longer has the right to approve it." for one in approval.lost)
        message = f"{message} It has {len(approval.by)} of {required} approvals.{lost}"
    return Asked(name, message, details, reason=Reason.APPROVAL_REQUIRED)


def _ended(state: str) -> str:
    return "timed out" if state == "timed_out" else "failed"
