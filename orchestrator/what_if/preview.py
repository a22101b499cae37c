"""Which stored decisions would have ended differently under a change of settings, before it is saved.

A preview is computed in steps of about a second, in the requests of its page. Its state is a row (`Preview`). So a
preview that its page has left ends, and any web process takes the next step. A step reads decisions by their ids, in
pages, and needs no more memory for a longer time. (docs/adr/0051-previews-are-computed-in-steps.md)
"""

import gc
import sys
import time
from collections.abc import Collection, Generator, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from threading import Lock
from typing import Any, Never
from uuid import UUID

from django.db import connection, transaction
from django.db.models import Q, QuerySet, TextField
from django.db.models.functions import Cast, Now
from pydantic import TypeAdapter

from guardrails.types import Facts, Inputs, Limits, Outcome
from guardrails.what_if.evaluate import evaluate, proposal_in
from guardrails.what_if.history import DraftHistory
from guardrails.what_if.types import Comparison, Doubt, Edit, Effect, PastDecision
from orchestrator.models import DecisionRecord, Preview
from orchestrator.queries import PAST_DECISIONS
from orchestrator.what_if.draft import TARGETS, Draft, target_of
from signals.lib.clock import database_now
from signals.lib.partitions import custom_plans, first_id, time_of
from signals.proposals import PROPOSAL_TYPES
from signals.types import Kind, Proposal, RuleSpec, SignalFacts, Target

MAX_SHOWN = 200  # differences of a result
PAGE = 1000  # decisions that one query reads
SENT = 50  # of them, that are taken from the socket at a time
GIVES_WAY_AFTER = 0.0005  # seconds
MAX_WAIT = 4  # times the processor time that a step may take, on a machine that does other work
FORGOTTEN_AFTER = timedelta(minutes=10)  # without a step
RUNS_FOR = timedelta(seconds=15)  # after a step
DRAFTS = 4  # that a process keeps between steps


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
    differences. `at`: how far it has come. `where`: the condition for the decisions that were evaluated."""

    examined: int = 0
    counts: dict[Comparison, int] = field(default_factory=dict)
    kinds: dict[str, int] = field(default_factory=dict)
    doubts: dict[Doubt, int] = field(default_factory=dict)
    shown: list[Difference] = field(default_factory=list)
    at: datetime | None = None
    where: str = ""

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


@dataclass(slots=True)
class _Stored:
    """A decision without its limits and rules."""

    now: datetime
    facts: Facts
    signal: SignalFacts | None
    proposal: Proposal | None
    outcome: Outcome
    reason: str
    until: datetime | None
    signal_id: str
    action_id: str
    before_write: bool
    effect: Effect


_STORED = TypeAdapter(_Stored)
_limits = lru_cache(1000)(TypeAdapter(Limits).validate_json)
_rules = lru_cache(1000)(TypeAdapter(tuple[RuleSpec, ...]).validate_json)
_turn = Lock()  # of this process: one step at a time
_latest: dict[tuple[UUID, UUID | None], State] = {}  # after the last step of this process, by preview and position


def begin(owner: str, edits: Sequence[Edit], window: timedelta) -> Preview:
    """Takes the place of the earlier one of the same person. `owner` is an actor."""
    with transaction.atomic():
        Preview.objects.filter(touched_at__lt=Now() - FORGOTTEN_AFTER).delete()
        Preview.objects.filter(owner=owner).delete()
        return Preview.objects.create(
            owner=owner, edits=_EDITS.dump_python(list(edits), mode="json"), since=database_now() - window
        )


def rows() -> QuerySet[Preview]:
    """Without their states, each of which may be megabytes: one is read when it is needed."""
    return Preview.objects.defer("state")


def running(owner: str) -> int:
    """How many previews of others are being computed: a page that asks for steps does so every few seconds."""
    others = Preview.objects.exclude(owner=owner).filter(finished_at=None, touched_at__gt=Now() - RUNS_FOR)
    return others.count()


def stop(owner: str) -> None:
    Preview.objects.filter(owner=owner).delete()


def draft_of(row: Preview) -> Draft:
    """The steps of a preview that one process makes share it, with the limits that it has compared."""
    return _draft(_EDITS.dump_json(_EDITS.validate_python(row.edits)), row.since, row.until)


@lru_cache(DRAFTS)
def _draft(edits: bytes, since: datetime, _begun_at: datetime) -> Draft:
    return Draft(_EDITS.validate_json(edits), since)


def current(row: Preview, where: Q) -> Preview:
    """It begins again where other decisions were evaluated: what the person may see has changed since."""
    if row.result.get("where") != str(where):
        row.state, row.result, row.position, row.finished_at = "{}", {"where": str(where)}, None, None
    return row


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
    preview was stopped. While this process makes any step, or another process makes one of this preview, the row is
    returned unchanged."""
    if not _turn.acquire(blocking=False):
        return rows().filter(pk=pk).first()
    try:
        return _advance(pk, where, seconds)
    finally:
        _turn.release()


