"""What a draft would have done on one workload, where that differs from what was done. Pure.

Two histories are kept within one: in the one, only those actions happened that are certain, in the other also all that
are possible. A decision that ends alike in both is known.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import lru_cache

from guardrails.checks.windows import RATE_WINDOW
from guardrails.types import Facts, Limits, RecentAction, RolloutFacts, RolloutState, TargetFacts
from guardrails.what_if.types import Doubt, PastDecision
from guardrails.what_if.values import replaced
from signals.proposals import desired_replicas, scale_decrease, scale_increase
from signals.types import ActionType, Proposal

TOLERANCE = timedelta(seconds=2)  # between a time that was computed and the clock of another statement
REMEMBERED = timedelta(days=1)  # for signals whose later decisions are not made
PROGRESS_DEADLINE = timedelta(seconds=630)  # the default of Kubernetes, with the margin of a verification
ADDED = "of the draft"  # in place of the id of an active action that does not exist


@dataclass(slots=True)
class Gone:
    """A stored action that the draft does not make, or may not make (`doubt`). `at` is None if it was not applied."""

    action: str
    type: ActionType
    at: datetime | None
    over_at: datetime  # nothing counts it any more
    doubt: Doubt | None = None


@dataclass(slots=True)
class Extra:
    """An action that the draft makes, or may make (`doubt`), between `at` and `latest`. It has ended at `settled_at`
    for certain. `cooldown` is in seconds."""

    type: ActionType
    at: datetime
    latest: datetime
    settled_at: datetime
    cooldown: int
    increase: int = 0
    decrease: int = 0
    doubt: Doubt | None = None

    @property
    def over_at(self) -> datetime:
        return self.settled_at + _counted_for(self.cooldown)


@dataclass(slots=True)
class Wait:
    """A signal that waits under the draft until another time than it did, or in place of an action. It is decided at
    `until`, and would be denied from `expires_at` on. `sooner`: it waited longer than under the draft."""

    signal: str
    until: datetime
    stored_until: datetime | None
    expires_at: datetime
    type: ActionType | None
    limits: Limits
    sooner: bool = False
    increase: int = 0
    decrease: int = 0

    @property
    def may_act(self) -> bool:
        return self.type is not None and self.expires_at >= self.until

    def extra(self) -> Extra:
        assert self.type is not None, "it may act"
        doubt = Doubt.DECIDED_ANOTHER_TIME
        return extra(self.type, self.until, self.expires_at, self.limits, self.increase, self.decrease, doubt)


@dataclass(slots=True)
class Applied:
    type: ActionType
    at: datetime
    finished_at: datetime | None


@dataclass(slots=True)
class DraftHistory:
    """`waits` by problem. `ended`: signals of which no later decision is made, with the time. `applied`: the latest
    stored actions of each type. `replicas`: how many more the workload has under the draft with the certain actions,
    and with all possible ones; `expected`: the stored numbers of replicas that no other party has set."""

    gone: list[Gone] = field(default_factory=list)
    extra: list[Extra] = field(default_factory=list)
    waits: dict[str, Wait] = field(default_factory=dict)
    ended: dict[str, tuple[datetime, Doubt | None]] = field(default_factory=dict)
    applied: list[Applied] = field(default_factory=list)
    replicas: tuple[int, int] = (0, 0)
    expected: tuple[int, ...] = ()

    @property
    def differs(self) -> bool:
        return bool(self.gone or self.extra or self.waits or self.ended or any(self.replicas))

    @property
    def doubt(self) -> Doubt | None:
        """The first one of those that the two histories differ by."""
        actions: Sequence[Gone | Extra] = (*self.gone, *self.extra)
        for one in actions:
            if one.doubt:
                return one.doubt
        if any(wait.may_act for wait in self.waits.values()):
            return Doubt.DECIDED_ANOTHER_TIME
        if any(one.settled_at > one.latest for one in self.extra):
            return Doubt.VERIFICATION_UNKNOWN
        return None if self.replicas[0] == self.replicas[1] else Doubt.DECIDED_ANOTHER_TIME

    def forget(self, now: datetime, cooldown: int) -> None:
        """What counts no more. `cooldown`: the longer one of the workload, in seconds."""
        self.ended = {signal: found for signal, found in self.ended.items() if found[0] > now - REMEMBERED}
        for problem, wait in list(self.waits.items()):
            if max(wait.until, wait.expires_at) <= now:
                self.end_wait(problem)
        self.gone = [one for one in self.gone if one.over_at > now]
        self.extra = [one for one in self.extra if one.over_at > now]
        kept = now - _counted_for(cooldown)
        self.applied = [one for one in self.applied if one.at > kept]

    def end_wait(self, problem: str) -> None:
        """The signal has been decided on at a time without stored facts. What it may have done goes on to count."""
        wait = self.waits.pop(problem)
        if wait.may_act:
            self.extra.append(wait.extra())
            self._move(wait.increase - wait.decrease, Doubt.DECIDED_ANOTHER_TIME)

    def note(self, past: PastDecision, type_: ActionType) -> None:
        """A stored action that was applied."""
        assert past.effect.applied_at is not None, "it was applied"
        self.applied.append(Applied(type_, past.effect.applied_at, past.effect.finished_at))

    def observe(self, target: TargetFacts | None) -> None:
        """Replicas that another party has set are the same under the draft."""
        if target is not None and self.expected and target.replicas not in self.expected:
            self.replicas = (0, 0)
        if target is not None:
            self.expected = (target.replicas,)

    def add(
        self, proposal: Proposal, target: TargetFacts | None, now: datetime, limits: Limits, doubt: Doubt | None,
        latest: datetime | None = None, written: bool = True,
    ) -> None:  # fmt: skip
        """An action that the draft makes, and that was not made. One that is not `written` counts in the limits,
        changes nothing, and has ended at once."""
        live = 0 if target is None else target.replicas
        up, down = (scale_increase(proposal, live), scale_decrease(proposal, live)) if target is not None else (0, 0)
        made = extra(proposal.type, now, latest or now, limits, up, down, doubt)
        self.extra.append(made if written else replace(made, settled_at=made.latest))
        if written:
            self._move(up - down, doubt)

    def leave_out(self, past: PastDecision, type_: ActionType, limits: Limits, doubt: Doubt | None) -> None:
        """A stored action that the draft does not make."""
        effect, now = past.effect, past.inputs.now
        ended = max(filter(None, (effect.applied_at, effect.finished_at)), default=now)
        over_at = ended + _counted_for(limits.cooldown_seconds)
        self.gone.append(Gone(past.action, type_, effect.applied_at, over_at, doubt))
        if effect.applied_at is not None:
            change = effect.increase - effect.decrease
            certain, possible = self.replicas
            # Without the action: for certain in both histories, in doubt only in the one with the fewest actions.
            self.replicas = (certain - change, possible if doubt else possible - change)
            self.expected = (*self.expected, *[one + change for one in self.expected])

    def keep(self, past: PastDecision, proposal: Proposal) -> None:
        """A stored action that the draft makes, too."""
        change = past.effect.increase - past.effect.decrease
        if past.effect.applied_at is not None:
            self.expected = (*self.expected, *[one + change for one in self.expected])
        if desired_replicas(proposal, None) is not None:
            self.replicas = (0, 0)

    def _move(self, change: int, doubt: Doubt | None) -> None:
        certain, possible = self.replicas
        self.replicas = (certain if doubt else certain + change, possible + change)

    def missing(self, action: str) -> Gone | None:
        return next((one for one in self.gone if one.action == action), None)

    def facts(self, facts: Facts, stored: Limits, limits: Limits, type_: ActionType, now: datetime, all_possible: bool
              ) -> Facts:  # fmt: skip
        """The facts under the draft: with the certain actions only, or with all possible ones."""
        if not facts.history_loaded:
            return replaced(facts, target=self._target(facts, all_possible, ()))
        gone = [one for one in self.gone if not one.doubt] if all_possible else self.gone
        extra = [*self.extra] if all_possible else [one for one in self.extra if not one.doubt]
        if all_possible:
            extra += [wait.extra() for wait in self.waits.values() if wait.may_act and wait.until <= now]
        is_counted = facts.recent or facts.cooldown_until is not None
        left = {(one.type, one.at) for one in gone} if is_counted else set()
        kept = [one for one in facts.recent if (one.type, one.at) not in left]
        added = [RecentAction(one.type, min(one.latest, now), one.increase, one.decrease) for one in extra]
        active = facts.active_action
        if any(one.action == active for one in gone):
            active = ""
        if all_possible and any(one.settled_at > now for one in extra):
            active = active or ADDED
        return replaced(
            facts,
            active_action=active,
            recent=(*kept, *added),
            cooldown_until=self._cooldown(facts, extra, left, stored, limits, type_, now, all_possible),
            scaled_to=facts.scaled_to if len(kept) == len(facts.recent) else None,
            target=self._target(facts, all_possible, kept),
        )

    def _target(self, facts: Facts, all_possible: bool, kept: Sequence[RecentAction]) -> TargetFacts | None:
        if facts.target is None:
            return None
        found, more = facts.target, self.replicas[all_possible]
        if all_possible:
            more += sum(one.increase - one.decrease for one in self.waits.values() if one.may_act)
        if more and found.replicas:
            changed = max(0, found.replicas + more)
            found = replaced(found, replicas=changed, available=max(0, min(changed, found.available + more)))
        is_ours = found.rollout.ours and facts.history_loaded and facts.recent
        if is_ours and max(facts.recent, key=lambda one: one.at) not in kept:
            # SmartOps' own rollout, of an action that the draft does not make.
            by, at = found.rollout.changed_by, found.rollout.changed_at
            found = replaced(found, rollout=RolloutFacts(RolloutState.COMPLETE, changed_by=by, changed_at=at))
        return found

    def _cooldown(
        self, facts: Facts, added: Sequence[Extra],
        left: set[tuple[ActionType, datetime | None]], stored: Limits, limits: Limits, type_: ActionType,
        now: datetime, all_possible: bool,
    ) -> datetime | None:  # fmt: skip
        """The stored one, unless an action explains it that the draft does not make, or that has another cooldown."""
        until = facts.cooldown_until
        if until is not None:
            actions: dict[datetime, datetime | None] = {one.at: None for one in facts.recent if one.type is type_}
            actions |= {one.at: one.finished_at for one in self.applied if one.type is type_ and one.at <= now}
            last = max(actions, default=None)
            if last is not None and _explains(until, last, actions[last], stored):
                there = [at for at in actions if (type_, at) not in left]
                if last not in there or limits.cooldown_seconds != stored.cooldown_seconds:
                    until = max((_until(at, actions[at], limits, now) for at in there), default=None)
        found = [] if until is None else [until]
        for one in added:
            if one.type is type_:
                began = min(one.latest, now) if all_possible else one.at
                found.append(began + _seconds(one.cooldown))
                if all_possible and one.settled_at >= one.latest + _seconds(one.cooldown):
                    found.append(one.settled_at + _seconds(one.cooldown))  # it begins again after a longer verification
        return max(found, default=None)


def extra(
    type_: ActionType, at: datetime, latest: datetime, limits: Limits, up: int = 0, down: int = 0,
    doubt: Doubt | None = None,
) -> Extra:  # fmt: skip
    settled_at = latest + max(PROGRESS_DEADLINE, _seconds(limits.verification_timeout_seconds))
    return Extra(type_, at, latest, settled_at, limits.cooldown_seconds, up, down, doubt)


def _explains(until: datetime, at: datetime, finished_at: datetime | None, limits: Limits) -> bool:
    ends = [at, *([] if finished_at is None else [finished_at])]
    return any(abs(until - one - _seconds(limits.cooldown_seconds)) <= TOLERANCE for one in ends)


def _until(at: datetime, finished_at: datetime | None, limits: Limits, now: datetime) -> datetime:
    """A cooldown begins with the action, and again at the end of a longer verification."""
    until = at + _seconds(limits.cooldown_seconds)
    if finished_at is not None and until <= finished_at <= now:
        return finished_at + _seconds(limits.cooldown_seconds)
    return until


@lru_cache(1000)
def _counted_for(cooldown: int) -> timedelta:
    """How long an action counts in the limits of its workload, whose cooldown is given in seconds."""
    return max(RATE_WINDOW, _seconds(cooldown))


@lru_cache(1000)
def _seconds(seconds: int) -> timedelta:
    return timedelta(seconds=seconds)
