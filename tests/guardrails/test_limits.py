"""Each guardrail with its details, and what must hold of them in every history."""

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import assume, event, given, settings
from hypothesis import strategies as st

from guardrails.checks.answers import RECHECK
from guardrails.checks.busy import one_action_at_a_time
from guardrails.checks.freeze import freeze
from guardrails.checks.missing import missing_replicas
from guardrails.checks.policy import policy
from guardrails.checks.refused import FIRST_HOLD, MAX_HOLD, recently_refused
from guardrails.checks.replicas import max_replicas, min_replicas, scale_direction
from guardrails.checks.target import PROTECTED_NAMESPACES, protected_namespace, target
from guardrails.checks.windows import (
    RATE_WINDOW,
    SCALE_WINDOW,
    actions_per_hour,
    cooldown,
    scale_down_velocity,
    scale_velocity,
)
from guardrails.evaluate import GUARDRAILS, Guardrail, decide
from guardrails.types import Allow, Facts, FreezeFacts, Inputs, Limits, Outcome, PolicyAnswer, RecentAction, TargetFacts
from signals.proposals import desired_replicas, scale_increase
from signals.reasons import Reason
from signals.types import ActionType, Kind, Origin, Proposal, Target
from tests.kit.decisions import (
    FACTS,
    FREEZES,
    LIMITS,
    NOW,
    RESTART,
    TARGET,
    ago,
    ahead,
    known,
    proposals,
    refused,
    restarted,
    scale,
    scaled,
)

ALLOW, DEFER, DENY, NOT_EVALUATED = Outcome.ALLOW, Outcome.DEFER, Outcome.DENY, Outcome.NOT_EVALUATED
DEFAULT = Limits()


def patch(**patched: Any) -> Proposal:
    return Proposal(ActionType.PATCH, TARGET, Origin.CLOSED_LOOP, {"patch": patched})


def removed(*minutes_ago: float, by: int = 1) -> tuple[RecentAction, ...]:
    return tuple(RecentAction(ActionType.SCALE, ago(minutes=minutes), 0, by) for minutes in minutes_ago)


def direct(proposal: Proposal) -> Proposal:
    return replace(proposal, origin=Origin.DIRECT)


@pytest.mark.parametrize(
    ("facts", "outcome", "reason", "details"),
    [
        (known(), ALLOW, None, {"uid": "uid-1", "replicas": 2}),
        (known(target=None), DENY, Reason.TARGET_NOT_FOUND, {}),
        (known(target=TargetFacts("uid-1", 2, deleting=True)), DENY, Reason.TARGET_BEING_DELETED, {}),
        (known(managed=False), DENY, Reason.NAMESPACE_NOT_MANAGED, {}),
        (known(target=None, managed=False), DENY, Reason.NAMESPACE_NOT_MANAGED, {}),
        (Facts(target_seen=False), NOT_EVALUATED, None, {}),
        (Facts(target_seen=False, managed=False), DENY, Reason.NAMESPACE_NOT_MANAGED, {}),
    ],
)
def test_the_target_is_there_and_ours(
    facts: Facts, outcome: Outcome, reason: Reason | None, details: dict[str, Any]
) -> None:
    verdict = target(RESTART, facts, DEFAULT, NOW)
    assert (verdict.outcome, verdict.reason, verdict.details) == (outcome, reason, details)


@pytest.mark.parametrize(
    ("namesakes", "hint"),
    [
        ((), ""),
        ((Kind.STATEFUL_SET,), " There is a StatefulSet of this name: name the kind in the request."),
        (
            (Kind.STATEFUL_SET, Kind.DAEMON_SET),
            " There is a StatefulSet and a DaemonSet of this name: name the kind in the request.",
        ),
    ],
)
def test_a_target_that_is_missing_is_told_with_the_kinds_of_its_namesakes(
    namesakes: tuple[Kind, ...], hint: str
) -> None:
    verdict = target(RESTART, known(target=None, namesakes=namesakes), DEFAULT, NOW)

    assert (verdict.outcome, verdict.reason) == (DENY, Reason.TARGET_NOT_FOUND)
    assert verdict.message == f"There is no Deployment smartops-dev/erp-simulator.{hint}"


