"""Agents post at once, each on a connection of its own."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from random import Random

import pytest
from django.db.models.functions import Now

from signals.ingest import Receipt
from signals.models import Observation as StoredObservation
from signals.models import Problem, SettingsVersion, Signal, SignalState
from signals.types import Observation
from tests.kit.signals import anomaly, post
from tests.kit.threads import at_once
from tests.kit.world import only_signal
from tests.signals.windows import Judgement, Report, judge

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.mark.parametrize("agents", [2, 8])
def test_equal_posts_at_once_are_one_observation_of_one_signal(agents: int) -> None:
    for number in range(20):
        said = anomaly(f"erp-{number}")

        receipts = [receipt for [receipt] in at_once([partial(post, said)] * agents)]

        assert sorted(receipt.duplicate for receipt in receipts) == [False] + [True] * (agents - 1)
        assert len({receipt.signal_id for receipt in receipts}) == 1
    assert set(Signal.objects.values_list("count", flat=True)) == {1}
    assert StoredObservation.objects.count() == Signal.objects.count() == 20


def test_windows_of_one_problem_at_once_are_counted_on_one_open_signal() -> None:
    posts = [[anomaly("erp-simulator") for _ in range(5)] for _ in range(8)]

    at_once([partial(_post_each, windows) for windows in posts])

    assert only_signal().count == 40
    assert StoredObservation.objects.count() == 40


@pytest.mark.parametrize(("score", "opened"), [(0.6, 0), (0.9, 1)])
def test_reports_at_once_of_a_problem_that_a_decision_holds_for_are_all_counted(score: float, opened: int) -> None:
    """On the closed signal; or one of them opens another, and the others are counted on that."""
    within = {"score": [None, 0.8], "probability": None, "confidence": None}
    settings = SettingsVersion.objects.values_list("number", flat=True).first() or 0
    [held] = post(anomaly("erp-simulator", score=0.6))
    Signal.objects.update(state="ignored", closed_at=Now(), holds={"settings": settings, "within": within})
    posts = [[anomaly("erp-simulator", score=score) for _ in range(5)] for _ in range(8)]

    at_once([partial(_post_each, windows) for windows in posts])

    assert Signal.objects.get(pk=held.signal_id).count == (1 if opened else 41)
    assert list(Signal.objects.filter(closed_at=None).values_list("count", flat=True)) == [40] * opened
    assert StoredObservation.objects.count() == 1 + 40 * opened
    assert Problem.objects.get().firing_count == 41


def test_a_beginning_and_its_end_at_once_leave_nothing_open() -> None:
    """Whichever is stored first: the end ends it, or the beginning is late."""
    for number in range(60):
        begin, end = (anomaly(f"erp-{number}", firing=firing, window_id="w") for firing in (True, False))
        [[begun], [ended]] = at_once([partial(post, begin), partial(post, end)])

        assert begun.signal_id == ended.signal_id
        assert (begun.signal_id == "") is begun.late
    assert not Signal.objects.filter(closed_at=None).exists()


def test_equal_batches_at_once_are_stored_once() -> None:
    batch = [anomaly(f"erp-{number % 10}") for number in range(100)]

    answers = at_once([partial(post, *batch)] * 4)

    fresh = [[not receipt.duplicate for receipt in receipts] for receipts in answers]
    assert [sum(of_one_window) for of_one_window in zip(*fresh, strict=True)] == [1] * 100
    assert StoredObservation.objects.count() == 100
    assert sorted(Signal.objects.values_list("count", flat=True)) == [10] * 10


def test_batches_that_lock_in_opposite_order_all_succeed() -> None:
    """Each ends one problem before it reports the other: both lock all their problems first, in one order."""

    def batch(first: str, second: str) -> list[Observation]:
        began = [anomaly(first), anomaly(first, firing=False), anomaly(first)]
        return [*began, anomaly(second), anomaly(second, firing=False), anomaly(second)]

    for _ in range(2):
        answers = at_once([partial(post, *batch("a", "b")), partial(post, *batch("b", "a"))])

        assert all(not receipt.duplicate for receipts in answers for receipt in receipts)
    assert StoredObservation.objects.count() == 24
    assert Signal.objects.filter(closed_at=None).count() == 2


def test_opposite_sorted_batches_of_many_problems_all_succeed() -> None:
    for firing in (True, False):
        batch = [anomaly(f"erp-{number}", firing=firing) for number in range(200)]
        again = [anomaly(f"erp-{number}", firing=firing) for number in range(200)]

        at_once([partial(post, *batch), partial(post, *reversed(again))])

    assert not Signal.objects.filter(closed_at=None).exists()
    assert Signal.objects.filter(count=2, state=SignalState.RESOLVED).count() == 200


@pytest.mark.parametrize("seed", range(12))
def test_a_storm_of_firing_and_resolving_is_explained_by_some_serial_order(seed: int) -> None:
    random = Random(seed)  # noqa: S311
    windows = [f"w{number}" for number in range(6)]

    def posts() -> list[list[Observation]]:
        return [
            [
                anomaly("erp-simulator", window_id=random.choice(windows), firing=random.random() < 0.6)
                for _ in range(random.choice([1, 1, 1, 2, 3]))
            ]
            for _ in range(6)
        ]

    batches = [posts() for _ in range(4)]
    answers = at_once([partial(_post_each_batch, mine) for mine in batches])

    histories = [list(_steps(mine, theirs)) for mine, theirs in zip(batches, answers, strict=True)]
    assert _explained(histories), "no serial order of the posts gives these answers"
    stored = StoredObservation.objects.all()
    assert Signal.objects.filter(closed_at=None).count() <= 1
    for signal in Signal.objects.all():
        reports = [one for one in stored if one.signal_id == signal.pk and not one.late]
        assert signal.count == sum(one.firing for one in reports)
        assert (signal.closed_at is not None) == any(not one.firing for one in reports)


def _post_each(observations: Sequence[Observation]) -> list[Receipt]:
    return [receipt for observation in observations for receipt in post(observation)]


def _post_each_batch(batches: Sequence[Sequence[Observation]]) -> list[list[Receipt]]:
    return [post(*batch) for batch in batches]


@dataclass(frozen=True)
class Said:
    window: str
    signal: str
    duplicate: bool
    late: bool


@dataclass(frozen=True)
class Step:
    """What one agent said in one breath, all of one polarity, and what it was answered."""

    firing: bool
    said: tuple[Said, ...]


Reports = tuple[tuple[Report, str], ...]  # each with its signal


@dataclass(frozen=True)
class Episode:
    """The serial world: which signal is open, and the reports of each window. An end has none if nothing is open."""

    open: str = ""
    windows: frozenset[tuple[str, Reports]] = frozenset()

    def after(self, step: Step) -> "Episode | None":
        """None: this step, done now, would have been answered otherwise."""
        windows = dict(self.windows)
        known = {""} | {signal for reports in windows.values() for _, signal in reports}
        fresh = set()
        for one in step.said:
            reports = windows.get(one.window, ())
            last = reports[-1][1] if reports else ""
            opened = 0.0 if self.open else None
            judged = judge(
                [report for report, _ in reports], step.firing, 0.0, is_open=last == self.open != "", opened_at=opened
            )
            if (one.duplicate, one.late) != (judged is Judgement.REPEAT, judged is Judgement.LATE):
                return None
            if judged is not Judgement.NEW and one.signal != last:
                return None
            if judged is not Judgement.REPEAT:
                windows[one.window] = (*reports, (Report(step.firing, 0.0, judged is Judgement.LATE), one.signal))
            if judged is Judgement.NEW:
                fresh.add(one.signal)
        then = frozenset(windows.items())
        if not fresh:
            return Episode(self.open, then)
        if len(fresh) > 1 or not (fresh == {self.open} if self.open or not step.firing else fresh.isdisjoint(known)):
            return None
        return Episode(fresh.pop() if step.firing else "", then)


def _steps(batches: Sequence[Sequence[Observation]], answers: Sequence[Sequence[Receipt]]) -> Iterator[Step]:
    """A statement finds its repeats first, each by itself. What is new is stored as soon as it holds its locks."""
    for batch, receipts in zip(batches, answers, strict=True):
        for firing, pairs in groupby(zip(batch, receipts, strict=True), key=lambda pair: pair[0].firing):
            said, fresh = [Said(o.window_id, r.signal_id, r.duplicate, r.late) for o, r in pairs], list[Said]()
            for one in said:
                if one.duplicate and one.window not in {other.window for other in fresh}:
                    yield Step(firing, (one,))
                else:
                    fresh.append(one)
            if fresh:
                yield Step(firing, tuple(fresh))


def _explained(histories: Sequence[Sequence[Step]]) -> bool:
    """Whether the agents' histories can be interleaved so that a serial world gives the same answers."""
    first = (Episode(), (0,) * len(histories))
    waiting, known = [first], {first}
    while waiting:
        episode, done = waiting.pop()
        if all(count == len(history) for count, history in zip(done, histories, strict=True)):
            return True
        for agent, history in enumerate(histories):
            if done[agent] < len(history) and (then := episode.after(history[done[agent]])) is not None:
                following = (then, (*done[:agent], done[agent] + 1, *done[agent + 1 :]))
                if following not in known:
                    known.add(following)
                    waiting.append(following)
    return False
