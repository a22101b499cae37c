from collections.abc import Iterator
from contextlib import closing, contextmanager
from itertools import islice

import pytest
from urllib3.exceptions import ProtocolError, ReadTimeoutError

from smartops.dev.sandbox import Sandbox
from smartops.dev.sandbox.faults import CompactHistory, CutWatch, MuteWatch
from tests.kit.client import Client, Object
from tests.kit.manifests import deployment

MAPS = "configmaps"


def config_map(name: str, **labels: str) -> Object:
    return {"metadata": {"name": name, "labels": labels}}


def told(events: Iterator[Object], count: int) -> list[tuple[str, str]]:
    return [(event["type"], event["object"]["metadata"].get("name", "")) for event in islice(events, count)]


def until_silent(events: Iterator[Object]) -> list[Object]:
    """What a watch says until its client loses patience: it must not end."""
    said: list[Object] = []
    try:
        for event in events:
            said.append(event)  # noqa: PERF402 - a list would be lost with the error
    except ReadTimeoutError:
        return said
    raise AssertionError("The watch has ended.")


def test_a_watch_sees_its_namespace_only(client: Client) -> None:
    events = client.watch("/api/v1/namespaces/kube-public/configmaps")
    client.create(MAPS, config_map("elsewhere"))
    client.create("/api/v1/namespaces/kube-public/configmaps", config_map("here"))
    assert told(events, 1) == [("ADDED", "here")]


def test_bookmarks_tell_idle_watches_how_far_they_are() -> None:
    with Sandbox(bookmark_every=0.05) as sandbox, closing(Client(sandbox.kubeconfig)) as client:
        created = client.create(MAPS, config_map("a"))
        (bookmark,) = islice(client.watch("deployments", allowWatchBookmarks="true"), 1)
        assert bookmark["type"] == "BOOKMARK"
        assert bookmark["object"]["kind"] == "Deployment"
        version = bookmark["object"]["metadata"]["resourceVersion"]
        assert int(version) >= int(created["metadata"]["resourceVersion"])
        quiet = client.watch("deployments", resourceVersion=version)  # did not ask for bookmarks
        client.create("deployments", deployment())
        assert told(quiet, 1) == [("ADDED", "web")]


def test_a_streamed_list_ends_with_a_bookmark(client: Client) -> None:
    client.create(MAPS, config_map("a"))
    first, last = islice(
        client.watch(MAPS, sendInitialEvents="true", allowWatchBookmarks="true", resourceVersionMatch="NotOlderThan"),
        2,
    )
    assert (first["type"], last["type"]) == ("ADDED", "BOOKMARK")
    assert last["object"]["metadata"]["annotations"] == {"k8s.io/initial-events-end": "true"}


def test_a_version_older_than_the_history_is_gone() -> None:
    with Sandbox(history=3) as sandbox, closing(Client(sandbox.kubeconfig)) as client:
        version = client.get(MAPS)["metadata"]["resourceVersion"]
        for index in range(5):
            client.create(MAPS, config_map(f"map-{index}"))
        (event,) = client.watch(MAPS, resourceVersion=version)
        assert event["type"] == "ERROR"
        assert (event["object"]["code"], event["object"]["reason"]) == (410, "Expired")


def test_every_version_before_a_compaction_is_gone(sandbox: Sandbox, client: Client) -> None:
    page = client.get("/api/v1/namespaces", limit="2")
    sandbox.fault(CompactHistory())
    (event,) = client.watch(MAPS, resourceVersion=page["metadata"]["resourceVersion"])
    assert (event["type"], event["object"]["code"]) == ("ERROR", 410)
    status, refusal = client.send("GET", "/api/v1/namespaces", **{"continue": page["metadata"]["continue"]})
    assert (status, refusal["reason"]) == (410, "Expired")
    listed = client.get(MAPS)["metadata"]["resourceVersion"]
    events = client.watch(MAPS, resourceVersion=listed)
    client.create(MAPS, config_map("new"))
    assert told(events, 1) == [("ADDED", "new")]


def test_an_open_watch_can_be_cut_and_the_next_one_works(sandbox: Sandbox, client: Client) -> None:
    client.create(MAPS, config_map("a"))
    events = client.watch(MAPS)
    assert told(events, 1) == [("ADDED", "a")]
    sandbox.fault(CutWatch(path="/configmaps"))
    with pytest.raises(ProtocolError):
        next(events)
    assert told(client.watch(MAPS), 1) == [("ADDED", "a")]


def test_a_watch_yet_to_come_can_be_cut(sandbox: Sandbox, client: Client) -> None:
    sandbox.fault(CutWatch())
    client.create(MAPS, config_map("a"))
    with pytest.raises(ProtocolError):
        next(client.watch(MAPS))
    assert told(client.watch(MAPS), 1) == [("ADDED", "a")]


@contextmanager
def bookmarking(patience: float) -> Iterator[tuple[Sandbox, Client, Client]]:
    """A sandbox that sends a bookmark every 20 ms, a client, and one that waits for so many seconds."""
    with (
        Sandbox(bookmark_every=0.02) as sandbox,
        closing(Client(sandbox.kubeconfig)) as client,
        closing(Client(sandbox.kubeconfig, timeout=patience)) as impatient,
    ):
        yield sandbox, client, impatient


def test_a_half_open_watch_stays_silent_even_at_its_end() -> None:
    with bookmarking(patience=1.5) as (sandbox, client, impatient):
        client.create(MAPS, config_map("a"))
        sandbox.fault(MuteWatch(path="/configmaps"))
        assert until_silent(impatient.watch(MAPS, allowWatchBookmarks="true", timeoutSeconds="1")) == []
        assert told(client.watch(MAPS), 1) == [("ADDED", "a")]


def test_an_open_watch_that_becomes_half_open_says_nothing_more_even_at_its_end() -> None:
    with bookmarking(patience=6) as (sandbox, client, impatient):
        client.create(MAPS, config_map("a"))
        events = impatient.watch(MAPS, allowWatchBookmarks="true", timeoutSeconds="5")
        assert told(events, 1) == [("ADDED", "a")]
        sandbox.fault(MuteWatch(path="/configmaps"))
        created = client.create(MAPS, config_map("b"))
        versions = [int(event["object"]["metadata"]["resourceVersion"]) for event in until_silent(events)]
        assert max(versions, default=0) < int(created["metadata"]["resourceVersion"]), "it went on"
        assert told(client.watch(MAPS), 2) == [("ADDED", "a"), ("ADDED", "b")]


def test_a_table_watch_sends_rows(sandbox: Sandbox, client: Client) -> None:
    client.create(MAPS, config_map("a"))
    (event,) = islice(client.watch(MAPS, accept="application/json;as=Table;v=v1;g=meta.k8s.io"), 1)
    assert (event["type"], event["object"]["kind"]) == ("ADDED", "Table")
    assert event["object"]["rows"][0]["cells"][0] == "a"
