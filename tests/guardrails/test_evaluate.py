"""Inputs in, decision out: every guardrail is asked, and the severest verdict decides."""

import re
from dataclasses import replace
from datetime import datetime, timedelta
from functools import cache
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from guardrails.evaluate import GUARDRAILS, Guardrail, decide
from guardrails.types import (
    Allow,
    Ask,
    Decision,
    Defer,
    Deny,
    Facts,
    FreezeFacts,
    Ignore,
    Inputs,
    Limits,
    Observe,
    Outcome,
    PolicyAnswer,
)
from signals.reasons import Reason
from signals.types import ActionType, Origin, Proposal, RuleSpec, SignalFacts, Source
from tests.kit.choices import choices, or_none
from tests.kit.decisions import (
    FACTS,
    LIMITS,
    MOST_RECENT,
    NOW,
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

MANY = settings(max_examples=300)  # a decision takes no time
ALL = [
    "target",
    "readable_namespace",
    "protected_namespace",
    "own_workload",
    "kind",
    "patch_allowlist",
    "freeze",
    "scaled_to_zero",
    "max_replicas",
    "min_replicas",
    "scale_direction",
    "policy",
    "paused",
    "autoscaler",
    "field_owners",
    "one_action_at_a_time",
    "rollout",
    "missing_replicas",
    "recently_refused",
    "cooldown",
    "actions_per_hour",
    "scale_velocity",
    "scale_down_velocity",
    "mode",
    "large_change",
    "protected_labels",
    "failed_before",
]
OF_THE_CHANGE = ("signal", "rules", "protected_namespace", "kind", "patch_allowlist", "max_replicas", "mode")
SEVERITY = {
    Outcome.NOT_EVALUATED: 0,
    Outcome.ALLOW: 0,
    Outcome.WARN: 0,
    Outcome.ASK: 1,
    Outcome.OBSERVE: 2,
    Outcome.DEFER: 3,
    Outcome.DENY: 4,
    Outcome.IGNORE: 5,
}
RULE = RuleSpec(1, 1, "scale-up", Source.ANOMALY, "resource", ActionType.SCALE, {"delta": 1}, min_score=0.8)
SIGNAL = SignalFacts("0199-s", Source.ANOMALY, TARGET, "resource", ago(seconds=5), resolved=False, score=0.95)


def decided(signal: SignalFacts | None = SIGNAL, *rules: RuleSpec, **fields: Any) -> Decision:
    return decide(
        Inputs(**{"now": NOW, "facts": known(), "limits": Limits(), "signal": signal, "rules": rules, **fields})
    )


def asked(decision: Decision) -> list[str]:
    return [verdict.guardrail for verdict in decision.verdicts]


def test_a_signal_that_nothing_refuses_is_its_rules_proposal() -> None:
    decision = decided(SIGNAL, RULE)

    assert isinstance(decision, Allow)
    assert decision.rule == RULE
    assert decision.proposal == replace(
        scale(delta=1), reason="anomaly resource (scale-up)", requested_by="rule:scale-up"
    )
    assert asked(decision) == ["signal", *ALL]


def test_a_direct_proposal_is_evaluated_by_all_guardrails_and_by_no_rule() -> None:
    proposal = replace(RESTART, origin=Origin.DIRECT)

    decision = decided(None, proposal=proposal)

    assert decision == Allow(proposal, decision.verdicts)
    assert asked(decision) == ALL


def test_a_planned_action_keeps_its_proposal_whatever_the_rules_say_now() -> None:
    decision = decided(SIGNAL, replace(RULE, params={"delta": 3}), proposal=scale(delta=1))

    assert isinstance(decision, Allow)
    assert decision.proposal == scale(delta=1)
    assert asked(decision) == ["signal", *ALL]


@pytest.mark.parametrize(
    ("asks", "signal", "reason", "seconds"),
    [
        ({"for_seconds": 60}, replace(SIGNAL, lasted_seconds=20.0), Reason.NOT_LASTED, 40.0),
        ({"min_reports": 2, "of_reports": 3}, SIGNAL, Reason.TOO_FEW_REPORTS, 896.0),  # 5 s old, of 900
    ],
)
def test_a_rule_that_waits_defers_its_signal_and_no_guardrail_is_evaluated(
    asks: dict[str, Any], signal: SignalFacts, reason: Reason, seconds: float
) -> None:
    waits = replace(RULE, **asks)
    decision = decided(signal, waits)

    assert isinstance(decision, Defer)
    assert (decision.proposal, decision.rule, decision.reason) == (None, waits, reason)
    assert decision.until - NOW == timedelta(seconds=seconds)
    assert asked(decision) == ["signal", "rules"]


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"last_seen_at": ago(seconds=901)}, Reason.SIGNAL_EXPIRED),
        ({"resolved": True}, Reason.SIGNAL_RESOLVED),
    ],
)
@pytest.mark.parametrize("asks", [{"for_seconds": 6000}, {"min_reports": 2, "of_reports": 3}])
def test_a_signal_that_is_over_does_not_wait(fields: dict[str, Any], reason: Reason, asks: dict[str, Any]) -> None:
    decision = decided(replace(SIGNAL, **fields), replace(RULE, **asks))

    assert isinstance(decision, Deny)
    assert (decision.reason, decision.proposal) == (reason, None)


