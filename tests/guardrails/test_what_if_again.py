"""Which inputs each guardrail reads, and that a decision with other inputs ends as a full evaluation says."""

from collections.abc import Callable
from dataclasses import fields, replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from guardrails.checks.approval import mode
from guardrails.checks.signal import freshness
from guardrails.evaluate import GUARDRAILS, Guardrail, decide
from guardrails.types import Facts, FreezeFacts, Inputs, Limits, Outcome, TargetFacts
from guardrails.what_if.again import READ_BY_FRESHNESS, READERS, Ending, decide_again, differing, readers_of
from guardrails.what_if.evaluate import proposal_in
from guardrails.what_if.types import PastDecision
from signals.reasons import Reason
from signals.types import Proposal, SignalFacts, Source
from tests.kit.decisions import FACTS, LIMITS, NOW, RESTART, TARGET, ago, inputs, known


class Recorded:
    """Values, and the names of those that are read."""

    def __init__(self, values: Any, names: set[str]) -> None:
        self._values, self._names = values, names

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._values, name)
        if isinstance(found, TargetFacts):
            return Recorded(found, self._names)
        self._names.add(name)
        return found


def read(guardrail: Callable[..., Any], first: Any, given_: Inputs) -> set[str]:
    names: set[str] = set()
    guardrail(first, Recorded(given_.facts, names), Recorded(given_.limits, names), given_.now)
    return names


@settings(max_examples=300)
@given(inputs())
def test_a_guardrail_reads_no_input_of_which_it_is_not_listed_as_a_reader(given_: Inputs) -> None:
    if given_.signal is not None:
        assert not (read(freshness, given_.signal, given_) & READERS.keys()) - READ_BY_FRESHNESS
    if (proposal := proposal_in(given_)) is not None:
        for guardrail in GUARDRAILS:
            for name in read(guardrail, proposal, given_):
                assert guardrail in READERS.get(name, GUARDRAILS), f"{guardrail.__name__} reads {name}"


def test_every_limit_has_its_readers() -> None:
    """Without them, a draft of this limit would be slow."""
    assert {one.name for one in fields(Limits)} <= READERS.keys()


INPUTS = [one.name for one in (*fields(Limits), *fields(Facts))]


def edited(stored: Inputs, limits: Limits, facts: Facts, changed: set[str]) -> Inputs:
    """The stored inputs, with some of their limits and facts changed."""

    def of(values: Any, kind: type) -> dict[str, Any]:
        return {one.name: getattr(values, one.name) for one in fields(kind) if one.name in changed}

    return replace(
        stored, limits=replace(stored.limits, **of(limits, Limits)), facts=replace(stored.facts, **of(facts, Facts))
    )


def past_of(stored: Inputs) -> PastDecision:
    decision = decide(stored)
    reason, until = (getattr(decision, name, None) for name in ("reason", "until"))
    return PastDecision("d", stored, decision.outcome, reason or "", until)


def again(past: PastDecision, inputs_: Inputs, proposal: Proposal | None = RESTART) -> Ending:
    return decide_again(past, proposal, proposal, inputs_, inputs_.facts)


@settings(max_examples=600)
@given(inputs(), LIMITS, FACTS, st.sets(st.sampled_from(INPUTS), max_size=3))
def test_a_decision_ends_as_a_full_evaluation_says(
    stored: Inputs, limits: Limits, facts: Facts, names: set[str]
) -> None:
    changed = edited(stored, limits, facts, names)
    proposal = proposal_in(stored)

    found = again(past_of(stored), changed, proposal)

    full = decide(changed)
    wanted = (full.outcome, getattr(full, "reason", None), getattr(full, "until", None))
    assert (found.outcome, found.reason, found.until) == wanted
    assert found.is_reproduced
    assert found.message in ("", getattr(full, "message", ""))


RESTARTED = Inputs(NOW, known(), Limits(), proposal=RESTART)
FROZEN = replace(RESTARTED, facts=known(freezes=(FreezeFacts("everything", "release", "user:ana", None),)))


def test_only_the_readers_of_what_differs_are_evaluated(monkeypatch: pytest.MonkeyPatch) -> None:
    evaluated: list[str] = []

    def counting(guardrail: Guardrail) -> Guardrail:
        def counted(*values: Any) -> Any:
            evaluated.append(guardrail.__name__)
            return guardrail(*values)

        return counted

    counted = {guardrail: counting(guardrail) for guardrail in GUARDRAILS}
    readers = {name: [counted[one] for one in READERS[name]] for name in READERS}
    monkeypatch.setattr("guardrails.what_if.again.GUARDRAILS", tuple(counted.values()))
    monkeypatch.setattr("guardrails.what_if.again.READERS", readers)
    readers_of.cache_clear()

    found = again(past_of(RESTARTED), FROZEN)

    readers_of.cache_clear()
    assert (found.outcome, found.reason) == (Outcome.DEFER, Reason.FROZEN)
    assert evaluated == ["freeze", "freeze"]


@pytest.mark.parametrize(
    ("changed", "names"),
    [
        (RESTARTED, set()),
        (FROZEN, {"freezes"}),
        (replace(RESTARTED, limits=Limits(cooldown_seconds=1)), {"cooldown_seconds"}),
        (replace(RESTARTED, facts=known(target=TargetFacts("uid-1", 3, 2))), {"replicas"}),
        (replace(RESTARTED, facts=known(target=None)), {"target"}),
    ],
)
def test_differences_have_the_names_of_limits_and_facts(changed: Inputs, names: set[str]) -> None:
    assert set(differing(RESTARTED, changed.limits, changed.facts)) == names


def test_an_input_that_is_not_listed_may_be_read_by_all() -> None:
    assert readers_of(("managed",)) == GUARDRAILS
    assert readers_of(("mode", "approvals_required"))[0] is mode


def test_a_signal_ages_by_the_limit_of_the_draft() -> None:
    signal = SignalFacts("s", Source.RCA, TARGET, "memory_leak", ago(seconds=100), resolved=False, due_at=NOW)
    stored = replace(RESTARTED, signal=signal)

    found = again(past_of(stored), replace(stored, limits=Limits(signal_ttl_seconds=99)))

    assert (found.outcome, found.reason) == (Outcome.DENY, Reason.SIGNAL_EXPIRED)


def test_what_another_version_decided_is_not_reproduced() -> None:
    refused = PastDecision("d", FROZEN, Outcome.ALLOW)
    assert again(refused, RESTARTED) == Ending(Outcome.ALLOW)
    deferred = again(refused, replace(FROZEN, limits=Limits(approve_after_failure=True)))
    assert deferred == Ending(Outcome.ALLOW)
    asked = again(replace(refused, inputs=RESTARTED, outcome=Outcome.DENY), FROZEN)
    assert not asked.is_reproduced
