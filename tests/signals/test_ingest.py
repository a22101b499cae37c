"""Observations in, episodes out: one process at a time."""

import random
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any
from uuid import UUID

import psycopg
import pytest
from django.db import connection, transaction
from django.db.models.functions import Now
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from hypothesis import given, settings
from hypothesis import strategies as st

from signals import actors, transitions
from signals.ingest import Receipt, ingest
from signals.lib.notifications import CHANNEL, connect, parse
from signals.models import LastReport, Problem, Signal, SignalState, Window
from signals.models import Observation as StoredObservation
from signals.types import Kind, Observation, Source, Target
from tests.kit.signals import wait
from tests.kit.web import heard
from tests.signals.windows import KNOWN, Judgement, Report, judge

pytestmark = pytest.mark.django_db


def observed(window: str, firing: bool = True, service: str = "erp-simulator", **fields: Any) -> Observation:
    target = Target("default", "smartops-dev", service)
    plain = Observation(Source.ANOMALY, target, "resource", window, firing, {"windowId": window}, score=0.9)
    return replace(plain, **fields)


def post(*observations: Observation) -> list[Receipt]:
    return ingest(observations, actors.token("agent"))


def row(receipt: Receipt) -> Signal:
    return Signal.objects.get(pk=receipt.signal_id)


def everything() -> tuple[list[Any], list[Any]]:
    return list(Signal.objects.order_by("id").values()), list(StoredObservation.objects.order_by("id").values())


def test_workloads_of_two_kinds_with_one_name_have_signals_of_their_own() -> None:
    target = Target("default", "smartops-dev", "erp-simulator", Kind.STATEFUL_SET)

    receipts = post(observed("w1"), observed("w1", target=target))
    post(observed("w2", firing=False))

    deployment, stateful_set = map(row, receipts)
    assert (deployment.kind, stateful_set.kind) == ("Deployment", "StatefulSet")
    assert str(stateful_set) == "anomaly resource of StatefulSet smartops-dev/erp-simulator"
    assert stateful_set.target == target
    assert (deployment.state, stateful_set.state) == ("resolved", "pending")


def test_a_first_observation_opens_a_signal() -> None:
    [receipt] = post(observed("w1", payload={"cpu": 96.3}, probability=0.5, confidence=0.25))

    signal = row(receipt)
    assert Problem.objects.get().signal_id == signal.pk
    assert receipt == Receipt(str(signal.pk), "pending", duplicate=False)
    assert (signal.source, signal.symptom, str(signal.target)) == ("anomaly", "resource", "smartops-dev/erp-simulator")
    assert (signal.score, signal.probability, signal.confidence) == (0.9, 0.5, 0.25)
    assert (signal.count, signal.payload, signal.closed_at, signal.resolved_at) == (1, {"cpu": 96.3}, None, None)
    stored = signal.observations.get()
    assert (stored.window_id, stored.firing, stored.payload, stored.posted_by) == (
        "w1",
        True,
        {"cpu": 96.3},
        "token:agent",
    )


def test_a_repeat_raises_the_counter_and_the_last_word_counts() -> None:
    [first] = post(observed("w1"))
    seen = row(first)
    [second] = post(observed("w2", score=0.99, payload={"cpu": 99}))

    assert second == first
    signal = Signal.objects.get()
    assert (signal.count, signal.score, signal.payload) == (2, 0.99, {"cpu": 99})
    assert signal.last_seen_at > seen.last_seen_at
    assert signal.first_seen_at == seen.first_seen_at


def test_a_repeat_does_not_end_a_deferral() -> None:
    [receipt] = post(observed("w1"))
    transitions.store([transitions.defer(row(receipt), "CooldownActive", "Wait.", timezone.now() + timedelta(hours=1))])
    before = row(receipt)
    post(observed("w2"))

    assert (row(receipt).not_before, row(receipt).reason) == (before.not_before, "CooldownActive")


