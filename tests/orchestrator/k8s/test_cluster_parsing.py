import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.k8s.fields import changeable
from orchestrator.k8s.parse import parse_page, parse_pod, parse_workload
from orchestrator.k8s.types import Condition, Pod, WorkloadKey, WorkloadObject

METADATA = {"namespace": "smartops-dev", "name": "erp-simulator", "uid": "uid-1", "resourceVersion": "7"}
LEAST = WorkloadObject(
    key=WorkloadKey("smartops-dev", "erp-simulator"),
    uid="uid-1",
    resource_version="7",
    generation=0,
    replicas=1,
    paused=False,
    deleting=False,
    annotations={},
    document='{"metadata":{},"spec":{"template":{"metadata":{},"spec":{"containers":[]}}}}',
)


@pytest.mark.parametrize(
    "raw",
    [
        {"metadata": METADATA},
        {"metadata": METADATA, "spec": {}, "status": {}},
        {"metadata": METADATA | {"annotations": None, "generation": None}, "spec": None, "status": None},
        {"metadata": METADATA, "spec": {"replicas": None}, "status": {"conditions": None, "replicas": None}},
    ],
)
def test_omitted_and_null_fields_are_the_apis_defaults(raw: dict[str, Any]) -> None:
    assert parse_workload(raw) == LEAST


def test_a_deployment_is_parsed_in_full() -> None:
    raw = {
        "metadata": METADATA
        | {
            "generation": 4,
            "deletionTimestamp": "2026-01-01T00:00:00Z",
            "annotations": {"team": "erp", "smartops.io/action": "action-1"},
        },
        "spec": {"replicas": 0, "paused": True},
        "status": {
            "observedGeneration": 3,
            "replicas": 6,
            "updatedReplicas": 5,
            "readyReplicas": 4,
            "availableReplicas": 3,
            "unavailableReplicas": 2,
            "conditions": [{"type": "Progressing", "status": "True", "reason": "ReplicaSetUpdated"}],
        },
    }
    assert parse_workload(raw) == WorkloadObject(
        key=WorkloadKey("smartops-dev", "erp-simulator"),
        uid="uid-1",
        resource_version="7",
        generation=4,
        replicas=0,
        paused=True,
        deleting=True,
        annotations={"smartops.io/action": "action-1"},
        observed_generation=3,
        status_replicas=6,
        updated_replicas=5,
        ready_replicas=4,
        available_replicas=3,
        unavailable_replicas=2,
        conditions=(Condition("Progressing", "True", "ReplicaSetUpdated"),),
        document=json.dumps(changeable(raw), separators=(",", ":")),
    )


def test_a_pod_says_why_it_waits_and_how_often_it_was_restarted() -> None:
    raw = {
        "metadata": METADATA,
        "status": {
            "phase": "Running",
            "conditions": [{"type": "Ready", "status": "False"}],
            "containerStatuses": [
                {"restartCount": 2, "state": {"running": {}}},
                {"restartCount": 5, "state": {"waiting": {"reason": "CrashLoopBackOff"}}},
            ],
        },
    }
    assert parse_pod(raw) == Pod(
        "smartops-dev",
        "erp-simulator",
        "uid-1",
        "Running",
        ready=False,
        restarts=7,
        waiting_reason="CrashLoopBackOff",
        problem="CrashLoopBackOff",
    )


UNSCHEDULABLE = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/3 nodes"}
PULLING = {"state": {"waiting": {"reason": "ImagePullBackOff", "message": "Back-off pulling image"}}}
EVICTED = {"phase": "Failed", "reason": "Evicted", "message": "The node was low on memory."}


@pytest.mark.parametrize(
    ("status", "problem"),
    [
        ({"conditions": [UNSCHEDULABLE]}, "Unschedulable: 0/3 nodes"),
        ({"conditions": [{**UNSCHEDULABLE, "status": "True"}]}, ""),
        ({"containerStatuses": [PULLING]}, "ImagePullBackOff: Back-off pulling image"),
        ({"initContainerStatuses": [PULLING], "containerStatuses": [{}]}, "ImagePullBackOff: Back-off pulling image"),
        (EVICTED, "Evicted: The node was low on memory."),
        ({"phase": "Running"}, ""),
    ],
)
def test_a_pod_that_does_not_run_says_why(status: dict[str, Any], problem: str) -> None:
    assert parse_pod({"metadata": METADATA, "status": status}).problem == problem


