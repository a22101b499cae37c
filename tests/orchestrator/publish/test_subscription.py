"""A publisher gets each entry at least once: through errors, restarts and takeovers, and at its own pace."""

from collections.abc import Callable
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
from django.db import OperationalError
from django.db.models import Max
from django.db.models.functions import Now

from guardrails.types import Outcome
from orchestrator.models import AuditEvent, DecisionRecord, PublisherCursor, Workload
from orchestrator.publish import timeline
from orchestrator.publish.cursor import RENEW
from orchestrator.publish.subscription import LAG, PAUSE, TAKEOVER, Subscription
from orchestrator.publish.types import Dropped, Entry, Ignored, Published, Retry
from orchestrator.publish.types import Outcome as Answer
from signals.reasons import Reason
from tests.kit.history import rewritable
from tests.orchestrator.publish import rows
from tests.orchestrator.publish.rows import Notebook, note
from tests.orchestrator.publish.test_pace import Clock

pytestmark = pytest.mark.django_db(transaction=True)


class Reader:
    """One process with one publisher, whose time passes as the test says."""

    def __init__(self, notebook: Notebook, process: str = "a process") -> None:
        self.clock, self.notebook = Clock(), notebook
        self.subscription = Subscription("default", notebook, process, self.clock, jitter=lambda: 1.0)
        self.subscription.begin()

    def run(self, seconds: float = 1.0) -> list[str]:
        """What is given to the publisher within the time."""
        over, before = self.clock.now + seconds, len(self.notebook.entries)
        while self.clock.now < over:
            self.clock.now += max(self.subscription.turn(), 0.001)
        return self.notebook.notes[before:]

    @property
    def lag(self) -> float:
        return float(LAG.labels(self.notebook.name)._value.get())


def propose(*names: str) -> list[str]:
    """Entries, and what a notebook says of them."""
    for name in names:
        rows.propose(name)
    return [f"{name} new→pending" for name in names]


def pass_hours(hours: float) -> None:
    """As if the entries so far were so old."""
    with rewritable(AuditEvent):
        AuditEvent.objects.update(at=Now() - timedelta(hours=hours))


def in_turn(answers: list[Answer]) -> Callable[[Entry], Answer]:
    return lambda _: answers.pop(0)


def lease_ends() -> None:
    PublisherCursor.objects.update(lease_until=Now() - timedelta(seconds=1))


def cursor() -> int:
    return PublisherCursor.objects.get().xid


def newest() -> int:
    """The transaction of the last entry."""
    of_actions = AuditEvent.objects.aggregate(xid=Max("xid"))["xid"]
    of_decisions = DecisionRecord.objects.aggregate(xid=Max("xid"))["xid"]
    return max(of_actions or 0, of_decisions or 0)


def test_a_new_publisher_begins_with_what_is_recorded_from_then_on() -> None:
    propose("before")
    reader = Reader(Notebook())
    later = propose("after")
    rows.decide(Outcome.DENY, Reason.FROZEN, signal=rows.a_signal())

    assert reader.run() == [*later, "deny Frozen"]
    assert reader.run() == []
    assert cursor() == newest()


def test_a_restarted_publisher_continues_after_the_last_entry() -> None:
    first = Reader(Notebook())
    assert first.run() == []
    assert propose("a") == first.run()
    first.subscription.end()
    while_it_was_away = propose("b", "c")

    assert Reader(Notebook(), "its successor").run() == while_it_was_away


def test_a_publisher_is_up_to_date_as_soon_as_it_has_delivered_what_is_recorded() -> None:
    reader = Reader(Notebook())
    reader.run()
    entries = propose("a", "b")

    reader.subscription.turn()

    assert reader.notebook.notes == entries
    assert reader.subscription.up_to_date, "a stop would wait for nothing"


def test_a_publisher_is_not_up_to_date_before_it_has_read_what_was_recorded_during_a_wait() -> None:
    answers: list[Answer] = [Retry("connection refused"), Published(), Published()]
    reader = Reader(Notebook(answer=in_turn(answers)))
    reader.run()
    first = propose("a")

    reader.clock.now += reader.subscription.turn()
    assert not reader.subscription.up_to_date, "a stop would leave the entry to the next process"
    second = propose("b")
    assert reader.subscription.turn() == 0.0
    assert not reader.subscription.up_to_date, "a stop would leave the second entry to the next process"
    reader.subscription.turn()

    assert reader.notebook.notes[1:] == [*first, *second]
    assert reader.subscription.up_to_date