@pytest.mark.parametrize("firing", [True, False])
def test_an_equal_post_changes_nothing_and_is_answered_alike(firing: bool) -> None:
    [first] = post(observed("w1", firing))
    before = everything()
    [again] = post(observed("w1", firing, score=0.1, payload={"other": 1}))

    assert again == replace(first, duplicate=True)
    assert everything() == before


def test_of_equal_posts_in_one_batch_the_first_counts() -> None:
    first, again = post(observed("w1", score=0.7), observed("w1", score=0.8))

    assert (first.duplicate, again) == (False, replace(first, duplicate=True))
    assert (row(first).count, row(first).score) == (1, 0.7)


def test_a_duplicate_within_a_batch_does_not_have_the_last_word() -> None:
    first, *_ = post(observed("w1", score=0.1), observed("w2", score=0.2), observed("w1", score=0.1))

    assert (row(first).count, row(first).score) == (2, 0.2)


def test_a_repeat_after_an_end_that_another_window_reported_opens_no_signal() -> None:
    [first] = post(observed("w1"))
    post(observed("w2", firing=False))
    [again] = post(observed("w1"))

    assert again == Receipt(first.signal_id, "resolved", duplicate=True)
    assert Signal.objects.count() == 1


def test_a_window_that_begins_again_after_its_end_opens_another_signal() -> None:
    [first], [end], [second], [repeat], [second_end] = (
        post(observed("w1", firing)) for firing in (True, False, True, True, False)
    )

    assert first.signal_id == end.signal_id != second.signal_id == second_end.signal_id
    assert (second.state, second.duplicate, second_end.state, second_end.duplicate) == (
        "pending",
        False,
        "resolved",
        False,
    )
    assert repeat == replace(second, duplicate=True)


@pytest.mark.parametrize("admitted", [False, True])
def test_a_beginning_after_its_end_does_not_act(admitted: bool) -> None:
    """The end ends what another window has begun, if there is anything."""
    if admitted:
        transitions.store([transitions.admit(row(*post(observed("w0"))))])
    [end] = post(observed("w1", firing=False))
    before = list(Signal.objects.values())
    [late] = post(observed("w1"))
    [repeat] = post(observed("w1"))

    assert (late.signal_id, late.state, late.duplicate, late.late) == (end.signal_id, end.state, False, True)
    assert bool(end.signal_id) is admitted
    assert repeat == replace(late, duplicate=True, late=False)
    assert list(Signal.objects.values()) == before
    assert StoredObservation.objects.filter(late=True).count() == admitted


def test_resolving_ends_what_is_pending() -> None:
    [first] = post(observed("w1"))
    [end] = post(observed("w2", firing=False))

    assert end == Receipt(first.signal_id, "resolved", duplicate=False)
    signal = Signal.objects.get()
    assert (signal.state, signal.reason, signal.count) == ("resolved", "SignalResolved", 1)
    assert signal.closed_at == signal.resolved_at is not None


def test_resolving_leaves_an_admitted_signal_to_the_reconciler() -> None:
    [first] = post(observed("w1"))
    transitions.store([transitions.admit(row(first))])
    [end] = post(observed("w2", firing=False))
    resolved_at = row(first).resolved_at
    [again] = post(observed("w3", firing=False))

    assert end == again == Receipt(first.signal_id, "admitted", duplicate=False)
    assert row(first).closed_at is None
    assert row(first).resolved_at == resolved_at is not None


def test_a_trouble_that_is_back_before_its_action_ended_is_not_over() -> None:
    [first] = post(observed("w1"))
    transitions.store([transitions.admit(row(first))])
    post(observed("w2", firing=False))
    [back] = post(observed("w3"))

    assert back == Receipt(first.signal_id, "admitted", duplicate=False)
    assert not row(first).facts().resolved


