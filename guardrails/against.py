"""What speaks against an action that waits for an approval, and what its limits leave after it. Pure."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from guardrails.types import FreezeFacts, Limits, OwnerKind, RecentAction, RolloutState, TargetFacts
from guardrails.words import budgets, counted, in_words

DEPLOYED_LATELY = timedelta(hours=1)
NEARBY = timedelta(minutes=15)


@dataclass(frozen=True, slots=True)
class Earlier:
    """An action that has ended: what it was, how it ended (its state in words), and when."""

    name: str
    state: str
    at: datetime


@dataclass(frozen=True, slots=True)
class Surroundings:
    """`same`: the last actions of the same type and parameters on the workload, newest first. `nearby`: other actions
    in its namespace within `NEARBY`, or still active."""

    target: TargetFacts | None
    freezes: tuple[FreezeFacts, ...] = ()
    same: tuple[Earlier, ...] = ()
    nearby: tuple[Earlier, ...] = ()


@dataclass(frozen=True, slots=True)
class Headroom:
    """A limit in words, and what is left of it after the action. `exhausted`: nothing."""

    limit: str
    text: str
    left: int
    exhausted: bool = False


def reasons_against(known: Surroundings, now: datetime) -> tuple[str, ...]:
    """A sentence each, the most urgent first."""
    found: list[str] = [f"{one.by} froze {one.scope}: {one.reason}" for one in known.freezes]
    if known.target is not None:
        found += _of_target(known.target, now)
    if known.same:
        ends = ", ".join(one.state for one in known.same)
        unsuccessful = sum(one.state != "succeeded" for one in known.same)
        if unsuccessful:
            found.append(
                f"Of the last {len(known.same)} such actions of the workload, {unsuccessful} did not succeed: {ends}."
            )
    if known.nearby:
        names = ", ".join(f"{one.name} ({one.state})" for one in known.nearby)
        count = counted(len(known.nearby), "other action")
        found.append(f"{count} in the namespace, active or of the last {NEARBY.seconds // 60} minutes: {names}.")
    return tuple(found)


def _of_target(target: TargetFacts, now: datetime) -> Iterator[str]:
    rollout = target.rollout
    if rollout.state is not RolloutState.COMPLETE:
        state = "in progress" if rollout.state is RolloutState.IN_PROGRESS else "stuck"
        by = f" of {rollout.by}" if rollout.by else ""
        yield f"A rollout{by} is {state}: {rollout.message or 'its pods are not complete'}."
    if rollout.changed_at is not None and now - rollout.changed_at < DEPLOYED_LATELY:
        minutes = (now - rollout.changed_at) // timedelta(minutes=1)
        ago = counted(minutes, "minute") if minutes > 0 else "less than a minute"
        yield f"{rollout.changed_by or 'Somebody'} changed the pod template {ago} ago."
    if target.available < target.replicas:
        some = f"Only {target.available} of {counted(target.replicas, 'replica')} are available."
        yield f"{some} {target.obstacle}".strip()
    if target.autoscaler is not None:
        one = target.autoscaler
        bounds = f"from {one.min_replicas} to {one.max_replicas}"
        yield f"The HorizontalPodAutoscaler {one.name} sets the replicas, {bounds}."
    for owner in target.owners:
        back = "the next upgrade sets it back" if owner.kind is OwnerKind.HELM else "sets it back"
        yield f"{owner} states {', '.join(owner.fields)}, and {back}."


def headroom(
    limits: Limits, recent: Sequence[RecentAction], done: RecentAction, replicas: int | None, now: datetime
) -> tuple[Headroom, ...]:
    """What is left if `done` is made now. `replicas`: the number that it leads to; None if it leaves it alone."""
    after = budgets(limits, (*recent, replace(done, at=now)), now)
    found = [Headroom(one.limit, one.text, one.left, one.left == 0) for one in after if one.needed(done)]
    if replicas is not None:
        most, least = limits.max_replicas - replicas, replicas - limits.min_replicas
        found.append(Headroom("max_replicas", in_words("max_replicas", limits.max_replicas), max(0, most), most <= 0))
        found.append(Headroom("min_replicas", in_words("min_replicas", limits.min_replicas), max(0, least), least <= 0))
    return tuple(found)
