"""Events are written beside the loop, which never waits for them."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from queue import Queue
from threading import Event
from time import monotonic
from typing import Any

import pytest

from orchestrator.k8s import metrics
from orchestrator.k8s.errors import Conflict, Forbidden, Unreached
from orchestrator.k8s.events import EventType, KubernetesEvent
from orchestrator.k8s.types import WorkloadKey
from orchestrator.publish import recorder as module
from orchestrator.publish.recorder import Recorder
from tests.orchestrator.reconciler.fake import Fake

NOTE = KubernetesEvent(
    WorkloadKey("dev", "erp"), "uid-1", EventType.NORMAL, "Scaled", "Scaled from 2 to 3.", "action-1"
)
GRACE = 0.05  # seconds


def note(about: str) -> KubernetesEvent:
    return replace(NOTE, about=about)


class Sent(list[str]):
    """What arrives at the API server: what each note is about. `answer` may raise."""

    def __init__(self) -> None:
        super().__init__()
        self.answer: Callable[[str], Any] = lambda _: None
        self.at: list[datetime] = []

    def __call__(self, told: KubernetesEvent, at: datetime) -> None:
        self.append(told.about)
        self.at.append(at)
        self.answer(told.about)


@pytest.fixture
def sent() -> Sent:
    return Sent()


@contextmanager
def recording(sent: Sent, **options: Any) -> Iterator[Recorder]:
    """Until all that was told is written."""
    fake = Fake()
    fake.events = sent
    recorder = Recorder(fake.cluster, **options)
    recorder.start()
    yield recorder
    recorder.stop()
    assert not recorder._thread.is_alive()


def dropped() -> float:
    return float(metrics.EVENTS_DROPPED._value.get())


def refuse(error: Exception) -> Callable[[str], None]:
    def answer(_: str) -> None:
        raise error

    return answer


def test_what_is_told_is_written_in_order_and_as_of_then(sent: Sent) -> None:
    before = datetime.now(UTC)
    with recording(sent) as recorder:
        recorder.tell(note("a"))
        recorder.tell(None)  # nothing to tell
        recorder.tell(note("b"))
        after = datetime.now(UTC)

    assert sent == ["a", "b"]
    assert before <= sent.at[0] <= sent.at[1] <= after


def test_the_same_news_is_told_once_whatever_its_words(sent: Sent) -> None:
    with recording(sent) as recorder:
        recorder.tell(NOTE)
        recorder.tell(replace(NOTE, message="Scaled, still."))
        recorder.tell(replace(NOTE, reason="Restarted"))

    assert sent == ["action-1", "action-1"]


def test_what_another_process_told_is_told(sent: Sent) -> None:
    sent.answer = refuse(Conflict("events erp.1 already exists", code=409))
    before = dropped()
    with recording(sent) as recorder:
        recorder.tell(NOTE)
        recorder.tell(NOTE)

    assert (sent, dropped() - before) == (["action-1"], 0)


@pytest.mark.parametrize("error", [Forbidden("no", code=403), Unreached("connection refused")])
def test_what_cannot_be_written_is_counted_and_complained_of_once_a_minute(
    sent: Sent, error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    sent.answer = refuse(error)
    before = dropped()
    with recording(sent) as recorder:
        for about in "abc":
            recorder.tell(note(about))

    assert (sent, dropped() - before) == (["a", "b", "c"], 3)
    assert caplog.messages == [f"an Event was not written, and others may follow: {error}"]


def test_what_was_not_written_is_tried_again_when_it_is_told_again(sent: Sent) -> None:
    answers = iter([Unreached("connection refused"), None])

    def answer(_: str) -> None:
        if error := next(answers):
            raise error

    sent.answer = answer
    with recording(sent) as recorder:
        for _ in range(3):
            recorder.tell(NOTE)

    assert sent == ["action-1", "action-1"]


def test_who_tells_never_waits_and_what_has_no_room_is_counted(sent: Sent, caplog: pytest.LogCaptureFixture) -> None:
    began, go, before = Queue[str](), Event(), dropped()

    def answer(about: str) -> None:
        began.put(about)
        assert go.wait(5)

    sent.answer = answer
    with recording(sent, capacity=2) as recorder:
        recorder.tell(note("a"))
        assert began.get(timeout=5) == "a"  # the API server does not answer
        for about in "bcde":
            recorder.tell(note(about))
        assert dropped() - before == 2
        go.set()

    assert sent == ["a", "b", "c"]
    assert caplog.messages == ["an Event was not written, and others may follow: too many wait to be written"]


@pytest.mark.parametrize("waiting", ["", "b", "bc"])
def test_it_ends_in_bounded_time_though_the_api_server_does_not_answer(sent: Sent, waiting: str) -> None:
    began, go, fake = Event(), Event(), Fake()

    def answer(_: str) -> None:
        began.set()
        assert go.wait(5)

    sent.answer, fake.events = answer, sent
    recorder = Recorder(fake.cluster, capacity=2)
    recorder.start()
    recorder.tell(note("a"))
    assert began.wait(5)
    for about in waiting:
        recorder.tell(note(about))

    started = monotonic()
    recorder.stop(GRACE)
    assert monotonic() - started < 1

    go.set()
    recorder.stop()


def test_only_the_latest_names_are_remembered(sent: Sent, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "REMEMBERED", 2)
    with recording(sent) as recorder:
        for about in "abacab":
            recorder.tell(note(about))

    assert sent == ["a", "b", "c", "a", "b"]
