"""A signal whose name stands for no workload waits, and leads to no proposal."""

from dataclasses import replace

import pytest

from guardrails.checks.identification import MAX_UNIDENTIFIED
from guardrails.evaluate import decide
from guardrails.replay import dump_inputs, dump_verdicts, load_inputs, replay
from guardrails.types import Allow, Defer, Deny, Ignore, Inputs, Limits, Outcome
from signals.reasons import Reason
from signals.types import AliasSpec, Kind, Link, Named, Naming, NamingFacts, SignalFacts, Source
from tests.kit.decisions import NOW, TARGET, ago, ahead, known

NAMED = Named(Source.ANOMALY, TARGET.cluster, TARGET.namespace, "Tomcat01")
ALIAS = AliasSpec(7, "Tomcat.*", Kind.DEPLOYMENT, TARGET.name)


def inputs(facts: NamingFacts, **fields: object) -> Inputs:
    signal = SignalFacts("0199-s", Source.ANOMALY, TARGET, "resource", ago(seconds=10), resolved=False)
    signal = replace(signal, naming=Naming(NAMED, facts), **fields)  # type: ignore[arg-type]
    return Inputs(NOW, known(), Limits(), signal)


@pytest.mark.parametrize(
    ("facts", "reason", "message"),
    [
        (NamingFacts(), Reason.TARGET_UNIDENTIFIED, "add an alias in the console, or in the admin"),
        (NamingFacts(nearest=("tomcat", "cat")), Reason.TARGET_UNIDENTIFIED, "Similar names: tomcat, cat."),
        (NamingFacts(waiting=MAX_UNIDENTIFIED - 1), Reason.TARGET_UNIDENTIFIED, "“Tomcat01”"),
        (
            NamingFacts(waiting=MAX_UNIDENTIFIED),
            Reason.TOO_MANY_UNIDENTIFIED,
            "500 unidentified signals of the same token",
        ),
    ],
)
def test_an_unidentified_signal_is_deferred_unless_too_many_wait(
    facts: NamingFacts, reason: Reason, message: str
) -> None:
    decision = decide(inputs(facts))

    assert isinstance(decision, Defer | Deny)
    assert (decision.reason, decision.proposal) == (reason, None)
    assert isinstance(decision, Defer) is (reason is Reason.TARGET_UNIDENTIFIED)
    assert message in decision.message
    assert [one.guardrail for one in decision.verdicts] == ["signal", "identification"]
    if isinstance(decision, Defer):
        assert decision.until == ahead(seconds=60)


def test_an_unidentified_signal_expires() -> None:
    decision = decide(inputs(NamingFacts(), last_seen_at=ago(hours=1)))

    assert isinstance(decision, Deny)
    assert decision.reason == Reason.SIGNAL_EXPIRED


@pytest.mark.parametrize(
    ("facts", "how"),
    [
        (NamingFacts(alias=ALIAS), "alias"),
        (NamingFacts(chains=((Link("Pod", "a"), Link("Deployment", TARGET.name)),)), "owner"),
    ],
)
def test_an_identified_signal_is_decided_on_and_shows_how(facts: NamingFacts, how: str) -> None:
    made = inputs(facts)
    decision = decide(made)

    assert isinstance(decision, Allow | Ignore)
    [verdict] = [one for one in decision.verdicts if one.guardrail == "identification"]
    assert (verdict.outcome, verdict.details["how"]) == (Outcome.ALLOW, how)
    assert verdict.details["target"] == f"Deployment {TARGET.namespace}/{TARGET.name}"
    stored = dump_inputs(made)
    assert load_inputs(stored) == made
    assert replay(stored) == dump_verdicts(decision.verdicts)