def test_publishers_do_not_share_a_cursor() -> None:
    one, other = Reader(Notebook("one")), Reader(Notebook("other"))
    entries = propose("a", "b")

    assert one.run() == other.run() == entries


def test_one_process_at_a_time_publishes_and_another_takes_over_when_its_lease_ends() -> None:
    first, second = Reader(Notebook(), "the first"), Reader(Notebook(), "the second")
    assert first.run() == second.run() == []
    entries = propose("a")
    assert second.run(3 * TAKEOVER) == []

    lease_ends()  # the first was killed before it read
    assert second.run(TAKEOVER) == entries
    first.clock.now += RENEW  # it was only paused
    assert first.run(3 * TAKEOVER) == []


def test_a_process_that_lost_its_lease_leaves_the_cursor_alone() -> None:
    first, second = Reader(Notebook(), "the first"), Reader(Notebook(), "the second")
    assert first.run() == second.run() == []
    entries = propose("a", "b")

    def taken_over(_: Entry) -> Answer:
        lease_ends()
        assert second.run(2 * TAKEOVER) in (entries, [])
        return Published()

    first.notebook.answer = taken_over
    first.run()
    assert second.notebook.notes == entries
    assert (PublisherCursor.objects.get().leased_by, cursor()) == ("the second", newest())


def test_the_lease_is_renewed_though_nothing_happens() -> None:
    reader = Reader(Notebook())
    reader.run()
    lease_ends()
    reader.run(RENEW + 1)

    assert PublisherCursor.objects.filter(lease_until__gt=Now()).exists()


def test_a_temporary_error_is_retried_and_moves_no_cursor() -> None:
    answers: list[Answer] = [Published(), Retry("503"), Retry("503"), Published(), Published()]
    reader = Reader(Notebook(answer=in_turn(answers)))
    a, b, c = propose("a", "b", "c")

    assert reader.run(0.3) == [a, b]
    assert cursor() < newest()
    assert reader.run(5.0) == [b, b, c]
    assert reader.notebook.drops == 0


def test_a_process_killed_between_two_entries_leaves_both_to_its_successor() -> None:
    class Killed(BaseException):
        pass

    def die_at_b(entry: Entry) -> Answer:
        if note(entry).startswith("b"):
            raise Killed
        return Published()

    reader = Reader(Notebook(answer=die_at_b))
    entries = propose("a", "b", "c")
    with pytest.raises(Killed):
        reader.run()

    lease_ends()
    assert Reader(Notebook(), "its successor").run(2 * TAKEOVER) == entries


def test_the_time_that_a_receiver_asks_for_is_kept() -> None:
    answers: list[Answer] = [Retry("429", after=7.0), Published()]
    reader = Reader(Notebook(answer=in_turn(answers)))
    entries = propose("a")

    assert reader.run(6.9) == entries
    assert reader.run(1.0) == entries


def test_attempts_become_rarer_and_the_lease_is_kept_all_the_while() -> None:
    reader = Reader(Notebook(answer=lambda _: Retry("connection refused"), retry_for=3000.0))
    propose("a")

    assert len(reader.run(60.0)) in (7, 8)
    lease_ends()
    reader.run(RENEW + 1)
    assert PublisherCursor.objects.filter(lease_until__gt=Now(), leased_by="a process").exists()
    assert len(reader.run(600.0)) == 10


def test_an_entry_that_cannot_be_sent_for_too_long_does_not_block_the_others(caplog: pytest.LogCaptureFixture) -> None:
    def answer(entry: Entry) -> Answer:
        return Retry("500 of a webhook") if note(entry).startswith("a") else Published()

    reader = Reader(Notebook(answer=answer, retry_for=100.0))
    *_, b = propose("a", "b")

    assert reader.run(200.0)[-1] == b
    assert reader.notebook.drops == 1
    assert cursor() == newest()
    assert "publisher notebook: an entry was dropped: 500 of a webhook (logged once a minute)" in caplog.messages


def test_a_permanent_error_is_counted_and_logged_once_a_minute(caplog: pytest.LogCaptureFixture) -> None:
    reader = Reader(Notebook(answer=lambda _: Dropped("forbidden")))
    entries = propose("a", "b", "c")

    assert reader.run() == entries
    assert reader.notebook.drops == 3
    assert caplog.messages == ["publisher notebook: an entry was dropped: forbidden (logged once a minute)"]
    assert cursor() == newest()