@pytest.mark.parametrize("origin", Origin)
@pytest.mark.parametrize("namespace", sorted(PROTECTED_NAMESPACES))
def test_the_clusters_own_namespaces_are_left_alone_whoever_asks(namespace: str, origin: Origin) -> None:
    verdict = protected_namespace(
        replace(RESTART, target=Target("default", namespace, "coredns"), origin=origin), known(), DEFAULT, NOW
    )
    assert (verdict.outcome, verdict.reason) == (DENY, Reason.PROTECTED_NAMESPACE)
    assert protected_namespace(RESTART, known(), DEFAULT, NOW).outcome is ALLOW


OVER_NIGHT = FreezeFacts("namespace smartops-dev", "quarter's end", "ana", ahead(hours=2))
ENDLESS = FreezeFacts("everything", "incident 4", "ben", None)


@pytest.mark.parametrize(
    ("freezes", "until", "by"),
    [
        ([OVER_NIGHT], OVER_NIGHT.until, "ana"),
        ([OVER_NIGHT, replace(OVER_NIGHT, until=ahead(hours=1), by="cem")], OVER_NIGHT.until, "ana"),
        ([ENDLESS], NOW + RECHECK, "ben"),
        ([OVER_NIGHT, ENDLESS], NOW + RECHECK, "ben"),
    ],
)
def test_a_freeze_holds_until_its_end_and_names_who_and_why(
    freezes: list[FreezeFacts], until: datetime, by: str
) -> None:
    facts = known(freezes=tuple(freezes))
    verdict = freeze(scale(), facts, DEFAULT, NOW)

    assert (verdict.outcome, verdict.reason, verdict.until) == (DEFER, Reason.FROZEN, until)
    assert verdict.details["by"] == by
    assert verdict.message.startswith(f"{by} froze ")
    assert freeze(direct(scale()), facts, DEFAULT, NOW).outcome is DENY
    assert freeze(scale(), known(), DEFAULT, NOW).outcome is ALLOW


def test_a_freeze_of_many_days_says_on_which_it_ends() -> None:
    over_christmas = replace(OVER_NIGHT, until=datetime(2027, 1, 2, 8, tzinfo=UTC))
    verdict = freeze(scale(), known(freezes=(over_christmas,)), DEFAULT, NOW)

    assert verdict.message == "ana froze namespace smartops-dev until 2027-01-02 08:00:00 UTC: quarter's end"


@pytest.mark.parametrize(
    ("count", "seconds"), [(1, 30), (2, 60), (3, 120), (7, 1920), (8, 3600), (9, 3600), (10_000, 3600)]
)
def test_a_change_that_the_cluster_refused_is_held_back_for_longer_each_time(count: int, seconds: int) -> None:
    facts = known(refused=refused(count, seconds=1))

    verdict = recently_refused(scale(), facts, DEFAULT, NOW)

    assert (verdict.outcome, verdict.reason) == (DEFER, Reason.RECENTLY_REFUSED)
    assert verdict.until == NOW + timedelta(seconds=seconds - 1)
    assert verdict.details["refusals"] == count
    assert verdict.message.endswith("exceeded quota: q")


@pytest.mark.parametrize(
    ("proposal", "facts"),
    [
        (scale(), known()),
        (scale(), known(refused=refused(1, seconds=FIRST_HOLD.total_seconds()))),
        (scale(), known(refused=refused(99, seconds=MAX_HOLD.total_seconds()))),
        (direct(scale()), known(refused=refused(9, seconds=1))),
        (replace(scale(), dry_run=True), known(refused=refused(9, seconds=1))),
    ],
    ids=["never refused", "the first hold is over", "the longest hold is over", "a person asks", "a dry run"],
)
def test_a_change_is_free_when_its_hold_is_over_or_a_person_asks_for_it(proposal: Proposal, facts: Facts) -> None:
    verdict = recently_refused(proposal, facts, DEFAULT, NOW)

    assert verdict.outcome is ALLOW
    assert bool(verdict.message) == (facts.refused is not None)


def running(available: int, replicas: int = 4, obstacle: str = "", scaled_to: int | None = 4) -> Facts:
    target = TargetFacts("uid-1", replicas, available=available, obstacle=obstacle)
    return known(target=target, scaled_to=scaled_to)


SINCE = "replicas of smartops-dev/erp-simulator are not available since SmartOps added replicas"


