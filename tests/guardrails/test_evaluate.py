"""Inputs in, judgement out: all are asked, and the severest decides."""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from guardrails.evaluate import GUARDRAILS, decide
from guardrails.types import Facts, FreezeFacts, Inputs, Judgement, Limits, Outcome, PolicyAnswer, RecentAction
from signals.reasons import Reason
from signals.types import ActionType, Origin, RuleSpec, SignalFacts, Source
from tests.guardrails.conftest import (
    FACTS,
    NOW,
    PAST,
    RECENT,
    RESTART,
    TARGET,
    ago,
    ahead,
    inputs,
    known,
    proposals,
    scale,
    scaled,
)

ALL = [
    "target",
    "protected_namespace",
    "freeze",
    "max_replicas",
    "policy",
    "paused",
    "autoscaler",
    "field_owners",
    "one_action_at_a_time",
    "cooldown",
    "actions_per_hour",
    "scale_velocity",
]
SEVERITY = {Outcome.ALLOW: 0, Outcome.DEFER: 1, Outcome.DENY: 2, Outcome.IGNORE: 3}
RULE = RuleSpec(1, 1, "scale-up", Source.ANOMALY, "resource", ActionType.SCALE, {"delta": 1}, min_score=0.8)
SIGNAL = SignalFacts("0199-s", Source.ANOMALY, TARGET, "resource", ago(seconds=5), resolved=False, score=0.95)


def judged(signal: SignalFacts | None = SIGNAL, *rules: RuleSpec, **fields: Any) -> Judgement:
    return decide(
        Inputs(**{"now": NOW, "facts": known(), "limits": Limits(), "signal": signal, "rules": rules, **fields})
    )


def asked(judgement: Judgement) -> list[str]:
    return [verdict.guardrail for verdict in judgement.verdicts]


def test_a_signal_that_everything_allows_is_its_rules_proposal() -> None:
    judgement = judged(SIGNAL, RULE)

    assert (judgement.outcome, judgement.reason, judgement.rule) == (Outcome.ALLOW, None, RULE)
    assert judgement.proposal == replace(scale(delta=1), reason="anomaly resource (scale-up)")
    assert asked(judgement) == ["signal", *ALL]


def test_a_direct_proposal_is_asked_of_all_guardrails_and_of_no_rule() -> None:
    proposal = replace(RESTART, origin=Origin.DIRECT)

    judgement = judged(None, proposal=proposal)

    assert (judgement.outcome, judgement.proposal, judgement.rule) == (Outcome.ALLOW, proposal, None)
    assert asked(judgement) == ALL


def test_a_planned_action_keeps_its_proposal_whatever_the_rules_say_now() -> None:
    judgement = judged(SIGNAL, replace(RULE, params={"delta": 3}), proposal=scale(delta=1))

    assert judgement.proposal == scale(delta=1)
    assert asked(judgement) == ["signal", *ALL]


@pytest.mark.parametrize(
    ("signal", "rules", "reason"),
    [
        (SIGNAL, [], Reason.NO_RULE),
        (replace(SIGNAL, symptom="latency"), [RULE], Reason.NO_RULE),
        (replace(SIGNAL, score=0.5), [RULE], Reason.BELOW_THRESHOLD),
        (replace(SIGNAL, score=None), [RULE], Reason.BELOW_THRESHOLD),
        (replace(SIGNAL, score=0.5, last_seen_at=ago(hours=9)), [RULE], Reason.BELOW_THRESHOLD),
    ],
)
def test_a_signal_without_a_proposal_is_ignored(signal: SignalFacts, rules: list[RuleSpec], reason: Reason) -> None:
    judgement = judged(signal, *rules)

    assert (judgement.outcome, judgement.reason, judgement.proposal) == (Outcome.IGNORE, reason, None)
    assert asked(judgement) == ["signal", "rules"]


@pytest.mark.parametrize(
    ("seen", "outcome", "age"),
    [
        (ago(seconds=900), Outcome.ALLOW, 900.0),
        (ago(seconds=901), Outcome.DENY, 901.0),
        (ahead(seconds=2), Outcome.ALLOW, -2.0),  # repeated while we looked
    ],
)
def test_a_signal_that_nobody_repeated_is_too_old(seen: datetime, outcome: Outcome, age: float) -> None:
    judgement = judged(replace(SIGNAL, last_seen_at=seen), RULE)

    assert judgement.outcome is outcome
    assert judgement.reason == (Reason.SIGNAL_EXPIRED if outcome is Outcome.DENY else None)
    assert judgement.verdicts[0].details == {"age_seconds": age, "limit_seconds": 900}
    assert asked(judgement) == ["signal", *ALL]


def test_a_resolved_signal_is_denied_however_fresh() -> None:
    judgement = judged(replace(SIGNAL, resolved=True), RULE)

    assert (judgement.outcome, judgement.reason) == (Outcome.DENY, Reason.SIGNAL_RESOLVED)


FREEZE = FreezeFacts("everything", "incident", "ana", ahead(minutes=30))
NO = PolicyAnswer(False, "Not on Fridays.", "http://opa")