@pytest.mark.parametrize(
    ("signal", "rules", "reason"),
    [
        (SIGNAL, [], Reason.NO_RULE),
        (None, [RULE], Reason.NO_RULE),
        (replace(SIGNAL, symptom="latency"), [RULE], Reason.NO_RULE),
        (replace(SIGNAL, score=0.5), [RULE], Reason.BELOW_THRESHOLD),
        (replace(SIGNAL, score=None), [RULE], Reason.BELOW_THRESHOLD),
        (replace(SIGNAL, score=0.5, last_seen_at=ago(hours=9)), [RULE], Reason.BELOW_THRESHOLD),
    ],
)
def test_inputs_without_a_proposal_are_ignored(
    signal: SignalFacts | None, rules: list[RuleSpec], reason: Reason
) -> None:
    decision = decided(signal, *rules)

    assert isinstance(decision, Ignore)
    assert decision.reason is reason
    assert asked(decision) == [*(["signal"] if signal else []), "rules"]


@pytest.mark.parametrize(
    ("seen", "outcome", "age"),
    [
        (ago(seconds=900), Outcome.ALLOW, 900.0),
        (ago(seconds=901), Outcome.DENY, 901.0),
        (ahead(seconds=2), Outcome.ALLOW, -2.0),  # repeated after the decision's clock was read
    ],
)
def test_a_signal_that_is_not_repeated_expires(seen: datetime, outcome: Outcome, age: float) -> None:
    decision = decided(replace(SIGNAL, last_seen_at=seen), RULE)

    assert decision.outcome is outcome
    assert decision.verdicts[0].reason == (Reason.SIGNAL_EXPIRED if outcome is Outcome.DENY else None)
    assert decision.verdicts[0].details == {"age_seconds": age, "limit_seconds": 900}
    assert asked(decision) == ["signal", *ALL]


@pytest.mark.parametrize(
    ("fields", "age", "kept"),
    [
        ({"last_seen_at": ago(hours=9), "due_at": ago(hours=9)}, 0.0, 32400.0),  # no reconciler ran
        ({"last_seen_at": ago(seconds=2000), "due_at": ago(seconds=1100)}, 900.0, 1100.0),
        ({"last_seen_at": ago(seconds=2000), "due_at": ago(seconds=1099)}, 901.0, 1099.0),  # it was deferred until then
        ({"last_seen_at": ago(seconds=1800), "due_at": ago(seconds=100), "kept_seconds": 800.0}, 900.0, 900.0),
        ({"last_seen_at": ago(seconds=50), "due_at": ago(seconds=100)}, 0.0, 50.0),  # repeated while it waited
        ({"last_seen_at": ago(seconds=950), "due_at": ago(seconds=0)}, 950.0, 0.0),
    ],
)
def test_a_signal_does_not_expire_while_it_waits_for_smartops(fields: dict[str, Any], age: float, kept: float) -> None:
    decision = decided(replace(SIGNAL, **fields, deferred_for="CooldownActive"), RULE)

    verdict = decision.verdicts[0]
    assert verdict.details == {"age_seconds": age, "limit_seconds": 900} | ({"kept_seconds": kept} if kept else {})
    assert verdict.outcome is (Outcome.DENY if age > 900 else Outcome.ALLOW)
    assert age <= 900 or ("CooldownActive" in verdict.message and f"{age:.0f} s" in verdict.message)


