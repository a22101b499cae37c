"""The watch against a script: what is listed, what each stream brings, how it ends. No server, no time."""

import json
from collections.abc import Callable, Iterator
from itertools import pairwise
from threading import Event
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.k8s.errors import ClusterError, Expired, Forbidden, NotFound, TimedOut, Unknown, Unreached
from orchestrator.k8s.parse import Page, parse_workload
from orchestrator.k8s.types import WatchEvent, WorkloadObject
from orchestrator.k8s.watch import MAX_DELAY, Watch
from tests.orchestrator.k8s.stub import deployment


class Stop(Event):
    """Waits in no time, and remembers how long it should have waited."""

    def __init__(self) -> None:
        super().__init__()
        self.delays: list[float] = []

    def wait(self, timeout: float | None = None) -> bool:
        assert timeout is not None
        self.delays.append(timeout)
        return self.is_set()


def line(kind: str, raw: dict[str, Any]) -> bytes:
    return json.dumps({"type": kind, "object": raw}).encode()


def bookmark(version: int) -> bytes:
    return line("BOOKMARK", {"metadata": {"resourceVersion": str(version)}})


def gone(code: int = 410) -> bytes:
    return line("ERROR", {"kind": "Status", "code": code, "message": "too old resource version"})


def page(*raw: dict[str, Any], version: int) -> Page[WorkloadObject]:
    return Page([parse_workload(each) for each in raw], str(version), "")


class Script:
    """Lists and streams, each used once: a list is pages, or the error to fail with; a stream is lines, the last of
    which may be an error. The watch is stopped when the streams are used up."""

    def __init__(
        self, lists: list[list[Page[WorkloadObject]] | ClusterError], streams: list[list[bytes | ClusterError]]
    ) -> None:
        self.stop = Stop()
        self.opened_at: list[str] = []
        self._lists = iter(lists)
        self._streams = iter(streams)

    def pages(self) -> Iterator[Page[WorkloadObject]]:
        pages = next(self._lists)
        if isinstance(pages, ClusterError):
            raise pages
        yield from pages

    def lines(self, resource_version: str) -> Iterator[bytes]:
        self.opened_at.append(resource_version)
        stream = next(self._streams, None)
        if stream is None:
            self.stop.set()
            return
        for each in stream:
            if isinstance(each, ClusterError):
                raise each
            yield each

    def events(self) -> list[str]:
        return [describe(event) for event in watch(self.pages, self.lines, self.stop).events()]


def watch(
    pages: Callable[[], Iterator[Page[WorkloadObject]]], lines: Callable[[str], Iterator[bytes]], stop: Event
) -> Watch[WorkloadObject]:
    return Watch("deployments", pages, lines, parse_workload, stop)


def describe(event: WatchEvent[WorkloadObject]) -> str:
    if event.object is None:
        return event.type
    return f"{event.type} {event.object.key.name}@{event.object.resource_version}"


A, B = deployment("a", version=1), deployment("b", version=2)
LISTED = ["CHANGED a@1", "CHANGED b@2", "SYNCED"]


def test_a_list_is_delivered_page_by_page_and_then_synced() -> None:
    script = Script([[page(A, version=5), page(B, version=5)]], [])
    assert script.events() == LISTED
    assert script.opened_at == ["5"]


def test_changes_follow_the_list() -> None:
    changes: list[bytes | ClusterError] = [
        line("ADDED", deployment("c", version=6)),
        line("MODIFIED", deployment("a", version=7)),
        line("DELETED", deployment("b", version=8)),
    ]
    script = Script([[page(A, B, version=5)]], [changes])
    assert script.events() == [*LISTED, "CHANGED c@6", "CHANGED a@7", "DELETED b@8"]


@pytest.mark.parametrize("end", [[], [Unknown("cut")], [TimedOut("half-open")], [b'{"type": "MODI']])
def test_after_a_cut_it_goes_on_where_it_was(end: list[bytes | ClusterError]) -> None:
    first = [line("MODIFIED", deployment("a", version=6)), bookmark(9), *end]
    script = Script([[page(A, B, version=5)]], [first, [line("MODIFIED", deployment("a", version=12))]])
    assert script.events() == [*LISTED, "CHANGED a@6", "CHANGED a@12"]
    assert script.opened_at == ["5", "9", "12"]


