"""The part of admit for signals whose target is not known by its name: records which workload it is, or that there is
none yet.

A resolved signal stays due, and is decided on in the next pass, as any other signal of its workload.
"""

from collections.abc import Sequence
from dataclasses import replace

from guardrails.types import Defer
from orchestrator.decide.decision import Decided, Question, decide, store_records
from orchestrator.reconciler.calls import Candidate
from signals.models import Signal
from signals.naming import Resolution, resolve
from signals.reasons import Reason
from signals.types import Naming
from signals.unresolved import store, waiting

Row = tuple[Signal, Naming]


def record(found: Sequence[tuple[Candidate, Signal]]) -> list[tuple[Signal, Decided]]:
    """In the transaction of admit, with the signals locked. The decisions on those that stay unresolved. Only the first
    of each signal is stored, and the last: it is looked up again every minute."""
    rows = [(signal, candidate.naming) for candidate, signal in found if candidate.naming is not None]
    if not rows:
        return []
    resolved = [(signal, naming, _resolution(naming)) for signal, naming in rows]
    unresolved = [(one, naming) for one, naming, where in resolved if where is None]
    store(resolved)
    decided = list(zip([one for one, _ in unresolved], decide(_questions(unresolved)), strict=True))
    store_records([made for signal, made in decided if not _is_repeated(signal, made)])
    return decided


def _resolution(naming: Naming) -> Resolution | None:
    found = resolve(naming.named, naming.facts)
    return found if isinstance(found, Resolution) else None


def _questions(rows: Sequence[Row]) -> list[Question]:
    new = [signal for signal, _ in rows if signal.reason != Reason.TARGET_UNRESOLVED]
    others = waiting({signal.posted_by for signal in new})
    questions = []
    for signal, naming in rows:
        before = 0 if signal.reason == Reason.TARGET_UNRESOLVED else others[signal.posted_by]
        others[signal.posted_by] += signal.reason != Reason.TARGET_UNRESOLVED
        facts = replace(signal.facts(), naming=replace(naming, facts=replace(naming.facts, waiting=before)))
        questions.append(Question.of_signal(facts, rules=()))
    return questions


def _is_repeated(signal: Signal, decided: Decided) -> bool:
    return isinstance(decided.decision, Defer) and signal.reason == Reason.TARGET_UNRESOLVED
