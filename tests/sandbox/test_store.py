import pytest

from smartops.dev.sandbox.errors import ApiError
from smartops.dev.sandbox.resources import POD, REPLICA_SET
from smartops.dev.sandbox.store import Event, Store


def pod(name: str, namespace: str = "default", **metadata: object) -> dict[str, object]:
    return {"metadata": {"name": name, "namespace": namespace, "uid": f"uid-{name}", **metadata}}


def test_every_write_moves_the_one_version() -> None:
    store = Store(version=10)
    versions = [store.put(POD, pod(name)).metadata["resourceVersion"] for name in ("a", "b", "a")]
    removed = store.remove(POD, store.objects(POD)[0])
    assert [*versions, removed.metadata["resourceVersion"]] == ["11", "12", "13", "14"]


def test_objects_come_by_namespace_and_name() -> None:
    store = Store()
    for namespace, name in (("b", "x"), ("a", "z"), ("a", "y")):
        store.put(POD, pod(name, namespace))
    assert [(one.namespace, one.name) for one in store.objects(POD)] == [("a", "y"), ("a", "z"), ("b", "x")]
    assert [one.name for one in store.objects(POD, "a")] == ["y", "z"]


def test_dependents_are_found_by_their_owner() -> None:
    store = Store()
    owned = store.put(POD, pod("a", ownerReferences=[{"uid": "owner"}]))
    store.put(POD, pod("b"))
    assert store.owned_by("owner") == [(POD, owned)]
    store.put(POD, pod("a"))
    assert store.owned_by("owner") == []


def test_subscribers_see_each_event_with_what_was_before() -> None:
    store, seen = Store(), list[Event]()
    store.subscribe(POD, seen.append)
    first = store.put(POD, pod("a"))
    second = store.put(POD, pod("a", labels={"x": "y"}))
    store.remove(POD, second)
    assert [(event.type, event.previous) for event in seen] == [
        ("ADDED", None),
        ("MODIFIED", first),
        ("DELETED", second),
    ]


def test_history_reaches_back_as_far_as_it_is_long_and_per_kind() -> None:
    store = Store(history=3, version=100)
    for index in range(5):
        store.put(POD, pod(f"pod-{index}"))
    store.put(REPLICA_SET, pod("set"))
    assert [event.object.name for event in store.since(POD, 102)] == ["pod-2", "pod-3", "pod-4"]
    assert store.since(POD, store.version) == []
    assert len(store.since(REPLICA_SET, 100)) == 1
    with pytest.raises(ApiError) as refused:
        store.since(POD, 101)
    assert refused.value.code == 410


def test_after_compaction_everything_read_before_is_too_old() -> None:
    store = Store()
    store.put(POD, pod("a"))
    known = store.version
    store.compact()
    with pytest.raises(ApiError):
        store.since(POD, known)
    assert store.since(POD, store.version) == []


def test_a_list_can_be_had_as_it_was() -> None:
    store = Store()
    first, gone = store.put(POD, pod("a")), store.put(POD, pod("b"))
    then = store.version
    store.put(POD, pod("a", labels={"x": "y"}))
    store.remove(POD, gone)
    store.put(POD, pod("c"))
    assert store.objects_at(then, POD, "default") == [first, gone]
    assert store.objects_at(then, POD, "other") == []
    store.compact()
    with pytest.raises(ApiError, match="too old"):
        store.objects_at(then, POD, "default")