@pytest.mark.parametrize("expired", [[gone()], [Expired("410 at once", code=410)], [bookmark(9), gone()]])
def test_what_vanished_before_a_new_list_is_reported_deleted(expired: list[bytes | ClusterError]) -> None:
    again = page(deployment("a", version=20), deployment("c", version=21), version=30)
    script = Script([[page(A, B, version=5)], [again]], [expired])
    assert script.events() == [*LISTED, "CHANGED a@20", "CHANGED c@21", "DELETED b@2", "SYNCED"]
    assert script.opened_at == ["5", "30"]


def test_an_object_that_was_recreated_unseen_is_deleted_first() -> None:
    again = page(deployment("a", uid="uid-2", version=20), B, version=30)
    script = Script([[page(A, B, version=5)], [again]], [[gone()]])
    assert script.events() == [*LISTED, "DELETED a@1", "CHANGED a@20", "CHANGED b@2", "SYNCED"]


def test_what_was_deleted_in_sight_is_not_reported_twice() -> None:
    script = Script([[page(A, B, version=5)], [page(A, version=30)]], [[line("DELETED", B), gone()]])
    assert script.events() == [*LISTED, "DELETED b@2", "CHANGED a@1", "SYNCED"]


def test_a_list_that_breaks_off_is_made_again_from_the_start() -> None:
    def broken() -> Iterator[Page[WorkloadObject]]:
        yield page(A, version=5)
        raise Unknown("cut")

    lists = iter([broken(), iter([page(B, version=6)])])
    stop = Stop()

    def lines(resource_version: str) -> Iterator[bytes]:
        stop.set()
        return iter([])

    events = watch(lambda: next(lists), lines, stop).events()
    assert [describe(event) for event in events] == ["CHANGED a@1", "FAILED", "CHANGED b@2", "DELETED a@1", "SYNCED"]


@pytest.mark.parametrize(
    "poison",
    [
        b"",
        b"[]",
        b"\xff",
        b'{"type": "MODIFIED"}',
        b'{"type": "MODIFIED", "object": {"metadata": {"name": "a"}}}',
        b'{"type": "BOOKMARK", "object": {}}',
        gone(500),
    ],
)
def test_a_resource_version_that_brings_nothing_but_trouble_is_given_up(poison: bytes | ClusterError) -> None:
    script = Script([[page(A, B, version=5)], [page(A, B, version=6)]], [[poison], [poison]])
    assert script.events() == [*LISTED, *LISTED]
    assert script.opened_at == ["5", "5", "6"]


@pytest.mark.parametrize("refusal", [Forbidden("may not watch", code=403), NotFound("no such kind", code=404)])
def test_a_refusal_is_told_each_time_until_it_is_granted(refusal: ClusterError) -> None:
    listed = [page(A, B, version=5)]
    script = Script([refusal, listed, listed], [[refusal]])
    assert script.events() == ["REFUSED", *LISTED, "REFUSED", *LISTED]


def test_a_watch_that_is_cut_before_its_first_line_gets_another_chance() -> None:
    script = Script([[page(A, B, version=5)]], [[Unknown("cut")], [line("MODIFIED", deployment("a", version=7))]])
    assert script.events() == [*LISTED, "CHANGED a@7"]
    assert script.opened_at == ["5", "5", "7"]


def test_an_api_server_that_was_away_is_asked_for_the_rest_only() -> None:
    away: list[list[bytes | ClusterError]] = [[Unreached("connection refused")]] * 3
    script = Script([[page(A, B, version=5)]], [*away, [line("MODIFIED", deployment("a", version=7))]])
    assert script.events() == [*LISTED, "CHANGED a@7"]
    assert script.opened_at == ["5", "5", "5", "5", "7"]


