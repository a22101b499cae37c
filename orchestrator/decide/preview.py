"""Which stored decisions would have ended differently under a change of settings, before it is saved.

A preview is computed in steps of about a second, in the requests of its page. Its state is a row (`Preview`). So a
preview that its page has left ends, and any web process takes the next step. A step reads decisions by their ids, in
pages, and needs no more memory for a longer time. (docs/adr/0051-previews-are-computed-in-steps.md)
"""

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any
from uuid import UUID

from django.db import transaction
from django.db.models import Q, TextField
from django.db.models.functions import Cast, Now
from pydantic import TypeAdapter

from guardrails.replay import read_inputs
from guardrails.types import Outcome
from guardrails.what_if.evaluate import evaluate, proposal_in
from guardrails.what_if.history import DraftHistory
from guardrails.what_if.types import Comparison, Doubt, Edit, Effect, PastDecision
from orchestrator.decide.draft import Draft, target_of
from orchestrator.models import DecisionRecord, Phase, Preview
from signals.lib.clock import database_now
from signals.lib.partitions import first_id
from signals.proposals import PROPOSAL_TYPES
from signals.types import Kind, Target

MAX_SHOWN = 200  # differences of a result
PAGE = 1000  # decisions that are read at a time
COLUMNS = (
    *("pk", "created_at", "cluster", "kind", "namespace", "workload"),
    *("phase", "signal_id", "action_id", "outcome", "reason", "until"),
)
EFFECT = tuple(f"action__{name}" for name in ("applied_at", "finished_at", "scale_increase", "scale_decrease"))
MAX_WAIT = 4  # times the processor time that a step may take, on a machine that does other work
FORGOTTEN_AFTER = timedelta(minutes=10)  # without a step


@dataclass(slots=True)
class Difference:
    """One decision that would have ended differently. `before` and `after` say how, in words."""

    decision: UUID
    at: datetime
    target: str
    comparison: Comparison
    before: str
    after: str
    message: str
    signal: UUID | None
    action: UUID | None


@dataclass(slots=True)
class Result:
    """`counts` by comparison, `kinds` of differences by their words, `doubts` by the reason. `shown`: the first
    differences. `at`: how far it has come."""

    examined: int = 0
    counts: dict[Comparison, int] = field(default_factory=dict)
    kinds: dict[str, int] = field(default_factory=dict)
    doubts: dict[Doubt, int] = field(default_factory=dict)
    shown: list[Difference] = field(default_factory=list)
    at: datetime | None = None

    def unconcerned(self, number: int) -> None:
        """Adds decisions whose inputs the draft does not change."""
        self.examined += number
        if number:
            self.counts[Comparison.SAME] = self.counts.get(Comparison.SAME, 0) + number

    @property
    def differing(self) -> int:
        return sum(self.counts.get(one, 0) for one in (Comparison.DIFFERENT, Comparison.OTHER_TIME))


State = dict[str, DraftHistory]  # by the target
_STATE, _RESULT, _EDITS = TypeAdapter(State), TypeAdapter(Result), TypeAdapter(list[Edit])


def begin(owner: str, edits: Sequence[Edit], window: timedelta) -> Preview:
    """Takes the place of the earlier one of the same person. `owner` is an actor."""
    with transaction.atomic():
        Preview.objects.filter(touched_at__lt=Now() - FORGOTTEN_AFTER).delete()
        Preview.objects.filter(owner=owner).delete()
        return Preview.objects.create(
            owner=owner, edits=_EDITS.dump_python(list(edits), mode="json"), since=database_now() - window
        )


def stop(owner: str) -> None:
    Preview.objects.filter(owner=owner).delete()


def draft_of(row: Preview) -> Draft:
    """The steps of a preview that one process makes share it, with the limits that it has compared."""
    return _draft(_EDITS.dump_json(_EDITS.validate_python(row.edits)), row.since, row.until)


@lru_cache(1)
def _draft(edits: bytes, since: datetime, _begun_at: datetime) -> Draft:
    return Draft(_EDITS.validate_json(edits), since)


def result_of(row: Preview) -> Result:
    return _RESULT.validate_python(row.result)


def progress(row: Preview) -> int:
    """In percent of the time that the preview covers."""
    at = result_of(row).at
    if row.finished_at is not None:
        return 100
    return 0 if at is None else min(99, max(0, int(100 * ((at - row.since) / (row.until - row.since)))))


def advance(pk: UUID, where: Q, seconds: float) -> Preview | None:
    """One step of about so many seconds of processor time, on the decisions that fulfil the condition. None if the
    preview was stopped. While another request makes a step of the same preview, it is returned as it is."""
    with transaction.atomic():
        row = Preview.objects.select_for_update(skip_locked=True).filter(pk=pk).first()
        if row is None or row.finished_at is not None:
            return row or Preview.objects.filter(pk=pk).first()
        state, result = _STATE.validate_json(row.state), result_of(row)
        row.position, is_over = _evaluate(row, state, result, where, seconds)
        if is_over:
            state, row.finished_at = {}, datetime.now(UTC)
        row.state = _STATE.dump_json(state).decode()
        row.result, row.touched_at = _RESULT.dump_python(result, mode="json"), datetime.now(UTC)
        row.save()
    return row