@pytest.mark.parametrize(
    ("facts", "wanted", "message"),
    [
        (running(3), 4, f"1 of the 4 {SINCE}."),
        (running(0, obstacle="exceeded quota: q"), 4, f"4 of the 4 {SINCE}: exceeded quota: q"),
        (running(2, replicas=3), 3, f"1 of the 3 {SINCE}."),
        (running(3, replicas=6), 4, f"1 of the 4 {SINCE}."),
    ],
    ids=["one is missing", "the cluster says why", "somebody scaled down since", "somebody scaled up since"],
)
def test_no_replicas_are_added_while_those_of_the_last_scale_are_missing(
    facts: Facts, wanted: int, message: str
) -> None:
    verdict = missing_replicas(scale(), facts, DEFAULT, NOW)

    assert (verdict.outcome, verdict.reason, verdict.until) == (DEFER, Reason.REPLICAS_MISSING, NOW + RECHECK)
    assert verdict.message == message
    assert verdict.details["wanted"] == wanted


@pytest.mark.parametrize(
    ("proposal", "facts"),
    [
        (scale(), running(4)),
        (scale(), running(3, replicas=3)),
        (scale(), running(1, scaled_to=None)),
        (scale(delta=-1), running(1)),
        (RESTART, running(1)),
        (direct(scale()), running(1)),
    ],
    ids=["they came", "scaled back", "they were all available", "scales down", "adds none", "a person asks"],
)
def test_replicas_that_are_not_missing_from_a_scale_hold_nothing_back(proposal: Proposal, facts: Facts) -> None:
    assert missing_replicas(proposal, facts, DEFAULT, NOW).outcome is ALLOW


def test_one_action_at_a_time() -> None:
    facts = known(active_action="0199-a")
    verdict = one_action_at_a_time(scale(), facts, DEFAULT, NOW)

    assert (verdict.outcome, verdict.reason, verdict.until) == (DEFER, Reason.TARGET_BUSY, NOW + RECHECK)
    assert verdict.details == {"action": "0199-a"}
    assert one_action_at_a_time(direct(scale()), facts, DEFAULT, NOW).outcome is DENY
    assert one_action_at_a_time(scale(), known(), DEFAULT, NOW).outcome is ALLOW
    assert one_action_at_a_time(replace(scale(), dry_run=True), facts, DEFAULT, NOW).outcome is ALLOW


@pytest.mark.parametrize("origin", Origin)
@pytest.mark.parametrize(
    ("proposal", "current", "outcome", "value"),
    [
        (scale(delta=1), 7, ALLOW, 8),
        (scale(delta=1), 8, DENY, 9),
        (scale(replicas=8), 2, ALLOW, 8),
        (scale(replicas=9), 2, DENY, 9),
        (scale(replicas=9), None, DENY, 9),
        (scale(replicas=0), 2, ALLOW, 0),
        (scale(delta=1), None, NOT_EVALUATED, None),  # evaluated before the write
        (scale(delta=-2), 2, ALLOW, 0),
        (scale(delta=-3), 2, DENY, -1),
        (patch(spec={"replicas": 9}), 2, DENY, 9),
        (patch(spec={"replicas": 8}), None, ALLOW, 8),
        (patch(spec={"paused": True}), 20, ALLOW, None),
        (patch(spec=None), 20, ALLOW, None),
        (patch(metadata={"labels": {}}), 20, ALLOW, None),
        (RESTART, 20, ALLOW, None),
    ],
)
def test_replicas_stay_within_their_limit_whoever_asks(
    proposal: Proposal, current: int | None, outcome: Outcome, value: int | None, origin: Origin
) -> None:
    live = None if current is None else TargetFacts("uid-1", current)
    verdict = max_replicas(replace(proposal, origin=origin), known(target=live), DEFAULT, NOW)

    assert (verdict.outcome, verdict.reason) == (outcome, Reason.REPLICA_LIMIT if outcome is DENY else None)
    bound = 0 if value is not None and value < 0 else 8
    assert verdict.details == {"value": value, "limit": bound, "current": current}


