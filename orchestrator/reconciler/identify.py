"""The part of admit for signals whose target is not known by its name: records which workload it is, or that there is
none yet.

An identified signal stays due, and is decided on in the next pass, as any other signal of its workload.
"""

from collections.abc import Sequence
from dataclasses import replace

from guardrails.types import Defer
from orchestrator.decide.decision import Decided, Question, decide, store_records
from orchestrator.reconciler.calls import Candidate
from signals.identity import Identified, identify
from signals.models import Signal
from signals.reasons import Reason
from signals.types import Naming
from signals.unidentified import store, waiting

Row = tuple[Signal, Naming]


def record(found: Sequence[tuple[Candidate, Signal]]) -> list[tuple[Signal, Decided]]:
    """In the transaction of admit, with the signals locked. The decisions on those that stay unidentified. Only the
    first of each signal is stored, and the last: it is looked up again every minute."""
    rows = [(signal, candidate.naming) for candidate, signal in found if candidate.naming is not None]
    if not rows:
        return []
    concluded = [(signal, naming, _identified(naming)) for signal, naming in rows]
    unidentified = [(one, naming) for one, naming, where in concluded if where is None]
    store(concluded)
    decided = list(zip([one for one, _ in unidentified], decide(_questions(unidentified)), strict=True))
    store_records([made for signal, made in decided if not _is_repeated(signal, made)])
    return decided


def _identified(naming: Naming) -> Identified | None:
    found = identify(naming.named, naming.facts)
    return found if isinstance(found, Identified) else None


def _questions(rows: Sequence[Row]) -> list[Question]:
    new = [signal for signal, _ in rows if signal.reason != Reason.TARGET_UNIDENTIFIED]
    others = waiting({signal.posted_by for signal in new})
    questions = []
    for signal, naming in rows:
        before = 0 if signal.reason == Reason.TARGET_UNIDENTIFIED else others[signal.posted_by]
        others[signal.posted_by] += signal.reason != Reason.TARGET_UNIDENTIFIED
        facts = replace(signal.facts(), naming=replace(naming, facts=replace(naming.facts, waiting=before)))
        questions.append(Question.of_signal(facts, rules=()))
    return questions


def _is_repeated(signal: Signal, decided: Decided) -> bool:
    return isinstance(decided.decision, Defer) and signal.reason == Reason.TARGET_UNIDENTIFIED