def test_attempts_become_rarer_until_something_arrives() -> None:
    failures: list[list[Page[WorkloadObject]] | ClusterError] = [Unreached("connection refused")] * 2000
    script = Script([*failures, [page(A, version=5)]], [[bookmark(6)]])
    script.events()
    away, back = script.stop.delays[:2000], script.stop.delays[2000]
    assert all(0 < delay <= MAX_DELAY for delay in away)
    assert all(earlier < later for earlier, later in pairwise(away[:7]))
    assert all(delay >= MAX_DELAY / 2 for delay in away[10:])
    assert back <= 0.1


def test_a_server_that_only_ever_answers_410_is_not_asked_in_a_tight_loop() -> None:
    lists: list[list[Page[WorkloadObject]] | ClusterError] = [[page(A, version=5)] for _ in range(12)]
    script = Script(lists, [[gone()] for _ in range(11)])
    script.events()
    assert script.stop.delays[10] >= MAX_DELAY / 2


def test_a_mistake_of_our_own_ends_the_watch() -> None:
    def lines(resource_version: str) -> Iterator[bytes]:
        raise AttributeError("typo")

    watching = watch(lambda: iter([page(version=1)]), lines, Stop())
    with pytest.raises(AttributeError):
        list(watching.events())


class History:
    """A server with a past: objects by name, and the changes to them since `oldest`."""

    def __init__(self) -> None:
        self.version = 1
        self.objects: dict[str, dict[str, Any]] = {}
        self.changes: list[tuple[int, bytes]] = []
        self.oldest = 0

    def change(self, kind: str, name: str) -> bytes:
        """Deletes, changes or creates; what does not exist is created."""
        self.version += 1
        before = self.objects.pop(name, None)
        uid = before["metadata"]["uid"] if before else f"uid-{self.version}"
        after = deployment(name, uid=uid, version=self.version)
        if before is None or kind == "MODIFIED":
            self.objects[name] = after
            kind = "MODIFIED" if before else "ADDED"
        self.changes.append((self.version, line(kind, after)))
        return self.changes[-1][1]

    def since(self, version: int) -> list[bytes]:
        if version < self.oldest:
            raise Expired("compacted", code=410)
        return [event for at, event in self.changes if at > version]


changes = st.lists(st.tuples(st.sampled_from(["MODIFIED", "DELETED"]), st.sampled_from("abc")), max_size=4)
ends = st.sampled_from([None, b"{", gone(500), Unknown("cut"), Unreached("connection refused")])


@given(
    connections=st.lists(st.tuples(changes, st.booleans(), changes, ends), max_size=6),
    lists=st.lists(st.booleans(), max_size=4),
)
def test_whatever_happens_to_the_connection_nothing_is_missed(
    connections: list[tuple[list[tuple[str, str]], bool, list[tuple[str, str]], bytes | ClusterError | None]],
    lists: list[bool],
) -> None:
    server, stop, script, failures = History(), Stop(), iter(connections), iter(lists)

    def lines(resource_version: str) -> Iterator[bytes]:
        connection = next(script, None)
        if connection is None:
            yield from server.since(int(resource_version))
            stop.set()
            return
        unseen, compacted, seen, end = connection
        for kind, name in unseen:
            server.change(kind, name)
        if compacted:
            server.oldest = server.version
        yield from server.since(int(resource_version))
        for kind, name in seen:
            yield server.change(kind, name)
        if isinstance(end, ClusterError):
            raise end
        if end is not None:
            yield end

    def pages() -> Iterator[Page[WorkloadObject]]:
        names = list(server.objects)
        for name in names[:1]:
            yield page(server.objects[name], version=server.version)
        if next(failures, False):
            raise Unknown("cut")
        yield page(*(server.objects[name] for name in names[1:]), version=server.version)

    view: dict[str, str] = {}
    for event in watch(pages, lines, stop).events():
        if event.object is None:
            continue
        if event.type == "DELETED":
            assert view.pop(event.object.key.name) == event.object.uid
        else:
            view[event.object.key.name] = event.object.uid
    assert view == {name: raw["metadata"]["uid"] for name, raw in server.objects.items()}
