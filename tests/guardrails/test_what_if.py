"""How stored decisions would have ended under a draft: a table of drafts with known differences."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from guardrails.evaluate import decide
from guardrails.types import (
    Defer,
    Deny,
    Facts,
    FreezeFacts,
    Inputs,
    Limits,
    Outcome,
    RecentAction,
    RolloutFacts,
    RolloutState,
    TargetFacts,
)
from guardrails.what_if.evaluate import evaluate
from guardrails.what_if.history import DraftHistory
from guardrails.what_if.types import SAME, Compared, Comparison, Doubt, Drafted, Edit, Effect, PastDecision
from signals.types import ActionType, Mode, Origin, Proposal, RuleSpec, SignalFacts, Source
from tests.kit.decisions import LIVE, NOW, RESTART, TARGET, inputs, known, scale

Draft = Callable[[Inputs], Inputs]
RESTARTS = RuleSpec(1, 1, "restart", Source.RCA, "memory_leak", ActionType.RESTART, {})
SCALES = RuleSpec(2, 1, "scale", Source.ANOMALY, "resource", ActionType.SCALE, {"delta": 1})


@dataclass(frozen=True, slots=True)
class Made(PastDecision):
    again: bool = False


@dataclass
class Loop:
    """The control loop of one workload in a table: every due signal is decided on, an allowed action is applied at
    once, and ends after `takes` seconds."""

    limits: Limits
    takes: int = 2
    replicas: int = 2
    freezes: tuple[FreezeFacts, ...] = ()

    def __post_init__(self) -> None:
        self.past: list[Made] = []
        self._actions: list[tuple[RecentAction, datetime]] = []
        self._waiting: dict[str, tuple[datetime, RuleSpec]] = {}

    def _cooldown(self, at: datetime, end: datetime, now: datetime) -> datetime:
        """It begins again when a longer verification ends."""
        cooldown = timedelta(seconds=self.limits.cooldown_seconds)
        return end + cooldown if at + cooldown <= end <= now else at + cooldown

    def decide_what_is_due(self, minute: float) -> None:
        """Until that time: what was deferred, each at its time."""
        end = NOW + timedelta(minutes=minute)
        while due := sorted((at, one) for one, (at, _) in self._waiting.items() if at <= end):
            at, one = due[0]
            seen = next(past.inputs.now for past in self.past if past.signal == one)
            rule = self._waiting.pop(one)[1]
            self.decide((at - NOW) / timedelta(minutes=1), rule, again=True, id=one, last_seen_at=seen)

    def decide(self, minute: float, rule: RuleSpec = RESTARTS, again: bool = False, **signal: Any) -> Made:
        """On a signal that has just been reported."""
        now = NOW + timedelta(minutes=minute)
        number = len(self.past)
        reported = SignalFacts(
            **{"id": f"s{number}", "source": rule.source, "target": TARGET, "symptom": rule.symptom,
               "last_seen_at": now, "resolved": False, "due_at": now, **signal},
        )  # fmt: skip
        recent = [one for one, _ in self._actions if one.at > now - timedelta(hours=1)]
        same = [(one.at, end) for one, end in self._actions if one.type is rule.action_type]
        facts = Facts(
            target_seen=True,
            target=TargetFacts("u", self.replicas, self.replicas),
            active_action=next((f"a{place}" for place, (_, end) in enumerate(self._actions) if end > now), ""),
            cooldown_until=self._cooldown(*max(same), now) if same else None,
            recent=tuple(recent),
            freezes=self.freezes,
        )
        given_ = Inputs(now, facts, self.limits, reported, (rule,))
        decision = decide(given_)
        effect, action = Effect(), ""
        if decision.outcome is Outcome.ALLOW:
            at, up = now + timedelta(milliseconds=20), rule.params.get("delta", 0)
            action, end = f"a{len(self._actions)}", at + timedelta(seconds=self.takes)
            self._actions.append((RecentAction(rule.action_type, at, up), end))
            effect, self.replicas = Effect(at, end, up), self.replicas + up
        reason, until = getattr(decision, "reason", ""), getattr(decision, "until", None)
        one = Made(
            f"d{number}", given_, decision.outcome, str(reason), until, reported.id, action, effect=effect, again=again
        )
        self._waiting.pop(reported.id, None)
        if until is not None and decision.outcome is Outcome.DEFER:
            self._waiting[reported.id] = (until, rule)
        self.past.append(one)
        return one


def preview(past: Sequence[PastDecision], draft: Draft) -> list[Compared]:
    history = DraftHistory()
    drafted = [(one, draft(one.inputs)) for one in past]
    return [evaluate(one, None if new == one.inputs else Drafted(new), history) for one, new in drafted]


def words(found: Sequence[Compared]) -> list[str]:
    return [f"{one.outcome} {one.reason or ''}".strip() if one.outcome else str(one.doubt or one.comparison)
            if one.comparison is not Comparison.SAME else "same" for one in found]  # fmt: skip


def limits(**changed: Any) -> Draft:
    return lambda given_: replace(given_, limits=replace(given_.limits, **changed))


EVERY_TEN_MINUTES = range(0, 60, 10)


def loop(minutes: Sequence[float], rule: RuleSpec = RESTARTS, **options: Any) -> list[Made]:
    made = Loop(Limits(**{"cooldown_seconds": 300, **options}))
    for minute in minutes:
        made.decide(minute, rule)
    return made.past


def test_fewer_actions_per_hour_defer_those_beyond_the_new_limit() -> None:
    past = loop(EVERY_TEN_MINUTES)
    assert {one.outcome for one in past} == {Outcome.ALLOW}

    found = preview(past, limits(max_actions_per_hour=2))

    # The third signal waits until the window has room at 12:60. Its problem is reported again: the reports are counted
    # on the signal that waits.
    assert words(found) == ["same", "same", "defer RateLimit", "not_made", "not_made", "not_made"]


def test_a_limit_counts_what_the_draft_would_have_done() -> None:
    past = loop([0, 4, 8, 12], cooldown_seconds=200)

    found = preview(past, limits(cooldown_seconds=300))

    assert [one.outcome for one in past] == [Outcome.ALLOW] * 4
    # 12:04 waits until 12:05. What became of it then is not stored, and 12:08 depends on it.
    assert words(found)[:2] == ["same", "defer CooldownActive"]
    assert words(found)[2:] == [Doubt.DECIDED_ANOTHER_TIME] * 2


def test_a_shorter_cooldown_allows_what_was_deferred() -> None:
    made = Loop(Limits(cooldown_seconds=600))
    made.decide(0)
    made.decide(8)
    made.decide(12)

    found = preview(made.past, limits(cooldown_seconds=300))

    assert [one.outcome for one in made.past] == [Outcome.ALLOW, Outcome.DEFER, Outcome.ALLOW]
    # The action of 12:08 is new. At 12:12 it may still be verified, and its cooldown runs.
    assert words(found) == ["same", "allow", "defer CooldownActive"]


def test_a_deferred_signal_that_acts_under_the_draft_is_not_decided_again() -> None:
    made = Loop(Limits(cooldown_seconds=600))
    made.decide(0)
    waiting = made.decide(8)
    made.decide(10.1, id=waiting.signal)

    assert words(preview(made.past, limits(cooldown_seconds=300))) == ["same", "allow", "not_made"]


def test_a_signal_that_waits_longer_is_not_decided_at_the_stored_time() -> None:
    made = Loop(Limits(cooldown_seconds=300))
    made.decide(0)
    waiting = made.decide(4)
    made.decide(5.1, id=waiting.signal)

    found = preview(made.past, limits(cooldown_seconds=600))

    assert words(found) == ["same", "defer CooldownActive", "not_made"]
    assert found[1].comparison is Comparison.OTHER_TIME
    assert found[1].until == made.past[0].effect.applied_at + timedelta(seconds=600)  # type: ignore[operator]


def test_a_freeze_defers_every_action_in_its_scope() -> None:
    past = loop([0, 20, 40])
    frozen = FreezeFacts("everything", "release", "user:ana", NOW + timedelta(days=1))

    found = preview(past, lambda one: replace(one, facts=replace(one.facts, freezes=(frozen,))))

    assert words(found) == ["defer Frozen", "not_made", "not_made"]


def test_without_a_freeze_what_it_held_would_have_run() -> None:
    frozen = FreezeFacts("everything", "release", "user:ana", NOW + timedelta(days=1))
    made = Loop(Limits(), freezes=(frozen,))
    made.decide(0)
    made.decide(1, SCALES)

    found = preview(made.past, lambda one: replace(one, facts=replace(one.facts, freezes=())))

    # Whether the restart has ended at 12:01 cannot be known: nothing was verified.
    assert words(found) == ["allow", Doubt.VERIFICATION_UNKNOWN]


def test_replicas_are_those_that_the_draft_leads_to() -> None:
    past = loop([0, 10, 20, 30], SCALES, max_replicas=4)
    assert [str(one.reason) for one in past] == ["", "", "ReplicaLimit", "ReplicaLimit"]

    assert words(preview(past, limits(max_replicas=3))) == ["same", "deny ReplicaLimit", "same", "same"]
    found = preview(past, limits(max_replicas=5))
    # 2 → 3 → 4 → 5 replicas at 12:20, so 12:30 is refused again.
    assert words(found) == ["same", "same", "allow", "same"]


def test_another_change_of_a_rule_is_a_difference() -> None:
    past = loop([0, 30], SCALES)
    bigger = replace(SCALES, params={"delta": 2}, version=2)

    found = preview(past, lambda one: replace(one, rules=(bigger,)))

    assert [one.comparison for one in found] == [Comparison.DIFFERENT] * 2
    assert words(found) == ["allow", "allow"]


def test_whether_a_workload_has_a_label_that_becomes_protected_is_not_stored() -> None:
    past = loop([0], protected_labels="team=a")

    assert words(preview(past, limits(protected_labels=""))) == ["same"]
    assert words(preview(past, limits(protected_labels="tier=critical"))) == [Doubt.FACTS_NOT_LOADED]
    assert words(preview(past, limits(protected_labels="tier=critical", mode=Mode.OBSERVE))) == ["observe ObserveOnly"]


def test_a_removed_rule_leads_to_no_action() -> None:
    past = loop([0, 30])

    found = preview(past, lambda one: replace(one, rules=()))

    assert words(found) == ["ignore NoRule", "ignore NoRule"]


def test_what_a_new_rule_would_have_been_allowed_cannot_be_known_without_the_facts() -> None:
    made = Loop(Limits())
    one = made.decide(0)
    bare = replace(one.inputs, rules=(), facts=replace(one.inputs.facts, history_loaded=False))
    ignored = replace(one, inputs=bare, outcome=Outcome.IGNORE, reason="NoRule", action="", effect=Effect())
    new = Drafted(replace(bare, rules=(RESTARTS,)))

    assert evaluate(ignored, new, DraftHistory()).doubt is Doubt.FACTS_NOT_LOADED
    denied = replace(new, inputs=replace(new.inputs, facts=replace(bare.facts, managed=False)))
    assert evaluate(ignored, denied, DraftHistory()).outcome is Outcome.DENY


def test_a_decision_of_another_version_is_not_blamed_on_the_draft() -> None:
    [one] = loop([0])
    other = replace(one, outcome=Outcome.DENY, reason="OwnWorkload", action="", effect=Effect())
    frozen = replace(one.inputs.facts, freezes=(FreezeFacts("everything", "release", "user:ana", None),))

    assert evaluate(other, Drafted(replace(one.inputs, facts=frozen)), DraftHistory()).doubt is Doubt.OTHER_VERSION
    # The draft changes the verdict of no guardrail, so the guardrail that refused it refuses it under the draft.
    assert evaluate(other, Drafted(limits(max_replicas=7)(one.inputs)), DraftHistory()) == SAME


def test_the_check_before_a_write_follows_its_action() -> None:
    [one] = loop([0])
    checked = replace(one.inputs, proposal=Proposal(ActionType.RESTART, TARGET, Origin.CLOSED_LOOP, {}), rules=())
    again = replace(one, id="plan", inputs=checked, before_write=True)
    frozen = (FreezeFacts("everything", "release", "user:ana", None),)

    found = preview([one, again], lambda given_: replace(given_, facts=replace(given_.facts, freezes=frozen)))
    assert words(found) == ["defer Frozen", "not_made"]

    history = DraftHistory()
    only_later = Drafted(replace(checked, facts=replace(checked.facts, freezes=frozen)))
    assert words([evaluate(one, None, history), evaluate(again, only_later, history)]) == ["same", "defer Frozen"]


def test_what_waits_for_a_person_may_come_to_nothing() -> None:
    past = loop([0, 4, 90])

    found = preview(past, limits(mode=Mode.APPROVE))

    assert [one.outcome for one in past] == [Outcome.ALLOW, Outcome.DEFER, Outcome.ALLOW]
    # The cooldown at 12:04 depends on whether the restart of 12:00 was approved.
    assert words(found) == ["ask ApprovalRequired", Doubt.APPROVAL_UNKNOWN, "ask ApprovalRequired"]


def test_what_is_observed_counts_and_changes_nothing() -> None:
    past = loop([0, 4, 10], SCALES)

    found = preview(past, limits(mode=Mode.OBSERVE, max_replicas=3))

    # 2 → 3 replicas are observed, and never made: the third signal finds 2 of them, too.
    assert words(found)[::2] == ["observe ObserveOnly", "observe ObserveOnly"]
    assert words(found)[1] == "same"


def test_a_signal_that_something_makes_due_is_decided_again_under_the_draft() -> None:
    made = Loop(Limits(cooldown_seconds=300))
    made.decide(0)
    waiting = made.decide(2)
    made.decide(3, id=waiting.signal)

    found = preview(made.past, limits(cooldown_seconds=600))

    assert words(found) == ["same", "defer CooldownActive", "defer CooldownActive"]
    assert [one.comparison for one in found[1:]] == [Comparison.OTHER_TIME] * 2


def test_a_signal_that_resolves_while_it_waits_holds_no_later_signal_back() -> None:
    made = Loop(Limits(cooldown_seconds=300))
    made.decide(0)
    waiting = made.decide(2)
    made.decide(3, id=waiting.signal, resolved=True)
    made.decide(6)

    found = preview(made.past, limits(cooldown_seconds=600))

    assert words(found) == ["same", "defer CooldownActive", "same", "defer CooldownActive"]


@pytest.mark.parametrize(("minute", "ends"), [(30, Doubt.DECIDED_ANOTHER_TIME), (50, "same")])
def test_what_a_waiting_signal_may_have_done_counts_until_its_cooldown_has_ended(minute: int, ends: str) -> None:
    past = loop([0, 4, minute])

    # It waits until 12:10, may act until 12:19, is verified until 12:29:30, and its cooldown ends at 12:39:30.
    assert words(preview(past, limits(cooldown_seconds=600))) == ["same", "defer CooldownActive", ends]


def test_a_waiting_signal_may_act_while_another_one_is_decided_on() -> None:
    made = Loop(Limits(cooldown_seconds=300))
    made.decide(0)
    made.decide(4)
    made.decide(11, SCALES)

    found = preview(made.past, limits(cooldown_seconds=600))

    assert words(found) == ["same", "defer CooldownActive", Doubt.DECIDED_ANOTHER_TIME]


def test_a_problem_that_has_to_last_acts_with_the_report_that_says_so() -> None:
    made = Loop(Limits(cooldown_seconds=300))
    made.decide(0)
    made.decide(6, lasted_seconds=360)
    lasting = replace(RESTARTS, for_seconds=300, version=2)

    found = preview(made.past, lambda one: replace(one, rules=(lasting,)))

    assert words(found) == ["defer NotLasted", "same"]


def test_another_reason_of_a_refusal_is_a_difference() -> None:
    [refused] = past = loop([0], SCALES, max_scale_increase=0)

    [found] = preview(past, limits(max_replicas=2))

    assert (refused.reason, refused.outcome) == ("ScaleVelocityLimit", Outcome.DENY)
    assert (found.comparison, found.reason) == (Comparison.DIFFERENT, "ReplicaLimit")


def test_replicas_that_another_party_sets_are_the_same_under_the_draft() -> None:
    made = Loop(Limits(max_replicas=2))
    made.decide(0, SCALES)
    made.replicas = 3
    made.decide(120, SCALES)

    # 3 → 4. The draft's own replica of 12:00 does not come on top.
    assert words(preview(made.past, limits(max_replicas=4))) == ["allow", "allow"]


def test_replicas_that_depend_on_an_approval_stay_in_doubt() -> None:
    past = loop([0, 120], SCALES, max_replicas=2)

    found = preview(past, limits(max_replicas=3, mode=Mode.APPROVE))

    assert words(found) == ["ask ApprovalRequired", Doubt.DECIDED_ANOTHER_TIME]


@pytest.mark.parametrize(
    ("cooldown_seconds", "after_seconds"),
    [(400, 420 + 400), (600, 600)],
    ids=["shorter than the verification", "longer than the verification"],
)
def test_a_cooldown_of_the_draft_begins_again_after_a_longer_verification(
    cooldown_seconds: int, after_seconds: int
) -> None:
    made = Loop(Limits(cooldown_seconds=300), takes=420)
    applied_at = made.decide(0).effect.applied_at
    assert applied_at is not None
    made.decide(8)

    found = preview(made.past, limits(cooldown_seconds=cooldown_seconds))

    assert made.past[1].until == applied_at + timedelta(seconds=420 + 300)
    assert found[1].until == applied_at + timedelta(seconds=after_seconds)


SEEN = known()
UNSEEN = Facts(target_seen=False, history_loaded=False)


def requested(proposal: Proposal, facts: Facts = SEEN, **options: Any) -> PastDecision:
    """A direct request, or a planned action, as the defaults decide on it."""
    given_ = Inputs(NOW, facts, Limits(), proposal=proposal)
    decision = decide(given_)
    return PastDecision("d", given_, decision.outcome, str(getattr(decision, "reason", "")), **options)


BEYOND = scale(replicas=9)


@pytest.mark.parametrize(
    ("past", "changed", "outcome", "extra"),
    [
        (requested(BEYOND), {}, Outcome.ALLOW, [(None, 0)]),
        (requested(BEYOND, UNSEEN), {}, Outcome.ALLOW, [(Doubt.FACTS_NOT_LOADED, 900)]),
        (requested(BEYOND), {"mode": Mode.APPROVE}, Outcome.ASK, [(Doubt.APPROVAL_UNKNOWN, 1800)]),
        (requested(replace(BEYOND, dry_run=True)), {}, Outcome.ALLOW, []),
    ],
    ids=["a change", "by the web process", "with an approval", "a dry run"],
)
def test_what_the_draft_adds_is_as_certain_as_its_facts(
    past: PastDecision, changed: dict[str, Any], outcome: Outcome, extra: list[tuple[Doubt | None, int]]
) -> None:
    history = DraftHistory()
    drafted = Drafted(limits(max_replicas=9, max_scale_increase=7, **changed)(past.inputs))

    found = evaluate(past, drafted, history)

    assert (past.outcome, found.outcome) == (Outcome.DENY, outcome)
    assert [(one.doubt, (one.latest - NOW).seconds) for one in history.extra] == extra


@pytest.mark.parametrize(
    ("past", "gone", "extra"),
    [
        (requested(RESTART, action="a"), ["a"], 0),
        (requested(BEYOND), [], 1),
        (requested(replace(BEYOND, dry_run=True)), [], 0),
    ],
    ids=["an action", "a refusal", "the refusal of a dry run"],
)
def test_a_decision_in_doubt_leaves_its_action_in_doubt(past: PastDecision, gone: list[str], extra: int) -> None:
    history = DraftHistory()

    found = evaluate(past, Drafted(past.inputs, Doubt.RULES_UNKNOWN), history)

    assert found == Compared(Comparison.UNKNOWN, doubt=Doubt.RULES_UNKNOWN)
    assert [one.action for one in history.gone] == gone
    assert len(history.extra) == extra
    assert {one.doubt for one in history.gone} <= {Doubt.RULES_UNKNOWN}
    assert {one.doubt for one in history.extra} <= {Doubt.RULES_UNKNOWN}


@pytest.mark.parametrize(
    ("effect", "doubt", "replicas", "expected"),
    [
        (Effect(), None, (0, 0), (2,)),
        (Effect(NOW, increase=1), None, (-1, -1), (2, 3)),
        (Effect(NOW, increase=1), Doubt.RULES_UNKNOWN, (-1, 0), (2, 3)),
    ],
    ids=["not applied", "certain", "in doubt"],
)
def test_the_replicas_of_an_action_that_the_draft_leaves_out_are_missing(
    effect: Effect, doubt: Doubt | None, replicas: tuple[int, int], expected: tuple[int, ...]
) -> None:
    history = DraftHistory(expected=(2,))

    history.leave_out(requested(scale(delta=1), action="a", effect=effect), ActionType.SCALE, Limits(), doubt)

    assert (history.replicas, history.expected) == (replicas, expected)
    assert [(one.action, one.at) for one in history.gone] == [("a", effect.applied_at)]


@pytest.mark.parametrize(
    ("proposal", "effect", "replicas", "expected"),
    [
        (scale(delta=1), Effect(), (1, 1), (2,)),
        (scale(delta=1), Effect(NOW, increase=1), (1, 1), (2, 3)),
        (scale(replicas=5), Effect(NOW, increase=3), (0, 0), (2, 5)),
    ],
    ids=["not applied", "a relative number", "an absolute number"],
)
def test_an_absolute_number_of_replicas_ends_the_difference(
    proposal: Proposal, effect: Effect, replicas: tuple[int, int], expected: tuple[int, ...]
) -> None:
    history = DraftHistory(replicas=(1, 1), expected=(2,))

    history.keep(requested(proposal, effect=effect), proposal)

    assert (history.replicas, history.expected) == (replicas, expected)


def drafted_facts(history: DraftHistory, facts: Facts, type_: ActionType = ActionType.RESTART) -> Facts:
    return history.facts(facts, Limits(), Limits(), type_, NOW, False)


def test_facts_that_were_not_loaded_stay_unknown_under_the_draft() -> None:
    history = DraftHistory(replicas=(1, 1))
    history.add(RESTART, LIVE, NOW, Limits(), None)

    assert drafted_facts(history, UNSEEN) == UNSEEN


@pytest.mark.parametrize(("active", "found"), [("a", ""), ("another", "another"), ("", "")])
def test_an_action_that_the_draft_leaves_out_is_not_active(active: str, found: str) -> None:
    history = DraftHistory()
    history.leave_out(requested(RESTART, action="a"), ActionType.RESTART, Limits(), None)

    assert drafted_facts(history, known(active_action=active)).active_action == found


@pytest.mark.parametrize(("left_out", "ours"), [(True, False), (False, True)])
def test_the_rollout_of_an_action_that_the_draft_leaves_out_is_complete(left_out: bool, ours: bool) -> None:
    at = NOW - timedelta(minutes=1)
    running = RolloutFacts(RolloutState.IN_PROGRESS, ours=True, changed_by="kubectl", changed_at=at)
    facts = known(target=replace(LIVE, rollout=running), recent=(RecentAction(ActionType.RESTART, at),))
    history = DraftHistory()
    if left_out:
        history.leave_out(requested(RESTART, effect=Effect(at)), ActionType.RESTART, Limits(), None)

    target = drafted_facts(history, facts).target

    assert target is not None
    assert (target.rollout.ours, target.rollout.state is RolloutState.COMPLETE) == (ours, left_out)
    assert (target.rollout.changed_by, target.rollout.changed_at) == ("kubectl", at)


@pytest.mark.parametrize(("type_", "until"), [(ActionType.RESTART, 300), (ActionType.SCALE, None)])
def test_an_action_of_the_draft_begins_the_cooldown_of_its_type(type_: ActionType, until: int | None) -> None:
    history = DraftHistory()
    history.add(RESTART, LIVE, NOW, Limits(cooldown_seconds=300), None)

    found = drafted_facts(history, SEEN, type_).cooldown_until

    assert found == (None if until is None else NOW + timedelta(seconds=until))


def test_every_doubt_says_why_in_its_own_words() -> None:
    said = [doubt.words for doubt in Doubt]

    assert all(one.endswith(".") for one in said)
    assert len(set(said)) == len(Doubt)


@pytest.mark.parametrize(("before", "key"), [(None, ""), ({"id": 7}, "7")], ids=["an added row", "a changed row"])
def test_the_key_of_an_edit_is_that_of_the_row_before(before: dict[str, Any] | None, key: str) -> None:
    assert Edit("guardrails_freeze", before, {"id": 8}).key == key


@given(st.lists(inputs(), max_size=6))
def test_a_draft_that_changes_nothing_changes_no_decision(given_: list[Inputs]) -> None:
    history = DraftHistory()
    for number, one in enumerate(given_):
        decision = decide(one)
        reason = decision.reason if isinstance(decision, Defer | Deny) else getattr(decision, "reason", "")
        past = PastDecision(
            str(number),
            one,
            decision.outcome,
            reason,
            getattr(decision, "until", None),
            one.signal.id if one.signal else "",
        )
        assert evaluate(past, None, history).comparison is Comparison.SAME
        assert evaluate(past, Drafted(one), history).comparison is Comparison.SAME
    assert not history.differs


LIMITS = st.builds(
    Limits,
    max_replicas=st.integers(2, 8),
    cooldown_seconds=st.sampled_from([0, 60, 300, 1500]),
    max_actions_per_hour=st.integers(1, 5),
    max_scale_increase=st.integers(0, 4),
    verification_timeout_seconds=st.just(300),
)


@st.composite
def schedules(draw: st.DrawFn) -> list[tuple[float, RuleSpec]]:
    """Signals of different problems, so that none is counted on another one."""
    steps = draw(st.lists(st.sampled_from([0.5, 2.0, 6.0, 12.0, 31.0]), min_size=1, max_size=12))
    rules = draw(st.lists(st.sampled_from([RESTARTS, SCALES]), min_size=len(steps), max_size=len(steps)))
    return [(sum(steps[:n]), replace(rule, symptom=f"problem {n}")) for n, rule in enumerate(rules)]


@settings(max_examples=60, phases=[Phase.explicit, Phase.reuse, Phase.generate])
@given(schedules(), LIMITS, LIMITS, st.sampled_from([2, 90, 200]), st.booleans())
def test_the_loop_under_the_draft_decides_as_the_preview_says(
    schedule: list[tuple[float, RuleSpec]], stored: Limits, drafted: Limits, takes: int, again: bool
) -> None:
    """`again`: what was deferred is decided again, at the time that the decision has set."""
    was, becomes = Loop(stored, takes), Loop(drafted, takes)
    for number, (minute, rule) in enumerate(schedule):
        for loop_ in (was, becomes):
            if again:
                loop_.decide_what_is_due(minute)
            loop_.decide(minute, rule, id=f"signal {number}")
    found = dict(zip(was.past, preview(was.past, lambda given_: replace(given_, limits=drafted)), strict=True))
    real = {one.signal: one.outcome for one in becomes.past if not one.again}
    for past, one in found.items():
        if not past.again and one.comparison is not Comparison.UNKNOWN:
            assert (one.outcome or past.outcome) is real[past.signal]


def test_a_draft_equal_to_the_limits_of_the_loop_is_known_in_every_detail() -> None:
    made = Loop(Limits(max_replicas=30), takes=400)
    for minute in (0, 1, 2, 3, 7, 30):
        made.decide(minute)
        made.decide(minute, SCALES)
    assert words(preview(made.past, limits(stabilization_seconds=7))) == ["same"] * 12
