"""Why the risk of an action that waits for an approval is high. Pure.

An approval of such an action takes one step more: the person acknowledges these reasons. So they are few: what a person
would regret to have overlooked, and not everything that speaks against an action (guardrails/against.py).
docs/lifecycle.md#high-risk has the table.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from hashlib import sha256

from guardrails.types import FailedVerification, OwnerKind, RolloutState, TargetFacts
from guardrails.words import counted

JUST_DEPLOYED = timedelta(minutes=15)
LARGE_CHANGE = 4  # replicas added or removed, if they are more than half of those that there are
MANY_PODS = 50  # replaced by one action


class RiskKind(StrEnum):
    """In the order of the page."""

    ROLLOUT = "rollout"
    DEPLOYED = "deployed"
    OWNED = "owned"
    FAILED = "failed"
    NO_PODS = "no pods"
    LARGE_CHANGE = "large change"
    MANY_PODS = "many pods"
    PROTECTED = "protected"


@dataclass(frozen=True, slots=True)
class Risk:
    """`name` completes “the risk is high: …”; `text` is the sentence."""

    kind: RiskKind
    name: str
    text: str


@dataclass(frozen=True, slots=True)
class PlannedChange:
    """`before` and `after`: replicas. `before` is None if it is unknown, `after` if the change leaves them alone.
    `replaces_pods`: it is one of the pod template."""

    before: int | None
    after: int | None = None
    replaces_pods: bool = False


def risks(
    target: TargetFacts | None, change: PlannedChange, failed: FailedVerification | None, now: datetime
) -> tuple[Risk, ...]:
    """Empty: the risk is not high. `failed`: the last action of the same type and parameters on the workload, if its
    verification has failed."""
    found = [*_of_failure(failed), *_of_change(change)]
    if target is not None:
        found += [*_of_target(target, change, now), *_of_labels(target)]
    return tuple(sorted(found, key=lambda one: [*RiskKind].index(one.kind)))


def acknowledgement(digest: str, found: Sequence[Risk]) -> str:
    """What an approval of a high risk has to give: it is bound to the digest of what was shown, and to the kinds of
    risk. Empty if there is none."""
    text = "\x1f".join((digest, *sorted(one.kind for one in found)))
    return sha256(text.encode()).hexdigest() if found else ""


def _of_target(target: TargetFacts, change: PlannedChange, now: datetime) -> Iterator[Risk]:
    rollout = target.rollout
    if rollout.state is not RolloutState.COMPLETE:
        state = "stuck" if rollout.state is RolloutState.STUCK else "in progress"
        by = f" It was begun by {rollout.by}." if rollout.by else ""
        yield Risk(RiskKind.ROLLOUT, f"a rollout is {state}", f"A rollout of the workload is {state}.{by}")
    elif rollout.changed_at is not None and now - rollout.changed_at < JUST_DEPLOYED:
        within = f"within the last {JUST_DEPLOYED // timedelta(minutes=1)} minutes"
        text = f"{rollout.changed_by or 'Somebody'} changed the pod template {within}."
        yield Risk(RiskKind.DEPLOYED, "it was just deployed", text)
    for who, what in _owners(target, change):
        yield Risk(RiskKind.OWNED, f"{who} sets {what}", f"{who} sets {what}, and is likely to undo the change.")


def _owners(target: TargetFacts, change: PlannedChange) -> Iterator[tuple[str, str]]:
    """Not Helm, which sets a field at the next upgrade only."""
    if target.autoscaler is not None and change.after is not None:
        yield f"HorizontalPodAutoscaler {target.autoscaler.name}", "the replicas"
    for owner in target.owners:
        if owner.kind is not OwnerKind.HELM:
            yield str(owner), ", ".join(owner.fields)


def _of_failure(failed: FailedVerification | None) -> Iterator[Risk]:
    if failed is not None:
        name = f"the last such action has {'timed out' if failed.state == 'timed_out' else 'failed'}"
        yield Risk(RiskKind.FAILED, name, f"{name.capitalize()}: {failed.message}")


def _of_change(change: PlannedChange) -> Iterator[Risk]:
    if change.before is None:
        return
    if change.after == 0 and change.before > 0:
        yield Risk(RiskKind.NO_PODS, "no pod is left", "No pod of the workload is left after the change.")
    elif change.after is not None:
        moved = abs(change.after - change.before)
        if moved >= LARGE_CHANGE and moved * 2 > change.before:
            adds = change.after > change.before
            text = (
                f"It adds {moved} replicas to {change.before}."
                if adds
                else f"It removes {moved} of {change.before} replicas."
            )
            yield Risk(RiskKind.LARGE_CHANGE, "the change is large", text)
    if change.replaces_pods and change.before >= MANY_PODS:
        pods = counted(change.before, "pod")
        yield Risk(RiskKind.MANY_PODS, f"{pods} are replaced", f"It replaces all {pods} of the workload.")


def _of_labels(target: TargetFacts) -> Iterator[Risk]:
    if target.protected_by:
        text = f"The workload has the protected label {', '.join(target.protected_by)}."
        yield Risk(RiskKind.PROTECTED, "the workload is protected", text)