@pytest.mark.parametrize(
    ("proposal", "current", "limit", "outcome"),
    [
        (scale(delta=-5), 5, 1, DENY),
        (scale(delta=-1), 1, 1, DENY),
        (scale(delta=-1), 2, 1, ALLOW),
        (scale(delta=-1), 2, 0, ALLOW),
        (scale(delta=-1), 1, 0, ALLOW),
        (scale(replicas=2), 5, 3, DENY),
        (scale(replicas=2), 1, 3, ALLOW),  # it adds some, though too few
        (scale(replicas=2), 2, 3, ALLOW),
        (scale(delta=-1), 2, 3, DENY),
        (patch(spec={"replicas": 0}), 2, 1, DENY),
        (patch(spec={"replicas": 1}), None, 1, NOT_EVALUATED),
        (patch(spec={"paused": True}), 2, 3, ALLOW),
        (RESTART, None, 3, ALLOW),
        (RESTART, 2, 3, ALLOW),
    ],
)
def test_the_loop_keeps_a_minimum_of_replicas_and_a_caller_may_go_below(
    proposal: Proposal, current: int | None, limit: int, outcome: Outcome
) -> None:
    facts = known(target=None if current is None else TargetFacts("uid-1", current))
    own = replace(DEFAULT, min_replicas=limit)
    verdict = min_replicas(proposal, facts, own, NOW)

    assert (verdict.outcome, verdict.reason) == (outcome, Reason.REPLICA_LIMIT if outcome is DENY else None)
    assert verdict.details["minimum"] == limit
    assert min_replicas(direct(proposal), facts, own, NOW).outcome in (ALLOW, NOT_EVALUATED)


@pytest.mark.parametrize(
    ("params", "current", "outcome"),
    [
        ({"replicas": 4}, 3, ALLOW),
        ({"replicas": 4}, 6, DENY),  # up is the default
        ({"replicas": 4, "direction": "up"}, 6, DENY),
        ({"replicas": 4, "direction": "down"}, 6, ALLOW),
        ({"replicas": 4, "direction": "down"}, 3, DENY),
        ({"replicas": 4, "direction": "any"}, 3, ALLOW),
        ({"replicas": 4, "direction": "any"}, 6, ALLOW),
        ({"replicas": 4, "direction": "any"}, 4, DENY),  # it changes nothing
        ({"replicas": 4}, 4, DENY),
        ({"replicas": 4}, None, NOT_EVALUATED),
        ({"delta": -1}, 3, ALLOW),
    ],
)
def test_an_absolute_number_moves_a_workload_in_the_direction_of_its_rule(
    params: dict[str, Any], current: int | None, outcome: Outcome
) -> None:
    facts = known(target=None if current is None else TargetFacts("uid-1", current))
    verdict = scale_direction(scale(**params), facts, DEFAULT, NOW)

    assert (verdict.outcome, verdict.reason) == (outcome, Reason.WRONG_DIRECTION if outcome is DENY else None)
    assert bool(verdict.message) == (outcome in (DENY, NOT_EVALUATED))
    assert scale_direction(direct(scale(**params)), facts, DEFAULT, NOW).outcome is ALLOW


@pytest.mark.parametrize(
    ("patched", "direction", "outcome"),
    [
        ({"replicas": 1}, {}, DENY),
        ({"replicas": 1}, {"direction": "down"}, ALLOW),
        ({"replicas": 3}, {}, ALLOW),
        ({"replicas": 2}, {}, DENY),
        ({"replicas": 2, "paused": False}, {}, ALLOW),  # it changes something else
        ({"paused": True}, {}, ALLOW),
    ],
)
def test_a_patch_of_the_replicas_has_a_direction_too(
    patched: dict[str, Any], direction: dict[str, str], outcome: Outcome
) -> None:
    proposal = replace(patch(), params={"patch": {"spec": patched}, **direction})

    assert scale_direction(proposal, known(), DEFAULT, NOW).outcome is outcome


@pytest.mark.parametrize(
    ("until", "outcome", "remaining"),
    [(ahead(seconds=42), DEFER, 42.0), (ahead(microseconds=1), DEFER, 0.1), (NOW, ALLOW, None), (None, ALLOW, None)],
)
def test_a_cooldown_holds_the_loop_back_until_its_end(
    until: datetime | None, outcome: Outcome, remaining: float | None
) -> None:
    facts = known(cooldown_until=until)
    verdict = cooldown(scale(), facts, DEFAULT, NOW)

    assert (verdict.outcome, verdict.until) == (outcome, until if outcome is DEFER else None)
    assert verdict.details["limit_seconds"] == 300
    assert verdict.details.get("remaining_seconds") == remaining
    assert cooldown(direct(scale()), facts, DEFAULT, NOW).outcome is ALLOW


SIX = scaled(59, 50, 40, 30, 20, 10)


