"""Which deferred signals would run if a change of settings were saved now.

The saved change makes all deferred signals due. What the database knows of their workloads is read anew; the target is
as the last decision observed it, and a policy engine's answer is the last one.
"""

from dataclasses import dataclass, replace
from datetime import datetime
from uuid import UUID

from django.db.models import Q

from guardrails.evaluate import decide
from guardrails.replay import load_inputs
from guardrails.types import Allow, Ask, Inputs
from guardrails.what_if.evaluate import proposal_in
from guardrails.what_if.types import Doubt
from orchestrator.decide.history import Wanted, load_history
from orchestrator.models import DecisionRecord, Workload
from orchestrator.what_if.draft import Draft
from signals.lib.clock import database_now
from signals.mapping import considered
from signals.models import Rule, Signal
from signals.proposals import PROPOSAL_TYPES
from signals.types import SignalFacts, Target

MAX_SIGNALS = 500  # that are evaluated


@dataclass(frozen=True, slots=True)
class WouldRun:
    """A deferred signal that leads to an action under the draft, and to none under the present settings. `doubt`: why
    that cannot be known for certain."""

    signal: Signal
    change: str
    doubt: Doubt | None


def would_run(draft: Draft, where: Q) -> tuple[list[WouldRun], bool]:
    """At most one of each workload, those that are due first, of the signals that fulfil the condition; and whether
    more than MAX_SIGNALS are deferred."""
    now = database_now()
    deferred = Signal.pending().filter(where, not_before__gt=now).exclude(reason="")
    rows = list(deferred.defer("payload").order_by("not_before")[: MAX_SIGNALS + 1])
    signals = {row.pk: row for row in rows[:MAX_SIGNALS] if not row.needs_identification}
    last = DecisionRecord.objects.filter(signal__in=signals).order_by("signal_id", "-pk").distinct("signal_id")
    stored = {one.signal_id: load_inputs(one.inputs) for one in last if one.signal_id is not None}
    rules = [one.spec for one in Rule.objects.filter(enabled=True).order_by("priority", "id")]
    present = {
        pk: replace(given, now=now, signal=(facts := _facts(signals[pk], now)), rules=considered(facts, rules))
        for pk, given in stored.items()
    }
    found = dict[Target, WouldRun]()
    for pk, inputs in sorted(_with_histories(present).items(), key=lambda one: signals[one[0]].not_before):
        row = signals[pk]
        drafted = draft.drafted(inputs)
        if drafted is None or row.target in found or isinstance(decide(inputs), Allow | Ask):
            continue
        decision = decide(drafted.inputs)
        if isinstance(decision, Allow | Ask):
            change = PROPOSAL_TYPES[decision.proposal.type].describe(decision.proposal.params)
            loaded = stored[pk].facts.history_loaded
            doubt = drafted.doubt or (None if loaded else Doubt.FACTS_NOT_LOADED)
            asks = isinstance(decision, Ask)
            found[row.target] = WouldRun(row, f"{change}, after an approval" if asks else change, doubt)
    return list(found.values()), len(rows) > MAX_SIGNALS


def _facts(row: Signal, now: datetime) -> SignalFacts:
    began = min(row.first_seen_at, row.started_at or row.first_seen_at)
    return replace(row.facts(), lasted_seconds=(now - began).total_seconds(), due_at=now)


def _with_histories(inputs: dict[UUID, Inputs]) -> dict[UUID, Inputs]:
    """With what the database knows of their workloads now."""
    targets = {pk: given.signal.target for pk, given in inputs.items() if given.signal is not None}
    known = {one.target: one.pk for one in Workload.objects.filter(name__in={one.name for one in targets.values()})}
    wanted = []
    for pk, given in inputs.items():
        proposal = proposal_in(given)
        type_, params = (None, None) if proposal is None else (proposal.type, proposal.params)
        wanted.append(Wanted(targets[pk], known.get(targets[pk]), type_, params))
    histories = load_history(wanted) if wanted else []
    return {
        pk: replace(given, facts=one.added_to(given.facts), limits=one.limits)
        for (pk, given), one in zip(inputs.items(), histories, strict=True)
    }