def test_a_resolved_signal_is_denied_however_fresh() -> None:
    decision = decided(replace(SIGNAL, resolved=True), RULE)

    assert isinstance(decision, Deny)
    assert decision.reason is Reason.SIGNAL_RESOLVED


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
def test_the_first_denial_decides_and_without_one_the_longest_deferral(
    facts: Facts, outcome: Outcome, reason: Reason, until: datetime | None
) -> None:
    decision = decided(SIGNAL, RULE, facts=facts)

    assert isinstance(decision, Defer | Deny)
    assert (decision.outcome, decision.reason, decision.until) == (outcome, reason, until)
    wanted = replace(scale(), reason="anomaly resource (scale-up)", requested_by="rule:scale-up")
    assert (decision.proposal, decision.rule) == (wanted, RULE)


FORBIDDEN = {"patch": {"spec": {"template": {"spec": {"hostPID": True}}}}}


@pytest.mark.parametrize("origin", Origin)
def test_a_forbidden_patch_is_denied_by_a_stored_verdict(origin: Origin) -> None:
    proposal = Proposal(ActionType.PATCH, TARGET, origin, FORBIDDEN)

    decision = decided(None, proposal=proposal)

    assert isinstance(decision, Deny)
    assert decision.reason is Reason.PATCH_FORBIDDEN
    assert decision.message == "spec.template.spec.hostPID: this field must not be patched."
    assert [one.guardrail for one in decision.verdicts if one.outcome is Outcome.DENY] == ["patch_allowlist"]


UNREADABLE = Facts(target_seen=False, history_loaded=False, unreadable="deployments in namespace dev: forbidden")
VELOCITY = {"scale_velocity", "scale_down_velocity"}
LIVE = {
    *("scaled_to_zero", "max_replicas", "min_replicas", "rollout", "autoscaler", "field_owners", "missing_replicas"),
    "large_change",
    *VELOCITY,
}
HISTORY = {
    *("freeze", "one_action_at_a_time", "missing_replicas", "recently_refused", "cooldown", "actions_per_hour"),
    "failed_before",
    *VELOCITY,
}


@pytest.mark.parametrize(
    ("facts", "unevaluated"),
    [
        (known(), {"policy"}),
        (known(policy=PolicyAnswer(True, "", "http://opa")), set()),
        (Facts(target_seen=False), {"policy", "target", "readable_namespace", "own_workload"} | LIVE),
        (UNREADABLE, {"policy", "target", "own_workload"} | LIVE | HISTORY),
        (known(target=None), {"policy", "own_workload"} | LIVE),
        (known(history_loaded=False), {"policy"} | HISTORY),
    ],
)
def test_a_guardrail_without_facts_is_not_evaluated_and_says_why(facts: Facts, unevaluated: set[str]) -> None:
    verdicts = decided(None, proposal=scale(delta=1), facts=facts).verdicts

    found = {one.guardrail: one for one in verdicts if one.outcome is Outcome.NOT_EVALUATED}
    assert set(found) == unevaluated
    for one in found.values():
        assert (bool(one.message), one.reason, one.until) == (True, None, None)


def test_a_restart_of_an_unobserved_target_is_not_evaluated_against_its_pause_and_owners() -> None:
    verdicts = decided(None, proposal=RESTART, facts=Facts(target_seen=False)).verdicts

    unevaluated = [one.guardrail for one in verdicts if one.outcome is Outcome.NOT_EVALUATED]
    assert unevaluated == [
        "target",
        "readable_namespace",
        "own_workload",
        "scaled_to_zero",
        "policy",
        "paused",
        "field_owners",
        "rollout",
    ]