@pytest.mark.parametrize(
    ("recent", "limit", "value", "until"),
    [
        (SIX[1:], 6, 5, None),
        (SIX, 6, 6, ahead(minutes=1)),
        (SIX[::-1], 6, 6, ahead(minutes=1)),
        (SIX, 4, 6, ahead(minutes=20)),  # the limit was lowered: three have to leave
        (scaled(60, 50, 40, 30, 20, 10), 6, 5, None),  # the first left the window this very moment
        (scaled(90, 80, 70, 10), 6, 1, None),
        (SIX[1:] + restarted(5, 4, 3), 6, 5, None),
        (scaled(1), 1, 1, ahead(minutes=59)),
        ((), 0, 0, NOW + RECHECK),
        (scaled(1), 0, 1, NOW + RECHECK),
    ],
)
def test_actions_per_hour_count_their_own_type(
    recent: tuple[RecentAction, ...], limit: int, value: int, until: datetime | None
) -> None:
    facts, own = known(recent=recent), replace(DEFAULT, max_actions_per_hour=limit)
    verdict = actions_per_hour(scale(), facts, own, NOW)

    assert (verdict.outcome, verdict.until) == (DEFER if until else ALLOW, until)
    assert verdict.reason == (Reason.RATE_LIMIT if until else None)
    assert (verdict.details["value"], verdict.details["limit"]) == (value, limit)
    assert verdict.details["window_seconds"] == 3600
    person = actions_per_hour(direct(scale()), facts, own, NOW)
    assert (person.outcome, person.details["value"]) == (ALLOW, value)


@pytest.mark.parametrize(
    ("proposal", "recent", "value", "wanted", "until"),
    [
        (scale(delta=1), scaled(14, 5), 2, 1, None),
        (scale(delta=1), scaled(14, 5, 1), 3, 1, ahead(minutes=1)),
        (scale(delta=1), scaled(15, 5, 1), 2, 1, None),
        (scale(delta=2), scaled(14, 5, 1), 3, 2, ahead(minutes=10)),
        (scale(delta=3), scaled(14, 5, 1), 3, 3, ahead(minutes=14)),
        (scale(delta=1), scaled(14, by=2) + scaled(4, by=3), 5, 1, ahead(minutes=11)),
        (scale(replicas=5), (), 0, 3, None),
        (scale(replicas=5), scaled(6), 1, 3, ahead(minutes=9)),
        (patch(spec={"replicas": 5}), scaled(6), 1, 3, ahead(minutes=9)),
        (scale(replicas=2), scaled(1, by=3), 3, 0, None),
        (scale(delta=-1), scaled(1, by=3), 3, 0, None),
        (RESTART, scaled(1, by=3), 3, 0, None),
    ],
)
def test_scaling_up_keeps_to_its_velocity(
    proposal: Proposal, recent: tuple[RecentAction, ...], value: int, wanted: int, until: datetime | None
) -> None:
    facts = known(recent=recent)
    verdict = scale_velocity(proposal, facts, DEFAULT, NOW)

    assert (verdict.outcome, verdict.until) == (DEFER if until else ALLOW, until)
    details = {"value": value, "wanted": wanted, "limit": 3, "window_seconds": 900}
    assert verdict.details == details | ({"next_allowed_at": until.isoformat()} if until else {})
    assert scale_velocity(direct(proposal), facts, DEFAULT, NOW).outcome is ALLOW


@pytest.mark.parametrize(
    ("proposal", "recent", "value", "wanted", "until"),
    [
        (scale(delta=-1), removed(14, 5), 2, 1, None),
        (scale(delta=-1), removed(14, 5, 1), 3, 1, ahead(minutes=1)),
        (scale(delta=-1), removed(15, 5, 1), 2, 1, None),
        (scale(delta=-3), removed(14, 5, 1), 3, 3, ahead(minutes=14)),
        (scale(replicas=3, direction="down"), removed(6), 1, 3, ahead(minutes=9)),
        (patch(spec={"replicas": 3}), removed(6), 1, 3, ahead(minutes=9)),
        (scale(delta=1), removed(1, by=3), 3, 0, None),
        (scale(delta=-1), scaled(1, by=3), 0, 1, None),  # added replicas are another window
        (RESTART, removed(1, by=3), 3, 0, None),
    ],
)
def test_scaling_down_keeps_to_its_velocity(
    proposal: Proposal, recent: tuple[RecentAction, ...], value: int, wanted: int, until: datetime | None
) -> None:
    facts = known(recent=recent, target=TargetFacts("uid-1", 6))
    verdict = scale_down_velocity(proposal, facts, DEFAULT, NOW)

    assert (verdict.outcome, verdict.until) == (DEFER if until else ALLOW, until)
    details = {"value": value, "wanted": wanted, "limit": 3, "window_seconds": 900}
    assert verdict.details == details | ({"next_allowed_at": until.isoformat()} if until else {})
    assert scale_down_velocity(direct(proposal), facts, DEFAULT, NOW).outcome is ALLOW