def _evaluate(row: Preview, state: State, result: Result, where: Q, seconds: float) -> tuple[UUID, bool]:
    """The last decision that was evaluated, and whether none follows."""
    began, used = time.monotonic(), time.thread_time()
    draft, position, last = draft_of(row), row.position or first_id(row.since), first_id(row.until)
    while True:
        page = _page(position, last, where & draft.scope)
        concerned = [row for row in page if draft.concerns(_target(row))]
        result.unconcerned(len(page) - len(concerned))
        for past in _decisions(concerned):
            compare(past, draft, state, result)
        if page:
            position, result.at = page[-1]["pk"], page[-1]["created_at"]
        is_long = time.thread_time() - used >= seconds or time.monotonic() - began >= MAX_WAIT * seconds
        if len(page) < PAGE or is_long:
            _forget(state, result.at or row.since)
            return position, len(page) < PAGE


def compare(past: PastDecision, draft: Draft, state: State, result: Result) -> None:
    """Adds what the draft makes of one decision to the state and to the result."""
    target = target_of(past.inputs)
    name = f"{target.cluster} {target.with_kind}"
    history = state.get(name) or DraftHistory()
    compared = evaluate(past, draft.drafted(past.inputs), history)
    if history.differs or history.applied:
        state[name] = history
    found = compared.comparison
    result.examined += 1
    result.counts[found] = result.counts.get(found, 0) + 1
    if compared.doubt is not None:
        result.doubts[compared.doubt] = result.doubts.get(compared.doubt, 0) + 1
    if found not in (Comparison.DIFFERENT, Comparison.OTHER_TIME):
        return
    before, after = _in_words(past.outcome, past.reason), _in_words(compared.outcome, compared.reason or "")
    kind = f"{before} → {after}" if found is Comparison.DIFFERENT else f"{after}, until another time"
    result.kinds[kind] = result.kinds.get(kind, 0) + 1
    if len(result.shown) < MAX_SHOWN:
        change = draft.drafted(past.inputs)
        wanted = proposal_in(change.inputs if change else past.inputs)
        what = "" if wanted is None else f"{PROPOSAL_TYPES[wanted.type].describe(wanted.params)}"
        message = compared.message or what
        result.shown.append(_difference(past, target, found, before, after, message))


def _difference(
    past: PastDecision, target: Target, found: Comparison, before: str, after: str, message: str
) -> Difference:
    signal, action = past.signal and UUID(past.signal), past.action and UUID(past.action)
    return Difference(
        UUID(past.id), past.inputs.now, str(target), found, before, after, message, signal or None, action or None
    )


def _in_words(outcome: Outcome | None, reason: str) -> str:
    return f"{outcome} ({reason})" if reason else str(outcome)


def _forget(state: State, now: datetime) -> None:
    """The workloads of which nothing counts any more."""
    for name, history in list(state.items()):
        history.forget(now, 0)
        if not (history.differs or history.applied):
            del state[name]


def _page(position: UUID, last: UUID, where: Q) -> list[dict[str, Any]]:
    """The next decisions without their inputs, in the order of the ids, which is that of time."""
    rows = DecisionRecord.objects.filter(where, pk__gt=position, pk__lt=last).order_by("pk")
    return list(rows.values(*COLUMNS, *EFFECT)[:PAGE])


def _target(row: Mapping[str, Any]) -> Target:
    return Target(row["cluster"], row["namespace"], row["workload"], Kind(row["kind"]))


def _decisions(page: Sequence[Mapping[str, Any]]) -> Iterator[PastDecision]:
    """The inputs are read as text, and parsed once."""
    found = DecisionRecord.objects.filter(pk__in=[row["pk"] for row in page])
    documents = dict(found.annotate(document=Cast("inputs", TextField())).values_list("pk", "document"))
    for row in page:
        if row["pk"] not in documents:
            continue  # it was older than decisions are kept, and has been deleted since
        applied_at, finished_at, up, down = (row[name] for name in EFFECT)
        yield PastDecision(
            id=str(row["pk"]),
            inputs=read_inputs(documents[row["pk"]]),
            outcome=Outcome(row["outcome"]),
            reason=row["reason"],
            until=row["until"],
            signal=str(row["signal_id"] or ""),
            action=str(row["action_id"] or ""),
            before_write=row["phase"] == Phase.PLAN,
            effect=Effect(applied_at, finished_at, up or 0, down or 0),
        )