@transaction.atomic
def _advance(pk: UUID, where: Q, seconds: float) -> Preview | None:
    row = rows().select_for_update(skip_locked=True).filter(pk=pk).first()
    if row is None:
        return rows().filter(pk=pk).first()
    if current(row, where).finished_at is not None:
        return row
    custom_plans()
    with _giving_way():
        state, result = _state_of(row), result_of(row)
        row.position, is_over = _evaluate(row, state, result, where, seconds)
        if is_over:
            state, row.finished_at = {}, datetime.now(UTC)
        row.state = _STATE.dump_json(state, exclude_defaults=True).decode()
        _latest[row.pk, row.position] = state
    row.result, row.touched_at = _RESULT.dump_python(result, mode="json"), datetime.now(UTC)
    row.save()
    return row


def _state_of(row: Preview) -> State:
    """As the last step has left it. If this process made that step, it is not parsed again."""
    known = _latest.pop((row.pk, row.position), None)
    _latest.clear()
    return _STATE.validate_json(row.state) if known is None else known


@contextmanager
def _giving_way() -> Iterator[None]:
    """Other requests of the process need the interpreter after each of their queries. They get it sooner than by
    default, which is after 5 ms. The values of a step have no cycles: looking for some would take a seventh of it."""
    usual, collects = sys.getswitchinterval(), gc.isenabled()
    sys.setswitchinterval(GIVES_WAY_AFTER)
    gc.disable()
    try:
        yield
    finally:
        sys.setswitchinterval(usual)
        if collects:
            gc.enable()


def _evaluate(row: Preview, state: State, result: Result, where: Q, seconds: float) -> tuple[UUID, bool]:
    """The last decision that was evaluated, and whether none follows."""
    began, used = time.monotonic(), time.thread_time()
    draft, position, last = draft_of(row), row.position or first_id(row.since), first_id(row.until)
    while True:
        page = _page(position, last, where & draft.scope)
        concerned = {pk for pk, *names in page if draft.concerns(_target(*names))}
        result.unconcerned(len(page) - len(concerned))
        with closing(_decisions(concerned, where & draft.scope)) as decisions:
            for past in decisions:
                compare(past, draft, state, result)
        if page:
            position = UUID(page[-1][0])
            result.at = time_of(position)
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


@lru_cache(1000)
def _in_words(outcome: Outcome | None, reason: str) -> str:
    return f"{outcome} ({reason})" if reason else str(outcome)


def _forget(state: State, now: datetime) -> None:
    """The workloads of which nothing counts any more."""
    for name, history in list(state.items()):
        history.forget(now, 0)
        if not (history.differs or history.applied):
            del state[name]


@lru_cache(TARGETS)
def _target(cluster: str, namespace: str, name: str, kind: str) -> Target:
    return Target(cluster, namespace, name, Kind(kind))


def _page(position: UUID, last: UUID, where: Q) -> list[tuple[str, str, str, str, str]]:
    """The next decisions and the names of their targets, in the order of the ids, which is that of time."""
    rows = DecisionRecord.objects.filter(where, pk__gt=position, pk__lt=last).order_by("pk")
    return list(rows.values_list(Cast("pk", TextField()), "cluster", "namespace", "workload", "kind")[:PAGE])


def _decisions(found: Collection[str], where: Q) -> Generator[PastDecision]:
    """One that was older than decisions are kept may have been deleted since. A range of ids costs less than the ids,
    where most of its rows are wanted: those that fulfil `where` are. Most decisions have the same limits and rules as
    others: these are parsed once."""
    if not found:
        return
    between = Q(pk__range=(min(found), max(found)))
    rows = DecisionRecord.objects.filter(where & between if len(found) > PAGE // 2 else Q(pk__in=found))
    with closing(_streamed(rows.values())) as stream:
        for pk, limits, rules, text in stream:
            if pk in found:
                one = _STORED.validate_json(text)
                inputs = Inputs(one.now, one.facts, _limits(limits), one.signal, _rules(rules), one.proposal)
                yield PastDecision(
                    pk, inputs, one.outcome, one.reason, one.until, one.signal_id, one.action_id, one.before_write,
                    one.effect,
                )  # fmt: skip


def _streamed(rows: "QuerySet[Any, Any]") -> Generator[tuple[str, str, str, str]]:
    """PostgreSQL composes rows while the ones before them are evaluated: it waits only for room in the socket. A query
    on the connection between two rows would block for ever, with `_turn`: psycopg holds a lock of the connection until
    the last row, or `close`. It is an error here."""
    sql, parameters = rows.query.sql_with_params()
    with connection.cursor() as cursor, connection.wrap_database_errors, connection.execute_wrapper(_refuse):
        yield from cursor.cursor.stream(PAST_DECISIONS.format(rows=sql), parameters, size=SENT)


def _refuse(*_: Any) -> Never:
    raise RuntimeError("A query between streamed rows of its connection would block for ever.")