def test_a_healthy_window_with_nothing_open_is_counted() -> None:
    receipts = [post(observed(window, firing=False))[0] for window in ("w1", "w1", "w2")]

    assert receipts == [Receipt("", "resolved", duplicate) for duplicate in (False, True, False)]
    assert everything() == ([], [])
    problem = Problem.objects.get()
    assert (problem.healthy_count, problem.healthy_by) == (2, "token:agent")
    assert problem.healthy_at is not None
    assert (problem.firing_count, problem.firing_at, problem.signal_id) == (0, None, None)


@pytest.mark.parametrize("end", ["deny", "ignore", "fail"])
def test_what_comes_after_the_end_opens_another_signal(end: str) -> None:
    [first] = post(observed("w1"))
    transitions.store([getattr(transitions, end)(row(first), "TargetNotFound", "Gone.")])
    [second] = post(observed("w2"))

    assert second.signal_id != first.signal_id
    assert second.state == "pending"


def test_a_trouble_that_ends_and_begins_again_within_one_batch_keeps_its_order() -> None:
    receipts = post(observed("w1"), observed("w2"), observed("w3", firing=False), observed("w4"), observed("w1"))

    first, second, end, anew, repeated = receipts
    assert [r.duplicate for r in receipts] == [False, False, False, False, True]
    assert first.signal_id == second.signal_id == end.signal_id == repeated.signal_id
    assert anew.signal_id != first.signal_id
    assert (row(first).state, row(first).count) == ("resolved", 2)
    assert (row(anew).state, row(anew).count) == ("pending", 1)


def test_one_end_within_a_batch_leaves_the_other_troubles_alone() -> None:
    a, b, _, c = post(
        observed("w1", service="a"),
        observed("w1", service="b"),
        observed("w2", service="a", firing=False),
        observed("w2", service="b"),
    )

    assert (row(a).state, row(b).state, row(b).count) == ("resolved", "pending", 2)
    assert b == c


def test_nothing_is_stored_of_a_batch_that_cannot_be_stored_whole() -> None:
    too_long = observed("w" * 300)
    with pytest.raises(Exception, match="value too long"), transaction.atomic():
        post(observed("w1"), too_long)

    assert everything() == ([], [])


def test_a_batch_takes_a_handful_of_statements() -> None:
    with CaptureQueriesContext(connection) as queries:
        post(*(observed(f"w{n}", service=f"s{n % 40}", firing=n % 40 > 5) for n in range(1000)))

    assert len([q for q in queries if "SAVEPOINT" not in q["sql"]]) <= 3  # lock, fire, resolve


def test_nothing_is_nothing() -> None:
    assert post() == []
    assert everything() == ([], [])


@pytest.mark.django_db(transaction=True)
def test_a_batch_notifies_of_its_signals_and_duplicates_of_none() -> None:
    batch = [observed(f"w{n}", service=f"s{n % 7}", firing=n % 3 > 0) for n in range(100)]
    with connect() as session:
        session.execute(f"LISTEN {CHANNEL}")
        post(*batch)
        signals = {str(pk) for pk in Signal.objects.values_list("pk", flat=True)}
        assert notified(session) == signals
        post(*batch)
        assert notified(session) == set()
        post(observed("another"))
        assert notified(session) == {str(Signal.objects.latest("pk").pk)}


def notified(session: psycopg.Connection[Any]) -> set[str]:
    """Of the commits so far."""
    rows = [row for payload in heard(session) for row in parse(payload)]
    assert {model for model, _ in rows} <= {"signal"}
    return {pk for _, pk in rows}


@dataclass
class Episode:
    id: str
    began: float = 0
    state: str = "pending"
    resolved: bool = False
    closed: bool = False
    score: float | None = None
    seen: Counter[bool] = field(default_factory=Counter)

    @property
    def count(self) -> int:
        return self.seen[True]


