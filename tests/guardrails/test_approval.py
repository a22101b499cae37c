"""What takes an approval, what is only observed, and whose approvals count."""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from typing import Any

import pytest

from guardrails.checks.approval import failed_before, large_change, mode, protected_labels, protecting
from guardrails.types import ApprovalFacts, Facts, FailedVerification, Limits, Outcome, TargetFacts, Verdict
from signals.reasons import Reason
from signals.types import ActionType, Mode, Origin, Proposal
from tests.kit.decisions import LIVE, NOW, RESTART, TARGET, known, scale

ASK, OBSERVE = (Outcome.ASK, Reason.APPROVAL_REQUIRED), (Outcome.OBSERVE, Reason.OBSERVE_ONLY)
ALLOW, NOT_EVALUATED = (Outcome.ALLOW, None), (Outcome.NOT_EVALUATED, None)
UNSEEN = "The target was not observed; the reconciler evaluates this before it writes."
MISSING = "There is no Deployment smartops-dev/erp-simulator."

APPROVED = ApprovalFacts("shown", "shown", ("user:ana",))
FAILED = FailedVerification("0199-f", "failed", "1 of 2 replicas are available.")
PROTECTED = known(target=replace(LIVE, protected_by=("pci", "tier=critical")))
SCOPED = {"mode": "namespace smartops-dev"}


def answer(verdict: Verdict) -> tuple[Outcome, Reason | None]:
    return verdict.outcome, verdict.reason


def of_rule(mode: Mode) -> Proposal:
    return replace(RESTART, mode=mode, requested_by="rule:7")


@pytest.mark.parametrize(
    ("by_rule", "by_scope", "said", "strictest", "source", "message"),
    [
        (Mode.AUTO, Mode.AUTO, ALLOW, Mode.AUTO, "namespace smartops-dev", ""),
        (Mode.APPROVE, Mode.AUTO, ASK, Mode.APPROVE, "rule:7", "The mode of {} is approve (rule:7)."),
        (
            Mode.APPROVE, Mode.APPROVE, ASK, Mode.APPROVE, "namespace smartops-dev",
            "The mode of {} is approve (namespace smartops-dev).",
        ),
        (
            Mode.OBSERVE, Mode.APPROVE, OBSERVE, Mode.OBSERVE, "rule:7",
            "Nothing is written to {}: its mode is observe (rule:7).",
        ),
        (
            Mode.APPROVE, Mode.OBSERVE, OBSERVE, Mode.OBSERVE, "namespace smartops-dev",
            "Nothing is written to {}: its mode is observe (namespace smartops-dev).",
        ),
    ],
)  # fmt: skip
def test_the_stricter_mode_counts_and_the_message_names_its_source(
    by_rule: Mode, by_scope: Mode, said: tuple[Outcome, Reason | None], strictest: Mode, source: str, message: str
) -> None:
    verdict = mode(of_rule(by_rule), known(), Limits(mode=by_scope, sources=SCOPED), NOW)

    assert answer(verdict) == said
    assert verdict.message == message.format(TARGET)
    assert (verdict.details["mode"], verdict.details["source"]) == (strictest, source)


def test_a_mode_that_no_scope_sets_is_a_default() -> None:
    verdict = mode(RESTART, known(), Limits(mode=Mode.APPROVE), NOW)

    assert verdict.message == f"The mode of {TARGET} is approve (default)."
    assert verdict.details == {"mode": Mode.APPROVE, "source": "default", "approvals_required": 1}


