"""SmartOps' own workloads are recognized, and changed only where they are allowed by name."""

from dataclasses import replace

import pytest

from guardrails.checks.target import own_workload
from guardrails.types import Exemptions, Facts, Limits, Outcome, TargetFacts, Verdict
from signals.reasons import Reason
from signals.types import Kind, Origin, Proposal, Target
from tests.kit.decisions import NOW, RESTART, known, scale

LABELLED = known(target=TargetFacts("uid-1", 2, part_of_smartops="the label app.kubernetes.io/part-of=smartops"))


def asked(proposal: Proposal, facts: Facts) -> Verdict:
    return own_workload(proposal, facts, Limits(), NOW)


def named(name: str, namespace: str = "smartops-dev") -> Proposal:
    return replace(RESTART, target=Target("default", namespace, name))


@pytest.mark.parametrize("origin", Origin)
@pytest.mark.parametrize("dry_run", [False, True])
@pytest.mark.parametrize("proposal", [RESTART, scale(replicas=0)])
def test_an_own_workload_is_denied_to_every_caller(proposal: Proposal, origin: Origin, dry_run: bool) -> None:
    verdict = asked(replace(proposal, origin=origin, dry_run=dry_run), LABELLED)

    assert (verdict.outcome, verdict.reason) == (Outcome.DENY, Reason.OWN_WORKLOAD)
    assert verdict.details == {"recognized_by": "the label app.kubernetes.io/part-of=smartops"}


@pytest.mark.parametrize("namespace", ["smartops-dev", "shop"])
@pytest.mark.parametrize(
    "name",
    [
        "smartops-orchestrator",
        "smartops-orchestrator-reconciler",
        "smartops-orchestrator-web",
        "prod-smartops-orchestrator-web",
        "eu.smartops-orchestrator.1",
    ],
)
def test_an_own_name_suffices_in_any_namespace_and_without_the_target(name: str, namespace: str) -> None:
    for facts in (known(), known(target=None), Facts(target_seen=False)):
        assert asked(named(name, namespace), facts).reason is Reason.OWN_WORKLOAD


@pytest.mark.parametrize("name", ["smartops", "smartops-orchestrators", "mysmartops-orchestrator", "smartops-web"])
def test_a_name_that_only_resembles_it_is_not_an_own_one(name: str) -> None:
    assert asked(named(name), known()).outcome is Outcome.ALLOW
    assert asked(named(name), known(target=None)).outcome is Outcome.NOT_EVALUATED
    assert asked(named(name), Facts(target_seen=False)).outcome is Outcome.NOT_EVALUATED


def test_an_exemption_names_the_kind_of_what_is_no_deployment() -> None:
    stateful_set = replace(RESTART, target=replace(RESTART.target, kind=Kind.STATEFUL_SET))
    for exemption, proposal in {
        "smartops-dev/erp-simulator": RESTART,
        "StatefulSet smartops-dev/erp-simulator": stateful_set,
    }.items():
        facts = replace(LABELLED, exemptions=Exemptions(own_workloads=(exemption,)))
        allowed = [one for one in (RESTART, stateful_set) if asked(one, facts).outcome is Outcome.ALLOW]
        assert allowed == [proposal]


def test_an_exemption_allows_the_workload_that_it_names_and_no_other() -> None:
    exemptions = Exemptions(own_workloads=("shop/smartops-orchestrator-web", "smartops-dev/erp-simulator"))

    for proposal in (named("smartops-orchestrator-web", "shop"), RESTART):
        verdict = asked(proposal, replace(LABELLED, exemptions=exemptions))
        assert (verdict.outcome, bool(verdict.message)) == (Outcome.ALLOW, True)
    for proposal in (named("smartops-orchestrator-web"), named("smartops-orchestrator-reconciler", "shop")):
        assert asked(proposal, replace(LABELLED, exemptions=exemptions)).outcome is Outcome.DENY