class Episodes:
    """What must come of observations, one after the other."""

    def __init__(self) -> None:
        self.now = 0.0
        self.all: dict[str, Episode] = {}
        self.open: dict[str, Episode] = {}
        self.windows: dict[tuple[str, str], list[Report]] = defaultdict(list)
        self.forgotten: Counter[tuple[str, str]] = Counter()  # how many of a window's reports are not known any more
        self.of: dict[tuple[str, str, int], Episode | None] = {}
        self.keys: dict[UUID, tuple[str, str]] = {}
        self.heard: Counter[tuple[str, bool]] = Counter()

    def post(self, batch: Iterable[Observation], receipts: list[Receipt]) -> None:
        ended: dict[str, Episode] = {}  # what the statement ended: further healthy windows may join it
        polarity: dict[str, bool] = {}  # another one of a problem begins another statement
        for one, receipt in zip(batch, receipts, strict=True):
            if polarity.setdefault(one.fingerprint, one.firing) != one.firing:
                polarity, ended = {one.fingerprint: one.firing}, {}
            reports = self.windows[one.fingerprint, one.window_id]
            self.forget(one, reports, ended.get(one.fingerprint))
            self.keys[UUID(one.window_key)] = (one.fingerprint, one.window_id)
            judged = self.judge(one, reports, self.open.get(one.fingerprint))
            if not one.firing and not receipt.duplicate:  # the ends of a statement are judged by what was open before
                judged = self.judge(one, reports, self.open.get(one.fingerprint) or ended.get(one.fingerprint))
            assert (receipt.duplicate, receipt.late) == (judged is Judgement.REPEAT, judged is Judgement.LATE)
            if judged is Judgement.NEW:
                known = self.fire(one, receipt) if one.firing else self.resolve(one, receipt, ended)
                if known:
                    known.seen[one.firing] += 1
            else:
                known = self.of[one.fingerprint, one.window_id, len(reports)]
            if judged is not Judgement.REPEAT:
                reports.append(Report(one.firing, self.now, judged is Judgement.LATE))
                self.of[one.fingerprint, one.window_id, len(reports)] = known
                self.heard[one.fingerprint, one.firing] += 1
            assert receipt.signal_id == (known.id if known else "")

    def judge(self, one: Observation, reports: list[Report], opened: Episode | None) -> Judgement:
        episode = self.of.get((one.fingerprint, one.window_id, len(reports)))
        return judge(
            reports[self.forgotten[one.fingerprint, one.window_id] :],
            one.firing,
            self.now,
            is_open=episode is not None and not episode.closed,
            opened_at=None if opened is None else opened.began,
        )

    def forget(self, one: Observation, reports: list[Report], ended: Episode | None) -> None:
        """What is a day old, unless its signal was open when the statement began."""
        episode = self.of.get((one.fingerprint, one.window_id, len(reports)))
        was_open = episode is not None and (not episode.closed or episode is ended)
        if reports and self.now - reports[-1].at >= KNOWN and not was_open:
            self.forgotten[one.fingerprint, one.window_id] = len(reports)

    def wait(self, seconds: float) -> None:
        self.now += seconds
        wait(seconds)

    def fire(self, one: Observation, receipt: Receipt) -> Episode:
        episode = self.open.get(one.fingerprint) or self.new(one, receipt)
        episode.resolved, episode.score = False, one.score
        assert receipt.state == episode.state
        return episode

    def resolve(self, one: Observation, receipt: Receipt, ended: dict[str, Episode]) -> Episode | None:
        episode = self.open.get(one.fingerprint)
        if episode is None:
            joined = ended.get(one.fingerprint)
            return joined if joined and joined.id == receipt.signal_id else None
        episode.resolved = True
        if episode.state == "pending":
            self.end(one.fingerprint, "resolved")
        assert receipt.state == episode.state
        ended[one.fingerprint] = episode
        return episode

    def new(self, one: Observation, receipt: Receipt) -> Episode:
        assert receipt.signal_id not in self.all
        self.all[receipt.signal_id] = self.open[one.fingerprint] = Episode(receipt.signal_id, self.now)
        return self.open[one.fingerprint]

    def end(self, fingerprint: str, state: str) -> None:
        episode = self.open.pop(fingerprint)
        episode.state, episode.closed = state, True

    def check(self) -> None:
        rows = {
            str(s.pk): (s.state, s.resolved_at is not None, s.closed_at is not None, s.count, s.score)
            for s in Signal.objects.all()
        }
        assert rows == {e.id: (e.state, e.resolved, e.closed, e.count, e.score) for e in self.all.values()}
        stored = StoredObservation.objects.values_list("signal_id", "window_id", "firing", "late")
        assert Counter((str(signal), *rest) for signal, *rest in stored) == Counter(
            (episode.id, w, report.firing, report.late)
            for (f, w), reports in self.windows.items()
            for n, report in enumerate(reports, 1)
            if (episode := self.of[f, w, n])
        )
        begun = (LastReport.BEGINNING, LastReport.LATE_BEGINNING)
        assert {
            self.keys[w.key]: (w.signal_id and str(w.signal_id), w.last in begun, w.last == LastReport.LATE_BEGINNING)
            for w in Window.objects.all()
        } == {
            (f, w): ((episode := self.of[f, w, len(reports)]) and episode.id, reports[-1].firing, reports[-1].late)
            for (f, w), reports in self.windows.items()
        }
        heard = {
            (p.fingerprint, firing): count
            for p in Problem.objects.all()
            for firing, count in ((True, p.firing_count), (False, p.healthy_count))
            if count
        }
        assert heard == dict(self.heard)