@pytest.mark.parametrize(
    ("approval", "required", "said", "message"),
    [
        (APPROVED, 1, ALLOW, "Approved by user:ana."),
        (replace(APPROVED, by=("user:ana", "user:ben")), 1, ALLOW, "Approved by user:ana, user:ben."),
        (replace(APPROVED, by=("user:ana", "user:ben")), 2, ALLOW, "Approved by user:ana, user:ben."),
        (APPROVED, 2, ASK, "Persons were asked to approve this action. It has 1 of 2 approvals."),
        (replace(APPROVED, by=()), 1, ASK, "Persons were asked to approve this action. It has 0 of 1 approvals."),
        (
            replace(APPROVED, lost=("user:cem", "user:dan")), 2, ASK,
            "Persons were asked to approve this action. It has 1 of 2 approvals. user:cem no longer has the right to "
            "approve it. user:dan no longer has the right to approve it.",
        ),
        (
            replace(APPROVED, now="another"), 1, ASK,
            "Persons were asked to approve this action. What was shown has changed.",
        ),
    ],
)  # fmt: skip
def test_an_action_that_was_shown_is_written_as_enough_persons_approved_it(
    approval: ApprovalFacts, required: int, said: tuple[Outcome, Reason | None], message: str
) -> None:
    verdict = mode(RESTART, known(approval=approval), Limits(approvals_required=required), NOW)

    assert (answer(verdict), verdict.message) == (said, message)
    assert verdict.details["approvals_required"] == required
    assert verdict.details.get("approved_by") == (list(approval.by) if approval.now == "shown" else None)


@pytest.mark.parametrize(
    ("proposal", "replicas", "changed", "percent", "more_than"),
    [
        (scale(delta=2), 4, 2, 50, ""),
        (scale(delta=-2), 4, 2, 50, ""),
        (scale(replicas=4), 4, 0, 0, ""),
        (scale(delta=3), 10, 3, 30, "2 replicas"),
        (scale(delta=-3), 10, 3, 30, "2 replicas"),
        (scale(replicas=0), 3, 3, 100, "2 replicas"),  # more than either limit: the first one is said
        (scale(delta=2), 3, 2, 66.7, "50% of the replicas"),
        (scale(delta=-2), 5, 2, 40, ""),
        (scale(delta=-1), 1, 1, 100, "50% of the replicas"),
        (scale(replicas=1), 0, 1, 100, "50% of the replicas"),
        (
            replace(RESTART, type=ActionType.PATCH, params={"patch": {"spec": {"replicas": 7}}}),
            4, 3, 75, "2 replicas",
        ),
    ],
)  # fmt: skip
def test_a_change_of_more_replicas_than_the_limits_takes_an_approval(
    proposal: Proposal, replicas: int, changed: int, percent: float, more_than: str
) -> None:
    limits = Limits(max_unapproved_replicas=2, max_unapproved_percent=50)
    verdict = large_change(proposal, known(target=TargetFacts("uid-1", replicas)), limits, NOW)
    message = f"{changed} of {replicas} replicas ({percent}%) would change: more than {more_than} takes an approval."
    numbers = {"value": changed, "limit": 2, "percent": percent, "percent_limit": 50, "current": replicas}

    assert answer(verdict) == (ASK if more_than else ALLOW)
    assert verdict.message == (message if more_than else "")
    assert verdict.details == (numbers | {"approvals_required": 1} if more_than else numbers)


@pytest.mark.parametrize(
    ("facts", "labels", "said", "message", "details"),
    [
        (PROTECTED, "", ALLOW, "", {}),
        (PROTECTED, " , ", ALLOW, "", {}),
        (known(), "pci, tier=critical", ALLOW, "", {"labels": ["pci", "tier=critical"]}),
        (known(target=None), "pci", NOT_EVALUATED, MISSING, {"labels": ["pci"]}),
        (Facts(target_seen=False), "pci", NOT_EVALUATED, UNSEEN, {"labels": ["pci"]}),
        (
            PROTECTED, "pci,tier=critical,gold", ASK, f"{TARGET} has the protected label pci, tier=critical.",
            {"labels": ["pci", "tier=critical", "gold"], "approvals_required": 1},
        ),
    ],
)  # fmt: skip
def test_a_workload_with_a_protected_label_takes_an_approval(
    facts: Facts, labels: str, said: tuple[Outcome, Reason | None], message: str, details: dict[str, Any]
) -> None:
    verdict = protected_labels(RESTART, facts, Limits(protected_labels=labels), NOW)

    assert (answer(verdict), verdict.message, verdict.details) == (said, message, details)


