"""Watches: where they begin, that they go on without losing anything, and what becomes of one that is too old."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from itertools import islice
from time import monotonic
from typing import Any

import pytest

from orchestrator.k8s.client import KubernetesCluster
from orchestrator.k8s.collection import Collection
from orchestrator.k8s.connection import Connection
from orchestrator.k8s.interruption import Interruption
from orchestrator.k8s.resources import EVENTS, Resource
from orchestrator.k8s.types import Autoscaler, ObjectKey, W, WatchEvent, WatchEventType, WorkloadKey
from signals.types import Kind
from tests.conformance.control_plane import ControlPlane
from tests.conformance.states import version
from tests.kit.client import Client, Object
from tests.kit.manifests import deployment
from tests.kit.patience import eventually

CHANGED, DELETED, SYNCED = WatchEventType.CHANGED, WatchEventType.DELETED, WatchEventType.SYNCED


def config_map(name: str, **labels: str) -> Object:
    return {"metadata": {"name": name, "labels": labels}}


def told(events: Iterator[Object], count: int) -> list[tuple[str, str]]:
    """The next ones about objects of the test's own."""
    own = ((event["type"], event["object"]["metadata"].get("name", "")) for event in events)
    return list(islice((one for one in own if one[1] != "kube-root-ca.crt"), count))


def test_a_watch_begins_with_what_is_and_goes_on_with_what_happens(http: Client) -> None:
    http.create("configmaps", config_map("a"))
    events = http.watch("configmaps")
    assert told(events, 1) == [("ADDED", "a")]
    http.create("configmaps", config_map("b"))
    http.patch("configmaps/a", {"data": {"x": "y"}})
    http.send("DELETE", "configmaps/b")
    assert told(events, 3) == [("ADDED", "b"), ("MODIFIED", "a"), ("DELETED", "b")]


def test_a_watch_from_a_version_misses_and_repeats_nothing(http: Client) -> None:
    start = version(http.get("configmaps", labelSelector="own"))
    created = [http.create("configmaps", config_map(f"map-{number}", own="yes")) for number in range(3)]
    events = http.watch("configmaps", resourceVersion=start, labelSelector="own")
    assert [event["object"] for event in islice(events, 3)] == created
    events = http.watch("configmaps", resourceVersion=version(created[1]), labelSelector="own")
    assert told(events, 1) == [("ADDED", "map-2")]


def test_a_deletion_comes_at_a_version_of_its_own(http: Client) -> None:
    created = http.create("configmaps", config_map("a"))
    events = http.watch("configmaps", resourceVersion=version(created))
    http.send("DELETE", "configmaps/a")
    [event] = islice(events, 1)
    assert event["type"] == "DELETED"
    assert event["object"]["metadata"]["uid"] == created["metadata"]["uid"]
    assert int(version(event["object"])) > int(version(created))


def test_a_change_of_labels_enters_and_leaves_a_selection(http: Client) -> None:
    events = http.watch("configmaps", labelSelector="tier=a")
    http.create("configmaps", config_map("one", tier="b"))
    for tier in ("a", "a", "b"):
        http.patch("configmaps/one", {"metadata": {"labels": {"tier": tier}}, "data": {"tier": tier}})
    http.create("configmaps", config_map("two", tier="a"))
    assert told(events, 3) == [("ADDED", "one"), ("DELETED", "one"), ("ADDED", "two")]


def test_a_watch_ends_at_its_timeout(http: Client) -> None:
    start = version(http.get("configmaps"))
    assert told(http.watch("configmaps", resourceVersion=start, timeoutSeconds="1"), 1) == []


def test_a_bookmark_says_how_far_a_quiet_watch_is(http: Client) -> None:
    """Asked for, it comes every minute and shortly before the end; that is no promise."""
    start = version(http.get("deployments"))
    elsewhere = http.create("configmaps", config_map("a"))
    query = {"resourceVersion": start, "allowWatchBookmarks": "true", "timeoutSeconds": "4"}
    bookmark = next(event for _ in range(10) for event in http.watch("deployments", **query))
    assert (bookmark["type"], bookmark["object"]["kind"]) == ("BOOKMARK", "Deployment")
    assert int(version(bookmark["object"])) >= int(version(elsewhere))
    http.create("deployments", deployment("after", replicas=0))
    events = http.watch("deployments", resourceVersion=version(bookmark["object"]))
    assert told(events, 1) == [("ADDED", "after")]


def test_a_watch_of_what_is_no_version_is_an_error_of_the_server(http: Client) -> None:
    assert http.send("GET", "configmaps", watch="1", resourceVersion="new", timeoutSeconds="1")[0] == 500


def changes(http: Client, path: str, make: Callable[[str], Object]) -> None:
    """One of four objects changes, one goes, one is made anew, one is left alone; and one is new."""
    http.patch(f"{path}/changed", {"metadata": {"labels": {"a": "b"}}})
    for name in ("gone", "anew"):
        http.send("DELETE", f"{path}/{name}")
    for name in ("anew", "new"):
        http.create(path, make(name))


def uids(http: Client, path: str) -> dict[str, str]:
    return {item["metadata"]["name"]: item["metadata"]["uid"] for item in http.get(path)["items"]}


