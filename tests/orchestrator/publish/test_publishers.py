"""The threads: they wake, they end in time, and a process that is killed leaves no gap."""

import signal
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from pathlib import Path
from threading import Event
from time import monotonic

import pytest
from django.db.models.functions import Now

from orchestrator.models import ActionState as S
from orchestrator.models import PublisherCursor
from orchestrator.publish import publishers as module
from orchestrator.publish import timeline
from orchestrator.publish.kubernetes import KubernetesEvents
from orchestrator.publish.publishers import Publishers
from orchestrator.publish.types import Entry, Published, Publisher, Retry
from orchestrator.publish.types import Outcome as Answer
from smartops.dev.postgres import RECONCILER_ROLE
from smartops.dev.sandbox.faults import Refuse
from tests.kit.patience import PATIENCE, eventually
from tests.kit.processes import ended, environment, running, start, until
from tests.kit.world import World, deployment
from tests.orchestrator.publish import rows
from tests.orchestrator.publish.rows import Notebook
from tests.orchestrator.publish.to_file import ToFile

pytestmark = pytest.mark.django_db(transaction=True)
GRACE = PATIENCE  # seconds: enough for all that is to be published
COMMAND = ["-m", "tests.orchestrator.publish.to_file"]


@contextmanager
def publishing(*them: Publisher, grace: float = GRACE) -> Iterator[Publishers]:
    publishers = Publishers("default", them)
    publishers.start()
    yield publishers
    publishers.stop(grace)


def until_idle(publishers: Publishers) -> None:
    """The only one has taken its lease, has found nothing, and waits."""
    [follower] = publishers._followers
    eventually(lambda: len(follower.woken._cond._waiters) == 1)  # type: ignore[attr-defined]
    assert PublisherCursor.objects.exclude(leased_by="").exists()


def lines(path: Path) -> list[str]:
    return path.read_text().splitlines() if path.exists() else []


def test_all_that_was_recorded_before_the_stop_is_published(tmp_path: Path) -> None:
    with publishing(ToFile(tmp_path / "lines")):
        for number in range(30):
            rows.propose(str(number))

    assert lines(tmp_path / "lines") == [f"{number} pending" for number in range(30)]


def test_a_wake_is_followed_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "POLL", 3 * PATIENCE)
    arrived = Event()
    notebook = Notebook(answer=lambda _: arrived.set() or Published())  # type: ignore[func-returns-value]
    with publishing(notebook) as publishers:
        until_idle(publishers)
        rows.propose()
        publishers.wake()
        assert arrived.wait(PATIENCE)


def test_what_nobody_woke_it_for_is_found_by_the_poll() -> None:
    arrived = Event()
    notebook = Notebook(answer=lambda _: arrived.set() or Published())  # type: ignore[func-returns-value]
    with publishing(notebook) as publishers:
        until_idle(publishers)
        rows.propose()
        assert arrived.wait(PATIENCE)


def test_a_publisher_that_hangs_holds_up_neither_the_others_nor_the_stop() -> None:
    go = Event()

    def hang(_: Entry) -> Answer:
        assert go.wait(PATIENCE)
        return Published()

    stuck, other = Notebook("stuck", hang), Notebook("other")
    publishers = Publishers("default", [stuck, other])
    publishers.start()
    rows.propose()
    publishers.wake()
    until(lambda: bool(stuck.entries) and bool(other.entries))

    started = monotonic()
    publishers.stop(0.5)
    assert monotonic() - started < PATIENCE / 2
    go.set()
    publishers.stop(GRACE)  # so that no thread outlives the test


def test_an_unavailable_receiver_does_not_delay_the_stop_and_loses_nothing() -> None:
    away = Notebook(answer=lambda _: Retry("connection refused"))
    with publishing(away, grace=0.5) as publishers:
        rows.propose()
        publishers.wake()
        until(lambda: bool(away.entries))
        started = monotonic()
    assert monotonic() - started < PATIENCE / 2

    successor = Notebook()
    with publishing(successor):
        pass
    assert successor.notes == ["erp new→pending"]


def test_a_process_killed_again_and_again_leaves_no_gap(tmp_path: Path) -> None:
    path, log = tmp_path / "lines", tmp_path / "log"
    PublisherCursor.begin("default", ToFile.name, timeline.end())
    names = map(str, range(60))
    for last in (7, 15):
        process = start([*COMMAND, str(path), str(last)], log, environment(RECONCILER_ROLE))
        for _ in range(20):
            rows.propose(next(names))
        assert ended(process) == -signal.SIGKILL, log.read_text()
        PublisherCursor.objects.update(lease_until=Now() - timedelta(seconds=1))
    for name in names:
        rows.propose(name)
    entries = [f"{number} pending" for number in range(60)]
    with running([*COMMAND, str(path), str(sys.maxsize)], log, environment(RECONCILER_ROLE)):
        until(lambda: len(set(lines(path))) == 60)

    said = lines(path)
    assert list(dict.fromkeys(said)) == entries, "an entry came before an earlier one"
    assert len(said) > 60, "no entry was delivered twice: the test has killed nobody in the middle of a page"


def test_processes_side_by_side_publish_each_entry_once_and_the_next_takes_over(tmp_path: Path) -> None:
    paths, log = [tmp_path / "one", tmp_path / "other"], tmp_path / "log"
    PublisherCursor.begin("default", ToFile.name, timeline.end())
    with ExitStack() as second:
        with running([*COMMAND, str(paths[0]), str(sys.maxsize)], log, environment(RECONCILER_ROLE)):
            for number in range(10):
                rows.propose(str(number))
            until(lambda: len(lines(paths[0])) == 10)
            second.enter_context(
                running([*COMMAND, str(paths[1]), str(sys.maxsize)], log, environment(RECONCILER_ROLE))
            )
            until(lambda: log.read_text().count("started") == 2)
        for number in range(10, 20):  # the first has ended well
            rows.propose(str(number))
        until(lambda: len(lines(paths[1])) == 10)

    assert lines(paths[0]) + lines(paths[1]) == [f"{number} pending" for number in range(20)]


def test_an_event_is_written_though_the_api_server_is_unavailable_for_a_while(world: World) -> None:
    world.deploy(deployment("erp"))
    world.sandbox.fault(Refuse(method="POST", path="/events", status=503, count=2))
    with publishing(KubernetesEvents(world.cluster)):
        action = rows.propose()
        rows.plan(action)
        rows.move(action, S.VERIFYING)

    statuses = [one.status for one in world.sandbox.requests if one.method == "POST" and "/events" in one.path]
    assert statuses == [503, 503, 201]
    assert not PublisherCursor.objects.exclude(leased_by="").exists(), "the lease was not released"
