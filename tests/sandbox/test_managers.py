from typing import Any

import pytest

from smartops.dev.sandbox.errors import ApiError
from smartops.dev.sandbox.managers import apply, managed

Object = dict[str, Any]


def write(before: Object, after: Object, manager: str) -> Object:
    """`after` as stored by this manager."""
    metadata = {**after.get("metadata", {}), "managedFields": before.get("metadata", {}).get("managedFields", [])}
    after = {**after, "metadata": metadata}
    entry = {"manager": manager, "operation": "Update"}
    return {**after, "metadata": {**metadata, "managedFields": managed(before, after, entry)}}


def owners(obj: Object) -> dict[str, Object]:
    return {entry["manager"]: entry["fieldsV1"] for entry in obj["metadata"]["managedFields"]}


def test_the_creator_of_an_object_owns_all_of_its_fields() -> None:
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


def entry(manager: str, fields: Object, operation: str = "Apply") -> Object:
    return {"manager": manager, "operation": operation, "apiVersion": "apps/v1", "fieldsV1": fields}


def live(*entries: Object, **spec: Any) -> Object:
    return {"metadata": {"managedFields": list(entries)}, "spec": spec}


def test_a_field_that_is_applied_no_more_is_removed_unless_others_own_it_too() -> None:
    ours = entry("ours", {"f:spec": {"f:replicas": {}, "f:paused": {}}})
    config = {"spec": {"minReadySeconds": 1}}
    alone = apply(live(ours, replicas=1, paused=True), config, "ours", force=False)
    assert alone["spec"] == {"minReadySeconds": 1}
    theirs = entry("theirs", {"f:spec": {"f:replicas": {}}}, "Update")
    shared = apply(live(ours, theirs, replicas=1, paused=True), config, "ours", force=False)
    assert shared["spec"] == {"replicas": 1, "minReadySeconds": 1}


def test_an_item_of_a_keyed_list_goes_with_its_key() -> None:
    containers = [{"name": "a", "image": "1", "imagePullPolicy": "Always"}, {"name": "b", "image": "1"}]
    owned: Object = {'k:{"name":"a"}': {"f:name": {}, "f:image": {}}, 'k:{"name":"b"}': {"f:name": {}, "f:image": {}}}
    before = live(entry("ours", {"f:spec": {"f:containers": owned}}), containers=containers)
    after = apply(before, {"spec": {"containers": [{"name": "b", "image": "2"}]}}, "ours", force=False)
    assert after["spec"]["containers"] == [{"name": "b", "image": "2"}]


def test_an_apply_conflicts_where_it_would_change_what_others_own_unless_forced() -> None:
    before = live(entry("theirs", {"f:spec": {"f:replicas": {}, "f:paused": {}}}, "Update"), replicas=1, paused=True)
    config = {"spec": {"replicas": 2, "paused": True}}
    with pytest.raises(ApiError) as refused:
        apply(before, config, "ours", force=False)
    assert refused.value.code == 409
    assert [(cause.reason, cause.field) for cause in refused.value.causes] == [
        ("FieldManagerConflict", ".spec.replicas")
    ]
    assert apply(before, config, "ours", force=True)["spec"] == {"replicas": 2, "paused": True}


def test_a_write_that_changes_nothing_leaves_the_managers_as_they_were() -> None:
    created = write({}, {"spec": {"replicas": 1}}, "kubectl")
    assert write(created, {"spec": {"replicas": 1}}, "other") == created
    assert managed({"spec": {}}, {"metadata": {}, "spec": {}}, {"manager": "other", "operation": "Update"}) == []