@pytest.mark.parametrize(
    ("selector", "text"),
    [
        ({}, ""),
        ({"matchLabels": {"app": "web", "tier": "a"}}, "app=web,tier=a"),
        ({"matchExpressions": [{"key": "app", "operator": "In", "values": ["a", "b"]}]}, "app in (a,b)"),
        ({"matchExpressions": [{"key": "app", "operator": "NotIn", "values": ["a"]}]}, "app notin (a)"),
        ({"matchLabels": {"x": "y"}, "matchExpressions": [{"key": "app", "operator": "Exists"}]}, "x=y,app"),
        ({"matchExpressions": [{"key": "app", "operator": "DoesNotExist"}]}, "!app"),
    ],
)
def test_a_selector_is_written_as_a_list_request_takes_it(selector: dict[str, Any], text: str) -> None:
    assert parse_workload({"metadata": METADATA, "spec": {"selector": selector}}).selector == text


def test_a_selector_with_an_unknown_operator_is_refused() -> None:
    selector = {"matchExpressions": [{"key": "app", "operator": "Like"}]}
    with pytest.raises(ValueError, match="Like"):
        parse_workload({"metadata": METADATA, "spec": {"selector": selector}})


EARLIER, LATER = "2026-01-01T00:00:01Z", "2026-01-01T00:00:02Z"


@pytest.mark.parametrize(
    ("times", "updated_at"),
    [
        ({"lastUpdateTime": LATER, "lastTransitionTime": EARLIER}, LATER),
        ({"lastTransitionTime": EARLIER}, EARLIER),
        ({}, ""),
    ],
)
def test_a_condition_has_the_time_of_its_report(times: dict[str, str], updated_at: str) -> None:
    status = {"conditions": [{"type": "Progressing", "status": "True", **times}]}
    [condition] = parse_workload({"metadata": METADATA, "status": status}).conditions
    assert condition.reported == ("Progressing", "True", "", updated_at)


def test_a_pod_without_a_status_is_not_ready() -> None:
    assert parse_pod({"metadata": METADATA}) == Pod(
        "smartops-dev", "erp-simulator", "uid-1", phase="", ready=False, restarts=0
    )


def test_a_page_knows_whether_more_follow() -> None:
    page = parse_page({"metadata": {"resourceVersion": "9", "continue": "abc"}, "items": None}, parse_workload)
    assert (page.items, page.resource_version, page.continuation) == ([], "9", "abc")


@pytest.mark.parametrize(
    "raw",
    [
        None,
        [],
        "deployment",
        {},
        {"metadata": []},
        {"metadata": METADATA | {"uid": ""}},
        {"metadata": METADATA | {"name": 7}},
        {"metadata": {name: METADATA[name] for name in ("namespace", "name", "uid")}},
        {"metadata": METADATA | {"annotations": {"team": {}}}},
        {"metadata": METADATA, "spec": {"replicas": "3"}},
        {"metadata": METADATA, "spec": {"replicas": True}},
        {"metadata": METADATA, "status": {"conditions": {}}},
        {"metadata": METADATA, "status": {"conditions": ["Progressing"]}},
    ],
)
def test_what_the_api_cannot_have_meant_is_refused(raw: Any) -> None:
    with pytest.raises(ValueError, match=r"expected an object|is not of type|is missing"):
        parse_workload(raw)


FIELDS = st.sampled_from([*METADATA, "spec", "status", "items"])
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(FIELDS, inner, max_size=4),
    max_leaves=15,
)


@given(json_values | st.fixed_dictionaries({"metadata": json_values, "spec": json_values, "status": json_values}))
def test_parsing_knows_one_kind_of_failure(raw: Any) -> None:
    raw = json.loads(json.dumps(raw))
    for parse in (parse_workload, parse_pod, lambda raw: parse_page(raw, parse_pod)):
        try:
            parse(raw)
        except ValueError:
            continue