def test_too_large_a_step_down_is_denied() -> None:
    verdict = scale_down_velocity(scale(delta=-4), known(target=TargetFacts("uid-1", 8)), DEFAULT, NOW)

    assert (verdict.outcome, verdict.reason) == (DENY, Reason.SCALE_VELOCITY_LIMIT)
    assert verdict.message.startswith("-4 replicas on top of -0 within 15 minutes would exceed -3")


def test_a_step_that_no_waiting_makes_small_enough_is_denied() -> None:
    verdict = scale_velocity(scale(delta=4), known(), DEFAULT, NOW)

    assert (verdict.outcome, verdict.reason, verdict.until) == (DENY, Reason.SCALE_VELOCITY_LIMIT, None)


ENGINE = "http://opa/v1/data/smartops"


@pytest.mark.parametrize(
    ("answer", "loop", "person", "reason"),
    [
        (None, NOT_EVALUATED, NOT_EVALUATED, None),
        (PolicyAnswer(True, "Fine.", ENGINE), ALLOW, ALLOW, None),
        (PolicyAnswer(False, "Not on Fridays.", ENGINE), DENY, DENY, Reason.POLICY_DENIED),
        (PolicyAnswer(None, "ReadTimeoutError", ENGINE), DEFER, DENY, Reason.POLICY_UNAVAILABLE),
    ],
)
def test_a_policy_that_does_not_say_yes_says_no(
    answer: PolicyAnswer | None, loop: Outcome, person: Outcome, reason: Reason | None
) -> None:
    facts = known(policy=answer)
    verdict = policy(scale(), facts, DEFAULT, NOW)

    assert (verdict.outcome, verdict.reason) == (loop, reason)
    assert policy(direct(scale()), facts, DEFAULT, NOW).outcome is person
    if answer is not None:
        assert answer.reason in verdict.message
        assert verdict.details == {"engine": ENGINE}


def as_known_at(moment: datetime, facts: Facts) -> Facts:
    """What ended by itself is no fact any more."""
    lasting = tuple(one for one in facts.freezes if one.until is None or one.until > moment)
    return replace(facts, freezes=lasting)


BUSY_TIMES = st.builds(
    Facts,
    target_seen=st.just(True),
    target=st.builds(TargetFacts, st.just("uid-1"), st.integers(0, 5)),
    cooldown_until=st.timedeltas(timedelta(microseconds=1), timedelta(hours=2)).map(lambda rest: NOW + rest),
    recent=st.lists(
        st.builds(
            RecentAction,
            st.just(ActionType.SCALE),
            st.timedeltas(timedelta(0), timedelta(minutes=20)).map(lambda age: NOW - age),
            st.integers(1, 3),
        ),
        min_size=3,
        max_size=8,
    ).map(tuple),
    freezes=FREEZES.map(lambda freezes: tuple(one for one in freezes if one.until) or (OVER_NIGHT,)),
)
STRICT = st.builds(Limits, max_actions_per_hour=st.integers(1, 3), max_scale_increase=st.integers(2, 5))


@pytest.mark.parametrize("guardrail", [freeze, cooldown, actions_per_hour, scale_velocity])
@settings(max_examples=150)
@given(proposal=st.sampled_from([scale(delta=1), scale(delta=2)]), facts=BUSY_TIMES, own=STRICT)
def test_a_deferral_ends_at_its_time_and_not_before(
    guardrail: Guardrail, proposal: Proposal, facts: Facts, own: Limits
) -> None:
    verdict = guardrail(proposal, facts, own, NOW)
    assume(verdict.outcome is DEFER)
    assert verdict.until is not None

    def asked_at(moment: datetime) -> Outcome:
        return guardrail(proposal, as_known_at(moment, facts), own, moment).outcome

    assert verdict.until > NOW
    assert asked_at(verdict.until) is ALLOW
    assert asked_at(verdict.until - timedelta(microseconds=1)) is DEFER