@pytest.mark.parametrize(
    ("facts", "outcome", "reason", "until"),
    [
        (known(cooldown_until=ahead(seconds=9)), Outcome.DEFER, Reason.COOLDOWN_ACTIVE, ahead(seconds=9)),
        (known(cooldown_until=ahead(seconds=9), freezes=(FREEZE,)), Outcome.DEFER, Reason.FROZEN, ahead(minutes=30)),
        (
            known(cooldown_until=ahead(hours=1), freezes=(FREEZE,)),
            Outcome.DEFER,
            Reason.COOLDOWN_ACTIVE,
            ahead(hours=1),
        ),
        (known(freezes=(FREEZE,), policy=NO), Outcome.DENY, Reason.POLICY_DENIED, None),
        (known(target=None, policy=NO), Outcome.DENY, Reason.TARGET_NOT_FOUND, None),
        (known(recent=scaled(10, 9, 8, by=1)), Outcome.DEFER, Reason.SCALE_VELOCITY_LIMIT, ahead(minutes=5)),
    ],
)
def test_the_severest_decides_and_of_deferrals_the_longest(
    facts: Facts, outcome: Outcome, reason: Reason, until: datetime | None
) -> None:
    judgement = judged(SIGNAL, RULE, facts=facts)

    assert (judgement.outcome, judgement.reason, judgement.until) == (outcome, reason, until)


@settings(max_examples=300)
@given(inputs())
def test_all_are_asked_and_the_severest_wins(given_: Inputs) -> None:
    judgement = decide(given_)

    outcomes = [verdict.outcome for verdict in judgement.verdicts]
    assert SEVERITY[judgement.outcome] == max(SEVERITY[outcome] for outcome in outcomes)
    expected = ["signal"] * (given_.signal is not None) + (ALL if judgement.proposal else ["rules"])
    assert asked(judgement) == expected
    assert len(ALL) == len(GUARDRAILS)
    if judgement.outcome is Outcome.ALLOW:
        assert judgement.proposal is not None
        assert (judgement.reason, judgement.message, judgement.until) == (None, "", None)
    else:
        deciding = [one for one in judgement.verdicts if one.outcome is judgement.outcome]
        said = (judgement.reason, judgement.message, judgement.details, judgement.until)
        assert said in [(one.reason, one.message, one.details, one.until) for one in deciding]
    if judgement.outcome is Outcome.DEFER:
        assert judgement.until == max(one.until for one in deciding if one.until)
        assert judgement.until > given_.now


@given(inputs())
def test_every_refusal_has_a_reason_and_a_sentence(given_: Inputs) -> None:
    for verdict in decide(given_).verdicts:
        assert (verdict.reason is None) == (verdict.outcome is Outcome.ALLOW)
        if verdict.outcome is not Outcome.ALLOW and verdict.guardrail != "policy":  # its sentence is the engine's
            assert verdict.message


@given(inputs())
def test_a_direct_proposal_is_answered_at_once(given_: Inputs) -> None:
    if given_.signal is None:
        assert decide(given_).outcome in (Outcome.ALLOW, Outcome.DENY)


@st.composite
def worse(draw: st.DrawFn, facts: Facts) -> Facts:
    """The same, and something more that speaks against acting."""
    changes: dict[str, Any] = {
        "recent": facts.recent + draw(RECENT) + (RecentAction(draw(st.sampled_from(ActionType)), draw(PAST), 1),),
        "freezes": (*facts.freezes, FREEZE),
        "active_action": facts.active_action or "0199-b",
        "cooldown_until": max(facts.cooldown_until or NOW, ahead(seconds=draw(st.integers(0, 3600)))),
        "policy": draw(st.sampled_from([NO, replace(NO, allow=None)])),
        "managed": False,
    }
    names = draw(st.sets(st.sampled_from(sorted(changes)), min_size=1))
    if facts.policy is not None and facts.policy.allow is False:
        names.discard("policy")
    return replace(facts, **{name: changes[name] for name in names})


@settings(max_examples=300)
@given(inputs(), st.data())
def test_what_speaks_against_it_never_turns_a_refusal_into_an_allowance(given_: Inputs, data: st.DataObject) -> None:
    before = decide(given_)
    after = decide(replace(given_, facts=data.draw(worse(given_.facts))))

    assert SEVERITY[after.outcome] >= SEVERITY[before.outcome]
    if before.outcome is after.outcome is Outcome.DEFER:
        assert before.until is not None
        assert after.until is not None
        assert after.until >= before.until or _recheck(before)


def _recheck(judgement: Judgement) -> bool:
    """Nothing says when it ends: it is looked at again soon."""
    return judgement.until == NOW + timedelta(seconds=60)


@given(proposals(Origin.CLOSED_LOOP), FACTS, st.data())
def test_the_order_of_facts_does_not_matter(proposal: Any, facts: Facts, data: st.DataObject) -> None:
    shuffled = replace(facts, recent=tuple(data.draw(st.permutations(facts.recent))))
    one, other = (decide(Inputs(NOW, these, Limits(), SIGNAL, (), proposal)) for these in (facts, shuffled))

    assert one == other