def test_an_entry_that_the_publisher_fails_with_is_dropped(caplog: pytest.LogCaptureFixture) -> None:
    def answer(entry: Entry) -> Answer:
        if note(entry).startswith("a"):
            raise KeyError("replicas")
        return Published()

    reader = Reader(Notebook(answer=answer))
    entries = propose("a", "b")

    assert reader.run() == entries
    assert reader.notebook.drops == 1
    assert caplog.messages == ["publisher notebook: an entry raised KeyError('replicas') (logged once a minute)"]


def test_what_is_too_old_is_skipped_and_the_log_says_how_much(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(timeline, "read", partial(timeline.read, limit=10))
    first = Reader(Notebook())
    first.run()
    first.subscription.end()
    propose(*map(str, range(25)))  # more than two pages
    pass_hours(1.5)
    fresh = propose("fresh")

    assert Reader(Notebook(), "its successor").run() == fresh
    assert caplog.messages == ["publisher notebook skipped 25 entries older than 3600 s"]
    assert cursor() == newest()


def test_requests_are_paced_and_what_is_ignored_costs_nothing() -> None:
    reader = Reader(Notebook(rate=10.0, burst=5))
    entries = propose(*map(str, range(30)))

    assert 4 <= len(reader.run(0.05)) <= 6
    assert 9 <= len(reader.run(1.0)) <= 11
    assert len(reader.run(3.0)) < len(entries)
    assert reader.notebook.notes == entries

    ignoring = Reader(Notebook("ignoring", lambda _: Ignored(), rate=10.0, burst=5))
    entries = propose(*map(str, range(30, 60)))
    assert ignoring.run(PAUSE) == entries


def test_the_lag_is_the_age_of_the_oldest_entry_that_waits() -> None:
    reader = Reader(Notebook(answer=lambda _: Retry("503")))
    propose("a")
    pass_hours(0.5)
    reader.run(30.0)
    assert 1800.0 + 30.0 - RENEW <= reader.lag < 1800.0 + 60.0

    reader.notebook.answer = lambda _: Published()
    reader.run(60.0)
    assert reader.lag == 0.0
    reader.subscription.end()
    assert reader.lag == 0.0


def test_after_a_restored_dump_the_entries_since_are_published(caplog: pytest.LogCaptureFixture) -> None:
    first = Reader(Notebook())
    first.run()
    first.subscription.end()
    propose("old")
    pass_hours(2)
    PublisherCursor.objects.update(xid=2**40)  # of the server that the dump was taken from
    since = propose("since")

    assert Reader(Notebook(), "its successor").run() == since
    assert "the cursor is ahead of the database" in caplog.messages[0]
    assert cursor() == newest()


def test_a_cursor_that_was_deleted_begins_anew() -> None:
    reader = Reader(Notebook())
    reader.run()
    PublisherCursor.objects.all().delete()
    reader.run(RENEW + 2 * TAKEOVER)

    entries = propose("a")
    assert reader.run(2 * TAKEOVER) == entries


@pytest.mark.parametrize("query", ["lease", "move", "read"])
def test_a_failing_database_ends_the_turn_and_costs_nothing_but_time(
    monkeypatch: pytest.MonkeyPatch, query: str
) -> None:
    owner: Any = timeline if query == "read" else PublisherCursor
    original: Callable[..., Any] = getattr(owner, query)

    def fail_once(*_: Any) -> Any:
        monkeypatch.setattr(owner, query, original)
        raise OperationalError("the server closed the connection unexpectedly")

    reader = Reader(Notebook())
    entries = propose("a", "b")
    monkeypatch.setattr(owner, query, fail_once)

    assert reader.run(3 * TAKEOVER) == entries
    assert cursor() == newest()


def test_an_entry_that_cannot_be_read_is_dropped_and_the_next_one_is_published(
    caplog: pytest.LogCaptureFixture,
) -> None:
    reader = Reader(Notebook())
    strange = Workload.objects.create(cluster="default", namespace="shop", kind="CloneSet", name="web")
    rows.propose(workload=strange)
    later = propose("erp")

    assert reader.run() == later
    assert reader.notebook.dropped._value.get() == 1
    assert "'CloneSet' is not a valid Kind" in caplog.text
    assert cursor() == newest()