@pytest.mark.parametrize("origin", Origin)
def test_a_target_in_a_namespace_that_cannot_be_read_waits_with_the_cause(origin: Origin) -> None:
    decision = decided(None, proposal=replace(RESTART, origin=origin), facts=UNREADABLE)

    assert isinstance(decision, Defer)
    assert (decision.reason, decision.until) == (Reason.NAMESPACE_UNREADABLE, ahead(seconds=60))
    assert decision.message == f"SmartOps cannot read the namespace “{TARGET.namespace}”: {UNREADABLE.unreadable}"


@pytest.mark.parametrize(
    ("signal", "facts", "reason"),
    [
        (replace(SIGNAL, last_seen_at=ago(seconds=901)), UNREADABLE, Reason.SIGNAL_EXPIRED),
        (SIGNAL, replace(UNREADABLE, managed=False), Reason.NAMESPACE_NOT_MANAGED),
    ],
)
def test_what_would_be_denied_does_not_wait_for_its_namespace(
    signal: SignalFacts, facts: Facts, reason: Reason
) -> None:
    decision = decided(signal, RULE, facts=facts)

    assert isinstance(decision, Deny)
    assert decision.reason is reason


@pytest.mark.parametrize("guardrail", GUARDRAILS)
def test_a_guardrail_documents_its_answer_to_the_closed_loop_and_to_a_caller(guardrail: Guardrail) -> None:
    assert documented(guardrail)


def documented(guardrail: Guardrail) -> list[tuple[str, str]]:
    """Its answer to the closed loop, and to a direct caller."""
    return re.findall(r"Closed loop: (\w.*?)\. Direct action: (\w.*?)\.", " ".join((guardrail.__doc__ or "").split()))


@cache
def said(guardrail: Guardrail, origin: Origin) -> list[str]:
    [(loop, caller)] = documented(guardrail)
    return re.findall(r"\w+", loop if origin is Origin.CLOSED_LOOP else caller)


@MANY
@given(proposals(), FACTS, LIMITS)
def test_every_guardrail_answers_as_its_docstring_says(proposal: Proposal, facts: Facts, limits: Limits) -> None:
    for guardrail in GUARDRAILS:
        outcome = guardrail(proposal, facts, limits, NOW).outcome
        answers = (Outcome.ALLOW, Outcome.NOT_EVALUATED, *said(guardrail, proposal.origin))
        assert outcome in answers, guardrail.__name__


@MANY
@given(inputs())
def test_a_brief_decision_lacks_only_the_verdicts_after_the_first_denial(given_: Inputs) -> None:
    full, brief = decide(given_), decide(given_, brief=True)
    assert brief.verdicts == full.verdicts[: len(brief.verdicts)]
    assert replace(brief, verdicts=full.verdicts) == full
    denials = [place for place, one in enumerate(full.verdicts) if one.outcome is Outcome.DENY]
    assert len(brief.verdicts) >= (denials[0] + 1 if denials else len(full.verdicts))


@MANY
@given(inputs())
def test_every_guardrail_is_evaluated_and_the_severest_verdict_decides(given_: Inputs) -> None:
    decision = decide(given_)

    severities = [SEVERITY[verdict.outcome] for verdict in decision.verdicts]
    assert SEVERITY[decision.outcome] == max(severities)
    proposed = not isinstance(decision, Ignore) and decision.proposal is not None
    expected = ["signal"] * (given_.signal is not None) + (ALL if proposed else ["rules"])
    assert asked(decision) == expected
    assert len(ALL) == len(GUARDRAILS)
    deciding = [one for one in decision.verdicts if one.outcome is decision.outcome]
    match decision:
        case Defer(_, reason, message, until, _, details):
            assert (reason, message, details, until) in [(v.reason, v.message, v.details, v.until) for v in deciding]
            assert until == max(one.until for one in deciding if one.until)
            assert until > given_.now
        case Ask(_, reason, message, _, details):
            assert message == " ".join(one.message for one in deciding)
            assert (reason, details) == (deciding[0].reason, deciding[0].details)
        case Observe(_, reason, message, _, details):
            assert [(reason, message, details)] == [(v.reason, v.message, v.details) for v in deciding]
        case Deny(reason, message, _, details, until_):
            first = deciding[0]
            assert (reason, message, details, until_) == (first.reason, first.message, first.details, first.until)
        case Ignore(reason, message, _, details):
            assert [(reason, message, details)] == [(v.reason, v.message, v.details) for v in deciding]