def view(events: Iterator[WatchEvent[W]], until: Mapping[str, str], seen: dict[str, str]) -> list[WatchEvent[W]]:
    """Keeps `seen` (uids by name) as the events say until it is `until`; those events."""
    told = []
    while seen != until:
        event = next(events)
        told.append(event)
        if event.object is not None and event.type is DELETED:
            assert seen.pop(event.object.key.name) == event.object.uid
        elif event.object is not None:
            assert seen.get(event.object.key.name, event.object.uid) == event.object.uid, "its end was not told"
            seen[event.object.key.name] = event.object.uid
    return told


def idle(name: str) -> Object:
    """Without pods."""
    return deployment(name, replicas=0)


def test_our_watch_tells_all_that_happened_before_it_was_open(
    cluster: KubernetesCluster, http: Client, namespace: str
) -> None:
    for name in ("changed", "gone", "anew", "left"):
        http.create("deployments", idle(name))
    before, seen = uids(http, "deployments"), dict[str, str]()
    with closing(cluster.watch_workloads(Kind.DEPLOYMENT, namespace, Interruption())) as events:
        view(events, before, seen)
        assert next(events).type is SYNCED
        changes(http, "deployments", idle)  # it has listed, and not begun to watch
        assert not any(event.type is SYNCED for event in view(events, uids(http, "deployments"), seen))


def test_our_watch_goes_on_where_the_server_ended_it(
    cluster: KubernetesCluster, http: Client, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened_at: list[str] = []
    lines = Connection.lines

    def recorded(
        connection: Connection, resource: Resource, namespace: str | None, query: Mapping[str, str], *limits: Any
    ) -> Iterator[bytes]:
        opened_at.append(query["resourceVersion"])
        return lines(connection, resource, namespace, query, *limits)

    monkeypatch.setattr(Connection, "lines", recorded)
    monkeypatch.setattr("orchestrator.k8s.collection.WATCH_PERIOD", 1)
    http.create("deployments", idle("left"))
    seen = dict[str, str]()
    with closing(cluster.watch_workloads(Kind.DEPLOYMENT, namespace, Interruption())) as events:
        view(events, uids(http, "deployments"), seen)
        assert next(events).type is SYNCED
        while len(opened_at) < 4:
            http.create("deployments", idle("comes-and-goes"))
            assert not any(event.type is SYNCED for event in view(events, uids(http, "deployments"), seen))
            http.send("DELETE", "deployments/comes-and-goes")
            assert not any(event.type is SYNCED for event in view(events, uids(http, "deployments"), seen))
    assert opened_at == sorted(set(opened_at), key=int)


def test_our_watch_of_autoscalers_tells_whose_replicas_they_set(
    cluster: KubernetesCluster, http: Client, namespace: str
) -> None:
    target = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"}
    manifest = {"metadata": {"name": "web"}, "spec": {"maxReplicas": 5, "scaleTargetRef": target}}
    created = http.create("horizontalpodautoscalers", manifest)
    with closing(cluster.watch_autoscalers(namespace, Interruption())) as events:
        listed, synced = islice(events, 2)
        assert (listed.type, synced.type) == (CHANGED, SYNCED)
        hpa, web = ObjectKey(namespace, "web"), WorkloadKey(namespace, "web")
        assert listed.object == Autoscaler(hpa, created["metadata"]["uid"], web, min_replicas=1, max_replicas=5)
        http.patch("horizontalpodautoscalers/web", {"spec": {"maxReplicas": 7}})
        changed = next(event.object for event in events if event.object and event.object.max_replicas == 7)
        http.send("DELETE", "horizontalpodautoscalers/web")
        assert next(event.object for event in events if event.type is DELETED) == changed


@dataclass(frozen=True)
class Note:
    """A Kubernetes Event, for a Collection."""

    key: WorkloadKey
    uid: str


def parse_note(raw: Any) -> Note:
    metadata = raw["metadata"]
    return Note(WorkloadKey(metadata["namespace"], metadata["name"]), metadata["uid"])


def test_our_watch_lists_again_where_its_version_is_too_old(
    control_plane: ControlPlane, cluster: KubernetesCluster, http: Client, namespace: str
) -> None:
    """Of Events: an API server keeps the changes of most other kinds in memory for longer than a test may take."""

    def note(name: str) -> Object:
        return {"metadata": {"name": name}, "involvedObject": {"namespace": namespace}}

    for name in ("changed", "gone", "anew", "left"):
        http.create("events", note(name))
    before, seen = uids(http, "events"), dict[str, str]()
    notes = Collection(cluster._connection, EVENTS, parse_note, namespace)
    with closing(notes.watch(Interruption(), 10.0)) as events:
        view(events, before, seen)
        assert next(events).type is SYNCED
        listed = version(http.get("events"))
        changes(http, "events", note)
        control_plane.forget_history()
        expire(http, listed)
        last = uids(http, "events")
        again = [event.type for event in view(events, last, seen)]
        assert again.count(DELETED) == 2  # what is gone, and what was made anew
        assert next(events).type is SYNCED
        http.send("DELETE", "events/left")
        view(events, uids(http, "events"), seen)


def expire(http: Client, listed: str) -> None:
    """Returns once a watch of Events from that version is refused as the API does it: in its first line."""

    def has_expired() -> bool:
        http.patch("events/left", {"count": int(monotonic())})
        [event] = islice(http.watch("events", resourceVersion=listed), 1)
        if event["type"] == "ERROR":
            assert (event["object"]["code"], event["object"]["reason"]) == (410, "Expired")
        return bool(event["type"] == "ERROR")

    eventually(has_expired, "it does not expire", pause=0.2)