POSTS = st.lists(
    st.builds(
        observed,
        st.sampled_from(["w1", "w2", "w3", "w4", "w5", "w6"]),
        st.booleans(),
        st.sampled_from("abc"),
        score=st.none() | st.floats(0, 1),
    ),
    max_size=12,
)
MOVES = st.tuples(st.sampled_from(["admit", "deny", "ignore", "fail", "finish"]), st.sampled_from("abc"))
WAITS = st.sampled_from([1.0, 50.0, 61.0, 3600.0, 90_000.0])


def move(episodes: Episodes, how: str, fingerprint: str) -> None:
    """What a reconciler does to the open signal, where it may."""
    episode = episodes.open.get(fingerprint)
    if episode is None or (episode.state == "admitted") != (how == "finish"):
        return
    signal = Signal.objects.get(pk=episode.id)
    match how:
        case "admit":
            transitions.store([transitions.admit(signal)])
            episode.state = "admitted"
        case "finish":
            Signal.objects.filter(pk=episode.id).update(closed_at=Now())
            episodes.end(fingerprint, "admitted")
        case _:
            transitions.store([getattr(transitions, how)(signal, "Reason", "Because.")])
            episodes.end(fingerprint, signal.state)


@settings(max_examples=60)
@given(st.lists(POSTS | MOVES | WAITS, max_size=12))
def test_episodes_are_those_of_the_model(steps: list[list[Observation] | tuple[str, str] | float]) -> None:
    with transaction.atomic():
        episodes = Episodes()
        for step in steps:
            if isinstance(step, float):
                episodes.wait(step)
            elif isinstance(step, tuple):
                move(episodes, step[0], observed("", service=step[1]).fingerprint)
            else:
                episodes.post(step, post(*step))
            episodes.check()
        transaction.set_rollback(True)


def test_a_thousand_mixed_observations_are_those_of_the_model() -> None:
    chance = random.Random(7)  # noqa: S311
    episodes = Episodes()
    for _ in range(2):
        batch = [
            observed(f"w{chance.randrange(60)}", chance.random() < 0.8, f"s{chance.randrange(30)}") for _ in range(1000)
        ]
        episodes.post(batch, post(*batch))
        for service in range(0, 30, 3):
            fingerprint = observed("", service=f"s{service}").fingerprint
            move(episodes, chance.choice(["admit", "deny"]), fingerprint)
    episodes.check()
    assert {e.state for e in episodes.all.values()} >= {"pending", "resolved"}
    assert SignalState.ADMITTED in {e.state for e in episodes.all.values()}