@MANY
@given(inputs())
def test_every_refusal_has_a_reason_and_a_sentence(given_: Inputs) -> None:
    for verdict in decide(given_).verdicts:
        silent = verdict.outcome in (Outcome.ALLOW, Outcome.NOT_EVALUATED)
        assert (verdict.reason is None) == silent
        if verdict.outcome is not Outcome.ALLOW and verdict.guardrail != "policy":  # its sentence is the engine's
            assert verdict.message


@MANY
@given(inputs())
def test_a_direct_proposal_is_answered_at_once(given_: Inputs) -> None:
    if given_.signal is None:
        assert decide(given_).outcome in (Outcome.ALLOW, Outcome.ASK, Outcome.OBSERVE, Outcome.DENY)


@MANY
@given(inputs())
def test_unknown_facts_never_refuse(given_: Inputs) -> None:
    """Without history and without a target there is nothing to say against a change, but its own content."""
    nothing = Facts(target_seen=False, history_loaded=False)
    for verdict in decide(replace(given_, facts=nothing)).verdicts:
        if verdict.guardrail not in OF_THE_CHANGE:
            assert verdict.outcome in (Outcome.ALLOW, Outcome.NOT_EVALUATED)


AGAINST = st.builds(
    replace,
    choices(
        known,
        managed=[True, True, False],
        active_action=["", "", "0199-b"],
        cooldown_until=or_none([ahead(seconds=seconds) for seconds in range(0, 3601, 30)]),
        freezes=[(), (), (FREEZE,)],
        policy=[None, None, NO, replace(NO, allow=None)],
    ),
    recent=st.just(()) | RECENT,
)


def worse(facts: Facts, against: Facts) -> Facts:
    """The same, and something more that speaks against acting."""
    denied = facts.policy is not None and facts.policy.allow is False
    return replace(
        facts,
        managed=facts.managed and against.managed,
        active_action=facts.active_action or against.active_action,
        cooldown_until=max(filter(None, (facts.cooldown_until, against.cooldown_until)), default=None),
        recent=facts.recent + against.recent,
        freezes=facts.freezes + against.freezes,
        policy=facts.policy if denied else against.policy or facts.policy,
    )


@MANY
@given(inputs(), AGAINST)
def test_what_speaks_against_it_never_turns_a_refusal_into_an_allowance(given_: Inputs, against: Facts) -> None:
    before = decide(given_)
    after = decide(replace(given_, facts=worse(given_.facts, against)))

    assert SEVERITY[after.outcome] >= SEVERITY[before.outcome]
    if isinstance(before, Defer) and isinstance(after, Defer):
        assert after.until >= before.until or _recheck(before)


def _recheck(decision: Defer) -> bool:
    """Its end is unknown: it is decided again soon."""
    return decision.until == NOW + timedelta(seconds=60)


@MANY
@given(proposals(Origin.CLOSED_LOOP), FACTS, st.permutations(range(MOST_RECENT)))
def test_the_order_of_facts_does_not_matter(proposal: Proposal, facts: Facts, order: list[int]) -> None:
    shuffled = replace(facts, recent=tuple(facts.recent[place] for place in order if place < len(facts.recent)))
    one, other = (decide(Inputs(NOW, these, Limits(), SIGNAL, (), proposal)) for these in (facts, shuffled))

    assert one == other
