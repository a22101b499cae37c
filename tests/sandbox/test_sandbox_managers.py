from typing import Any

from smartops.sandbox.managers import managed

Object = dict[str, Any]


def write(before: Object, after: Object, manager: str) -> Object:
    """`after` as stored by this manager."""
    metadata = {**after.get("metadata", {}), "managedFields": before.get("metadata", {}).get("managedFields", [])}
    after = {**after, "metadata": metadata}
    entry = {"manager": manager, "operation": "Update"}
    return {**after, "metadata": {**metadata, "managedFields": managed(before, after, entry)}}


def owners(obj: Object) -> dict[str, Object]:
    return {entry["manager"]: entry["fieldsV1"] for entry in obj["metadata"]["managedFields"]}


def test_who_creates_an_object_owns_all_that_is_in_it() -> None:
    web = {"name": "web", "image": "1"}
    created = write({}, {"metadata": {"name": "x", "labels": {"a": "b"}}, "spec": {"containers": [web]}}, "kubectl")
    assert owners(created) == {
        "kubectl": {
            "f:metadata": {"f:labels": {"f:a": {}}},
            "f:spec": {"f:containers": {'k:{"name":"web"}': {"f:name": {}, "f:image": {}}}},
        }
    }


def test_a_field_belongs_to_who_changed_it_last() -> None:
    created = write({}, {"spec": {"replicas": 1, "paused": True}}, "kubectl")
    scaled = write(created, {"spec": {"replicas": 2, "paused": True}}, "autoscaler")
    assert owners(scaled) == {"kubectl": {"f:spec": {"f:paused": {}}}, "autoscaler": {"f:spec": {"f:replicas": {}}}}
    back = write(scaled, {"spec": {"replicas": 3, "paused": True}}, "kubectl")
    assert owners(back) == {"kubectl": {"f:spec": {"f:paused": {}, "f:replicas": {}}}}


def test_a_removed_field_belongs_to_nobody() -> None:
    created = write({}, {"spec": {"replicas": 1, "paused": True}}, "kubectl")
    assert owners(write(created, {"spec": {"replicas": 1}}, "other")) == {"kubectl": {"f:spec": {"f:replicas": {}}}}


def test_items_of_a_keyed_list_have_owners_of_their_own() -> None:
    one, two = {"name": "a", "image": "1"}, {"name": "b", "image": "1"}
    created = write({}, {"spec": {"containers": [one, two]}}, "kubectl")
    changed = write(created, {"spec": {"containers": [one, two | {"image": "2"}]}}, "deployer")
    assert owners(changed)["deployer"] == {"f:spec": {"f:containers": {'k:{"name":"b"}': {"f:image": {}}}}}
    assert owners(changed)["kubectl"]["f:spec"]["f:containers"]['k:{"name":"b"}'] == {"f:name": {}}
