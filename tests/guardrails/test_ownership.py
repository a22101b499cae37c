"""Who else writes the workload: what is held back, for whom, and with which words."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guardrails.checks import ownership
from guardrails.checks.answers import RECHECK
from guardrails.evaluate import Guardrail, decide
from guardrails.replay import load_inputs, replay
from guardrails.types import (
    AutoscalerFacts,
    Defer,
    Deny,
    Facts,
    FieldOwner,
    Inputs,
    Limits,
    Outcome,
    OwnerKind,
    TargetFacts,
)
from signals.reasons import Reason
from signals.types import ActionType, Origin, Proposal
from tests.kit.decisions import FACTS, LIMITS, LIVE, NOW, RESTART, TARGET, known, proposals, scale

ALLOW, DEFER, DENY, NOT_EVALUATED = Outcome.ALLOW, Outcome.DEFER, Outcome.DENY, Outcome.NOT_EVALUATED
DEFAULT, CARELESS = Limits(), Limits(respect_owners=False)
HPA = AutoscalerFacts("erp", min_replicas=2, max_replicas=4)
GUARDRAILS = (ownership.paused, ownership.autoscaler, ownership.field_owners)
DENIED = 'horizontalpodautoscalers.autoscaling is forbidden: User "smartops" cannot list'


def patch(**patched: Any) -> Proposal:
    return Proposal(ActionType.PATCH, TARGET, Origin.CLOSED_LOOP, {"patch": patched})


PODS = {"template": {"metadata": {"labels": {"tier": "web"}}}}
TO_FIVE = scale(replicas=5)


def target(**fields: Any) -> Facts:
    return known(target=replace(LIVE, **fields))


def owner(kind: OwnerKind, name: str = "", *fields: str) -> FieldOwner:
    return FieldOwner(kind, name, fields or ("spec.replicas",))


@pytest.mark.parametrize(
    ("proposal", "held_back"),
    [
        (RESTART, True),
        (patch(spec=PODS), True),
        (patch(spec={**PODS, "paused": True}), True),
        (patch(spec={**PODS, "replicas": 3}), True),
        (patch(spec={**PODS, "paused": False}), False),
        (patch(spec={**PODS, "paused": None}), False),  # the API's default is false
        (patch(spec={"paused": False}), False),
        (patch(spec={"replicas": 3}), False),
        (patch(spec={"strategy": {"type": "Recreate"}}), False),
        (patch(spec=None), False),
        (patch(metadata={"labels": {"tier": "web"}}), False),
        (scale(delta=1), False),
        (TO_FIVE, False),
    ],
)
def test_of_a_paused_workload_only_the_pods_are_left_alone(proposal: Proposal, held_back: bool) -> None:
    verdict = ownership.paused(proposal, target(paused=True), DEFAULT, NOW)

    assert (verdict.outcome, verdict.reason) == ((DEFER, Reason.TARGET_PAUSED) if held_back else (ALLOW, None))
    assert ("kubectl rollout resume" in verdict.message) is held_back
    assert ownership.paused(proposal, known(), DEFAULT, NOW).outcome is ALLOW


@pytest.mark.parametrize(
    ("proposal", "held_back"), [(RESTART, True), (patch(spec=PODS), True), (scale(delta=1), False)]
)
def test_pods_that_no_controller_replaces_are_left_alone(proposal: Proposal, held_back: bool) -> None:
    verdict = ownership.paused(proposal, target(held="its update strategy is OnDelete"), DEFAULT, NOW)

    assert verdict.outcome is (DEFER if held_back else ALLOW)
    assert not held_back or (verdict.reason, "OnDelete" in verdict.message) == (Reason.ROLLOUT_HELD, True)


def test_a_patch_that_sets_the_update_strategy_as_well_reaches_the_pods() -> None:
    proposal = patch(spec={**PODS, "updateStrategy": {"type": "RollingUpdate"}})

    assert ownership.paused(proposal, target(held="its update strategy is OnDelete"), DEFAULT, NOW).outcome is ALLOW


def test_what_is_paused_stays_paused_whoever_owns_what() -> None:
    assert ownership.paused(RESTART, target(paused=True), CARELESS, NOW).outcome is DEFER


@pytest.mark.parametrize(
    ("proposal", "held_back"),
    [
        (scale(delta=1), True),
        (scale(delta=-1), True),
        (TO_FIVE, True),
        (scale(replicas=0), True),
        (patch(spec={"replicas": 3}), True),
        (patch(spec={"replicas": 3, **PODS}), True),
        (patch(spec=PODS), False),
        (patch(spec=None), False),
        (patch(metadata={"labels": {"tier": "web"}}), False),
        (RESTART, False),
    ],
)
@pytest.mark.parametrize(
    ("facts", "reason"),
    [
        (target(autoscaler=HPA), Reason.AUTOSCALED),
        (target(autoscalers_unknown=DENIED), Reason.AUTOSCALERS_UNKNOWN),
        (target(autoscaler=HPA, autoscalers_unknown=DENIED), Reason.AUTOSCALED),  # seen before we lost sight
    ],
)
def test_replicas_that_are_or_may_be_an_autoscalers_are_left_alone(
    facts: Facts, reason: Reason, proposal: Proposal, held_back: bool
) -> None:
    verdict = ownership.autoscaler(proposal, facts, DEFAULT, NOW)

    assert (verdict.outcome, verdict.reason) == ((DEFER, reason) if held_back else (ALLOW, None))
    assert verdict.until == (NOW + RECHECK if held_back else None)
    assert ownership.autoscaler(proposal, facts, CARELESS, NOW).outcome is ALLOW
    assert ownership.autoscaler(proposal, known(), DEFAULT, NOW).outcome is ALLOW


def test_an_autoscaler_is_named_with_its_range_and_what_to_do_instead() -> None:
    verdict = ownership.autoscaler(TO_FIVE, target(autoscaler=HPA), DEFAULT, NOW)

    assert verdict.details == {"autoscaler": "erp", "min_replicas": 2, "max_replicas": 4}
    assert verdict.message == (
        "HorizontalPodAutoscaler erp sets the replicas of smartops-dev/erp-simulator, from 2 to 4: "
        "change its minReplicas or maxReplicas instead."
    )


def test_where_nobody_may_look_for_autoscalers_the_servers_words_say_why() -> None:
    verdict = ownership.autoscaler(TO_FIVE, target(autoscalers_unknown=DENIED), DEFAULT, NOW)
    assert verdict.message.endswith(DENIED)


@pytest.mark.parametrize(
    ("replicas", "least", "outcome"),
    [(0, 2, ALLOW), (0, 1, ALLOW), (0, 0, DEFER), (1, 2, DEFER), (1, 0, DEFER)],
)
def test_an_autoscaler_rests_while_somebody_holds_the_workload_at_none(
    replicas: int, least: int, outcome: Outcome
) -> None:
    facts = target(replicas=replicas, autoscaler=replace(HPA, min_replicas=least))

    verdict = ownership.autoscaler(scale(delta=1), facts, DEFAULT, NOW)

    assert verdict.outcome is outcome
    assert ("rests" in verdict.message) is (outcome is ALLOW)
    assert verdict.details["autoscaler"] == "erp"


@pytest.mark.parametrize(
    ("owners", "outcome", "message"),
    [
        ([], ALLOW, ""),
        (
            [owner(OwnerKind.ARGO_CD, "Application shop")],
            DEFER,
            "Argo CD Application shop would set spec.replicas back: change it in Git, or leave the field out there.",
        ),
        (
            [owner(OwnerKind.ARGO_CD)],
            DEFER,
            "Argo CD would set spec.replicas back: change it in Git, or leave the field out there.",
        ),
        (
            [owner(OwnerKind.FLUX, "Kustomization flux-system/apps", "spec.replicas", "spec.paused", "spec.strategy")],
            DEFER,
            "Flux Kustomization flux-system/apps would set spec.replicas and 2 more back: "
            "change it in Git, or leave the field out there.",
        ),
        (
            [owner(OwnerKind.CONTROLLER, "Elasticsearch logs")],
            DEFER,
            "Elasticsearch logs would set spec.replicas back: change it there.",
        ),
        (
            [owner(OwnerKind.HELM, "release shop")],
            ALLOW,
            "Allowed, but the next upgrade of Helm release shop sets spec.replicas back.",
        ),
        (
            [owner(OwnerKind.HELM, "release shop"), owner(OwnerKind.CONTROLLER, "Shop web", "spec.paused")],
            DEFER,
            "Shop web would set spec.paused back: change it there.",
        ),
        (
            [owner(OwnerKind.ARGO_CD), owner(OwnerKind.CONTROLLER, "Shop web")],
            DEFER,
            "Argo CD would set spec.replicas back: change it in Git, or leave the field out there. "
            "Shop web would set spec.replicas back: change it there.",
        ),
    ],
)
def test_who_would_set_a_field_back_is_named_with_what_to_do_instead(
    owners: list[FieldOwner], outcome: Outcome, message: str
) -> None:
    facts = target(owners=tuple(owners))

    verdict = ownership.field_owners(TO_FIVE, facts, DEFAULT, NOW)

    assert (verdict.outcome, verdict.message) == (outcome, message)
    assert verdict.reason is (None if outcome is ALLOW else Reason.FIELD_OWNED)
    named = {str(one): list(one.fields) for one in owners}
    assert verdict.details == ({"owners": named} if owners else {})
    careless = ownership.field_owners(TO_FIVE, facts, CARELESS, NOW)
    assert (careless.outcome, careless.details) == (ALLOW, verdict.details)


@given(proposals(), FACTS, LIMITS, st.sampled_from(GUARDRAILS))
def test_a_signal_waits_and_a_caller_is_told_at_once(
    proposal: Proposal, facts: Facts, limits: Limits, ask: Guardrail
) -> None:
    one, other = (ask(replace(proposal, origin=origin), facts, limits, NOW) for origin in Origin)

    assert {one.outcome, other.outcome} in ({ALLOW}, {NOT_EVALUATED}, {DEFER, DENY})
    assert (one.reason, one.message, one.details, one.until) == (
        other.reason,
        other.message,
        other.details,
        other.until,
    )


@given(proposals(), FACTS, LIMITS)
def test_what_nobody_has_seen_holds_nothing_back(proposal: Proposal, facts: Facts, limits: Limits) -> None:
    """The web process observes no target; the reconciler decides again before it writes."""
    unobserved = replace(facts, target_seen=False, target=None)
    assert {ask(proposal, unobserved, limits, NOW).outcome for ask in GUARDRAILS} <= {ALLOW, NOT_EVALUATED}


@given(proposals(), FACTS, LIMITS)
def test_settings_can_only_allow_more(proposal: Proposal, facts: Facts, limits: Limits) -> None:
    for ask in GUARDRAILS:
        careless = ask(proposal, facts, replace(limits, respect_owners=False), NOW)
        assert careless.outcome in (ALLOW, ask(proposal, facts, replace(limits, respect_owners=True), NOW).outcome)


@given(FACTS, LIMITS)
def test_a_restart_is_no_autoscalers_business(facts: Facts, limits: Limits) -> None:
    assert ownership.autoscaler(RESTART, facts, limits, NOW).outcome is ALLOW


STORED: dict[str, Any] = {  # as versions before these guardrails stored it
    "now": "2026-03-01T12:00:00.000001+00:00",
    "facts": {"target_seen": True, "target": {"uid": "uid-1", "replicas": 2, "deleting": False}},
    "limits": {"max_replicas": 8, "sources": {"max_replicas": "default"}},
    "proposal": {
        "type": "SCALE",
        "target": {"cluster": "default", "namespace": "smartops-dev", "name": "erp-simulator"},
        "origin": "direct",
        "params": {"replicas": 3},
    },
}


def test_what_was_stored_before_can_still_be_read_and_decided() -> None:
    read = load_inputs(STORED)

    assert read.facts.target == TargetFacts("uid-1", 2)
    assert read.limits.respect_owners is True
    assert decide(read).outcome is ALLOW


def test_a_stored_decision_tells_of_its_neighbours_again() -> None:
    owned = {"kind": "Flux", "name": "Kustomization flux-system/apps", "fields": ["spec.replicas"]}
    hpa = {"name": "erp", "min_replicas": 2, "max_replicas": 4}
    facts = {**STORED["facts"], "target": {**STORED["facts"]["target"], "owners": [owned], "autoscaler": hpa}}

    verdicts = {one["guardrail"]: one for one in replay({**STORED, "facts": facts})}

    assert verdicts["autoscaler"]["reason"] == "Autoscaled"
    assert verdicts["field_owners"]["reason"] == "FieldOwned"
    assert verdicts["field_owners"]["details"] == {"owners": {"Flux Kustomization flux-system/apps": ["spec.replicas"]}}


@pytest.mark.parametrize(("origin", "outcome"), [(Origin.DIRECT, DENY), (Origin.CLOSED_LOOP, DEFER)])
def test_where_several_speak_against_it_the_one_who_acts_within_seconds_is_named(
    origin: Origin, outcome: Outcome
) -> None:
    facts = target(autoscaler=HPA, owners=(owner(OwnerKind.FLUX),))

    decision = decide(Inputs(NOW, facts, DEFAULT, proposal=replace(TO_FIVE, origin=origin)))

    assert isinstance(decision, Defer | Deny)
    assert (decision.outcome, decision.reason) == (outcome, Reason.AUTOSCALED)
