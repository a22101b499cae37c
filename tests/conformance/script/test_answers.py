"""What the recorded script can tell apart."""

from typing import Any

import pytest

from tests.conformance.script.answers import Memory, compared


def obj(uid: str = "one", version: int = 5, generation: int = 1, name: str = "web") -> dict[str, Any]:
    metadata = {"name": name, "uid": uid, "resourceVersion": str(version), "generation": generation}
    return {"kind": "Deployment", "metadata": metadata}


@pytest.mark.parametrize(
    ("now", "said"),
    [
        (obj(), "uid same, version same, generation 1"),
        (obj(version=6), "uid same, version later, generation 1"),
        (obj(version=4), "uid same, version earlier, generation 1"),
        (obj(generation=2), "uid same, version same, generation 2"),
        (obj(uid="two", version=7), "uid another, version later, generation 1"),
        (obj(name="other"), "uid new, generation 1"),
        (
            {"kind": "Scale", "metadata": {"name": "web", "uid": "one", "resourceVersion": "6"}},
            "uid same, version later",
        ),
    ],
)
def test_an_object_is_related_to_what_was_seen_of_it(now: dict[str, Any], said: str) -> None:
    memory = Memory()
    memory.see(obj())
    assert compared(200, now, (), memory) == {"status": 200, "object": said}


def test_a_refusal_is_its_status_its_reason_and_its_causes() -> None:
    causes = [
        {"reason": "FieldValueInvalid", "field": "spec.b", "message": "words"},
        {"reason": "A", "field": "spec.a"},
    ]
    details = {"name": "web", "kind": "Deployment", "group": "apps", "causes": causes, "retryAfterSeconds": 1}
    answer = {"kind": "Status", "code": 422, "reason": "Invalid", "message": "words", "details": details}
    assert compared(422, answer, (), Memory()) == {
        "status": 422,
        "reason": "Invalid",
        "kind": "Deployment",
        "group": "apps",
        "retryAfterSeconds": 1,
        "causes": ["A spec.a", "FieldValueInvalid spec.b"],
    }


def test_a_list_is_its_objects_its_version_and_what_remains() -> None:
    memory = Memory()
    memory.see(obj(version=9))
    metadata = {"resourceVersion": "8", "continue": "token", "remainingItemCount": 3}
    answer = {"kind": "DeploymentList", "metadata": metadata, "items": [obj(version=8)]}
    assert compared(200, answer, (), memory) == {
        "status": 200,
        "items": {"web": "uid same, version earlier, generation 1"},
        "version": "before what was seen",
        "more": {"remaining": 3, "continue": True},
    }


def test_events_are_compared_one_with_the_next() -> None:
    bookmark = {"type": "BOOKMARK", "object": {"metadata": {"annotations": {"k8s.io/initial-events-end": "true"}}}}
    events = [
        {"type": "ADDED", "object": obj()},
        {"type": "DELETED", "object": obj(version=6)},
        bookmark,
        {"type": "ERROR", "object": {"kind": "Status", "code": 410, "reason": "Expired"}},
    ]
    assert compared(200, events, (), Memory())["events"] == [
        "ADDED web: uid new, generation 1",
        "DELETED web: uid same, version later, generation 1",
        "BOOKMARK k8s.io/initial-events-end",
        "ERROR 410 Expired",
    ]


def test_of_managed_fields_only_ours_are_shown_without_times_and_dots() -> None:
    fields: dict[str, Any] = {"f:data": {".": {}, "f:a": {}}}
    ours = {"manager": "script-a", "operation": "Apply", "time": "now", "fieldsV1": fields}
    answer = {"metadata": {"managedFields": [ours, {**ours, "manager": "controller"}]}}
    shown = compared(200, answer, ("metadata.managedFields",), Memory())["shows"]
    assert shown == {"metadata.managedFields": {"script-a Apply": ["f:data f:a"]}}