@settings(max_examples=300)
@given(proposals(Origin.DIRECT), FACTS, LIMITS)
def test_who_asks_directly_is_never_put_off(proposal: Proposal, facts: Facts, own: Limits) -> None:
    assert DEFER not in {ask(proposal, facts, own, NOW).outcome for ask in GUARDRAILS}


@dataclass(frozen=True)
class Change:
    """What took effect at `at`, and was recorded only at `recorded`."""

    proposal: Proposal
    limits: Limits
    at: datetime
    recorded: datetime
    replicas: int
    increase: int


@dataclass
class History:
    """One workload on a virtual clock: whoever is allowed acts, at once or a while later."""

    now: datetime = NOW
    replicas: int = 2
    changes: list[Change] = field(default_factory=list)
    cooldowns: dict[ActionType, datetime] = field(default_factory=dict)
    refused: list[tuple[Proposal, Reason]] = field(default_factory=list)

    def propose(self, proposal: Proposal, own: Limits, until_effect: timedelta, until_recorded: timedelta) -> None:
        recent = tuple(RecentAction(one.proposal.type, one.recorded, one.increase) for one in self.changes)
        facts = Facts(
            target_seen=True,
            target=TargetFacts("uid-1", self.replicas),
            recent=recent,
            cooldown_until=self.cooldowns.get(proposal.type),
        )
        decision = decide(Inputs(self.now, facts, own, proposal=proposal))
        if not isinstance(decision, Allow):
            self.refused.append((proposal, decision.reason))
            return
        at = self.now + until_effect
        desired = desired_replicas(proposal, self.replicas)
        replicas = self.replicas if desired is None else desired
        increase = scale_increase(proposal, self.replicas)
        self.now = at + until_recorded  # until then the action is active, and the target busy
        self.changes.append(Change(proposal, own, at, self.now, replicas, increase))
        self.cooldowns[proposal.type] = self.now + timedelta(seconds=own.cooldown_seconds)
        self.replicas = replicas


WISHES = st.sampled_from(
    [scale(delta=1)] * 4 + [scale(delta=2), scale(delta=-2), scale(replicas=3), patch(spec={"replicas": 6})] + [RESTART]
)
GAPS = st.integers(0, 5).flatmap(
    lambda kind: st.timedeltas(timedelta(0), timedelta(minutes=(1, 1, 5, 5, 20, 70)[kind]))
)
DELAYS = st.timedeltas(timedelta(0), timedelta(seconds=40))
OWN = st.builds(
    Limits,
    max_replicas=st.integers(1, 12),
    cooldown_seconds=st.sampled_from([0, 30, 300, 600]),
    max_actions_per_hour=st.integers(0, 4),
    max_scale_increase=st.integers(0, 4),
)


@settings(max_examples=120)
@given(
    OWN,
    st.lists(
        st.tuples(
            GAPS, WISHES, st.sampled_from([Origin.CLOSED_LOOP] * 5 + [Origin.DIRECT]), DELAYS, DELAYS, st.none() | OWN
        ),
        min_size=10,
        max_size=40,
    ),
)
def test_no_history_exceeds_a_limit_at_any_instant(own: Limits, steps: list[Any]) -> None:
    history = History()
    for gap, wish, origin, until_effect, until_recorded, changed in steps:
        history.now += gap
        own = changed or own
        history.propose(replace(wish, origin=origin), own, until_effect, until_recorded)

    for index, one in enumerate(history.changes):
        assert one.replicas >= 0
        if desired_replicas(one.proposal, 0) is not None:
            assert one.replicas <= one.limits.max_replicas
        if one.proposal.origin is Origin.CLOSED_LOOP:
            _keeps_to_its_limits(one, history.changes[: index + 1])
    for _, reason in history.refused:
        event(str(reason))


def _keeps_to_its_limits(last: Change, changes: list[Change]) -> None:
    """In the sliding windows that end with the last of the changes, and since the one before it."""
    same = [one for one in changes if one.proposal.type is last.proposal.type]
    assert len([one for one in same if one.at > last.at - RATE_WINDOW]) <= last.limits.max_actions_per_hour
    if last.increase:
        added = sum(one.increase for one in changes if one.at > last.at - SCALE_WINDOW)
        assert added <= last.limits.max_scale_increase
    if len(same) > 1:
        assert last.at - same[-2].recorded >= timedelta(seconds=same[-2].limits.cooldown_seconds)