@pytest.mark.parametrize(
    ("text", "labels", "held"),
    [
        ("", {"pci": ""}, ()),
        ("pci", {"pci": ""}, ("pci",)),
        ("pci", {"pci": "yes"}, ("pci",)),
        ("pci", {"pci-2": "yes"}, ()),
        ("tier=critical", {"tier": "critical"}, ("tier=critical",)),
        ("tier=critical", {"tier": "low"}, ()),
        ("tier=critical", {"critical": "tier"}, ()),
        ("tier=", {"tier": ""}, ("tier=",)),
        ("tier=", {"tier": "low"}, ()),
        (" tier=low , gold,pci", {"pci": "1", "tier": "low"}, ("tier=low", "pci")),
        ("pci", {}, ()),
        ("pci", None, ()),
        ("pci", ["pci"], ()),
    ],
)
def test_an_object_has_a_protected_label_by_its_name_or_its_value(
    text: str, labels: object, held: tuple[str, ...]
) -> None:
    assert protecting(text, labels) == held


@pytest.mark.parametrize(("state", "ended"), [("failed", "failed"), ("timed_out", "timed out")])
def test_a_person_decides_where_the_last_such_action_has_failed(state: str, ended: str) -> None:
    facts = known(failed=replace(FAILED, state=state))
    verdict = failed_before(RESTART, facts, Limits(approve_after_failure=True), NOW)
    message = f"The last such action 0199-f of {TARGET} has {ended}: 1 of 2 replicas are available."

    assert (answer(verdict), verdict.message) == (ASK, message)
    assert verdict.details == {"action": "0199-f", "state": state, "approvals_required": 1}


@pytest.mark.parametrize(
    ("facts", "required", "said", "message"),
    [
        (known(), True, ALLOW, ""),
        (known(failed=FAILED), False, ALLOW, ""),
        (
            known(failed=FAILED, history_loaded=False), True, NOT_EVALUATED,
            "The history of the workload was not loaded: nothing can be done to this target.",
        ),
    ],
)  # fmt: skip
def test_a_failure_that_is_unknown_or_not_to_be_asked_about_takes_no_approval(
    facts: Facts, required: bool, said: tuple[Outcome, Reason | None], message: str
) -> None:
    verdict = failed_before(RESTART, facts, Limits(approve_after_failure=required), NOW)

    assert (answer(verdict), verdict.message) == (said, message)


STRICT = Limits(
    mode=Mode.APPROVE, max_unapproved_replicas=0, protected_labels="pci,tier=critical", approve_after_failure=True
)
Check = Callable[[Proposal, Facts, Limits, datetime], Verdict]


@pytest.mark.parametrize("check", [mode, large_change, protected_labels, failed_before])
@pytest.mark.parametrize("origin", Origin)
def test_everything_may_be_tried_without_an_approval(check: Check, origin: Origin) -> None:
    facts, proposal = replace(PROTECTED, failed=FAILED), replace(scale(delta=1), origin=origin)
    approved, observing = replace(facts, approval=APPROVED), replace(STRICT, mode=Mode.OBSERVE)

    assert answer(check(proposal, facts, STRICT, NOW)) == ASK
    assert answer(check(proposal, approved, STRICT, NOW)) == ALLOW
    assert answer(check(replace(proposal, dry_run=True), facts, STRICT, NOW)) == ALLOW
    assert answer(check(replace(proposal, dry_run=True), facts, observing, NOW)) == ALLOW


@pytest.mark.parametrize(("facts", "message"), [(known(target=None), MISSING), (Facts(target_seen=False), UNSEEN)])
def test_the_size_of_a_change_is_unknown_without_the_target(facts: Facts, message: str) -> None:
    verdict = large_change(scale(delta=1), facts, STRICT, NOW)

    assert (answer(verdict), verdict.message) == (NOT_EVALUATED, message)


def test_an_action_that_sets_no_replicas_is_no_large_change_even_of_an_unknown_target() -> None:
    for facts in (known(), known(target=None), Facts(target_seen=False)):
        assert large_change(RESTART, facts, STRICT, NOW) == Verdict("large_change")
