"""Who may write, what is left behind, and what is not: conflicts, dry runs, kinds of patches."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest

from orchestrator.k8s.client import KubernetesCluster
from orchestrator.k8s.errors import Conflict, Invalid
from orchestrator.k8s.types import ACTION_ANNOTATION, Preconditions, WorkloadKey, WorkloadObject
from tests.kit.client import APPLY, JSON, JSON_PATCH, MERGE, STRATEGIC, Client, Object, is_complete
from tests.kit.kubectl import Kubectl
from tests.kit.manifests import deployment

NOBODY = "00000000-0000-0000-0000-000000000000"


@pytest.fixture
def web(http: Client, namespace: str) -> WorkloadKey:
    """Without pods, and at rest: nobody else writes it."""
    http.create("deployments", deployment(replicas=0))
    http.wait("deployments", at_rest)
    return WorkloadKey(namespace, "web")


def at_rest(found: Object) -> bool:
    """The controller has nothing to write any more."""
    reasons = {one["type"]: one["reason"] for one in found.get("status", {}).get("conditions", ())}
    complete = is_complete(found, found["metadata"]["generation"])
    return complete and reasons.get("Progressing") == "NewReplicaSetAvailable"


def guard(found: WorkloadObject) -> Preconditions:
    return Preconditions(found.uid, found.resource_version)


def test_a_stale_version_is_a_conflict_and_changes_nothing(
    cluster: KubernetesCluster, kubectl: Kubectl, web: WorkloadKey, http: Client
) -> None:
    seen = cluster.get_workload(web)
    assert kubectl("label", "deployment", "web", "seen=late").code == 0
    before = http.get("deployments/web")
    calls: list[Callable[[], WorkloadObject]] = [
        lambda: cluster.scale_workload(web, 3, preconditions=guard(seen), action="late"),
        lambda: cluster.restart_workload(web, "late", preconditions=guard(seen), action="late"),
        lambda: cluster.patch_workload(web, {"spec": {"paused": True}}, preconditions=guard(seen), action="late"),
        lambda: cluster.scale_workload(web, 3, preconditions=guard(seen), dry_run=True),
    ]
    for call in calls:
        with pytest.raises(Conflict, match="the object has been modified") as caught:
            call()
        assert (caught.value.code, caught.value.reason) == (409, "Conflict")
    assert http.get("deployments/web") == before


def test_the_present_version_is_no_conflict(cluster: KubernetesCluster, web: WorkloadKey) -> None:
    seen = cluster.get_workload(web)
    assert cluster.scale_workload(web, 1, preconditions=guard(seen)).replicas == 1


def test_of_many_writers_who_saw_the_same_one_wins(cluster: KubernetesCluster, web: WorkloadKey, http: Client) -> None:
    seen = guard(cluster.get_workload(web))

    def write(number: int) -> int:
        try:
            cluster.patch_workload(web, {}, preconditions=seen, action=f"action-{number}")
        except Conflict:
            return 0
        return number

    with ThreadPoolExecutor(8) as pool:
        won = sorted(pool.map(write, range(1, 9)))
    assert won[:7] == [0] * 7
    assert http.get("deployments/web")["metadata"]["annotations"][ACTION_ANNOTATION] == f"action-{won[7]}"


def test_another_uid_is_invalid_to_the_server_and_a_conflict_to_us(
    cluster: KubernetesCluster, web: WorkloadKey, http: Client
) -> None:
    before = http.get("deployments/web")
    wrong = replace(guard(cluster.get_workload(web)), uid=NOBODY)
    with pytest.raises(Conflict, match="field is immutable") as caught:
        cluster.scale_workload(web, 3, preconditions=wrong)
    assert (caught.value.code, caught.value.reason) == (422, "Invalid")

    status, refusal = http.send("PATCH", "deployments/web", {"metadata": {"uid": NOBODY}}, MERGE)
    assert (status, refusal["reason"]) == (422, "Invalid")
    assert [cause["field"] for cause in refusal["details"]["causes"]] == ["metadata.uid"]
    other = before | {"metadata": before["metadata"] | {"uid": NOBODY}}
    assert http.send("PUT", "deployments/web", other)[0] == 409
    assert http.get("deployments/web") == before


def test_a_write_for_a_deleted_deployment_does_not_reach_the_new_one_of_its_name(
    cluster: KubernetesCluster, kubectl: Kubectl, web: WorkloadKey, http: Client
) -> None:
    old = cluster.get_workload(web)
    assert kubectl("delete", "deployment", "web", "--wait").code == 0
    http.create("deployments", deployment(replicas=0))
    http.wait("deployments", at_rest)
    new = http.get("deployments/web")
    assert new["metadata"]["uid"] != old.uid
    with pytest.raises(Conflict):
        cluster.scale_workload(web, 3, preconditions=guard(old), action="late")
    current = replace(guard(old), resource_version=new["metadata"]["resourceVersion"])
    with pytest.raises(Conflict):
        cluster.scale_workload(web, 3, preconditions=current, action="late")
    assert http.get("deployments/web") == new


def test_a_dry_run_says_what_would_be_and_changes_nothing(
    cluster: KubernetesCluster, kubectl: Kubectl, web: WorkloadKey, http: Client
) -> None:
    before, seen = http.get("deployments/web"), cluster.get_workload(web)
    for shown in (
        cluster.scale_workload(web, 3, preconditions=guard(seen), action="dry", dry_run=True),
        cluster.restart_workload(web, "dry", preconditions=guard(seen), action="dry", dry_run=True),
        cluster.patch_workload(web, {"spec": {"paused": True}}, preconditions=guard(seen), action="dry", dry_run=True),
    ):
        assert (shown.uid, shown.generation) == (seen.uid, seen.generation + 1)
        assert shown.annotations[ACTION_ANNOTATION] == "dry"
    with pytest.raises(Invalid):
        cluster.scale_workload(web, -1, dry_run=True)
    with pytest.raises(Invalid):
        cluster.patch_workload(web, {"spec": {"replica": 3}}, dry_run=True)
    assert "(server dry run)" in kubectl("scale", "deployment", "web", "--replicas=3", "--dry-run=server").said
    assert http.send("POST", "deployments", deployment("other"), dryRun="All")[0] == 201
    assert http.send("DELETE", "deployments/web", dryRun="All")[0] == 200
    assert http.get("deployments/web") == before
    assert http.send("GET", "deployments/other")[0] == 404


def test_a_dry_run_that_changes_nothing_keeps_the_generation(cluster: KubernetesCluster, web: WorkloadKey) -> None:
    seen = cluster.get_workload(web)
    assert cluster.scale_workload(web, 0, dry_run=True).generation == seen.generation


FIVE: dict[str, Any] = {
    MERGE: {"spec": {"revisionHistoryLimit": 5}},
    STRATEGIC: {"spec": {"revisionHistoryLimit": 5}},
    JSON_PATCH: [{"op": "replace", "path": "/spec/revisionHistoryLimit", "value": 5}],
    APPLY: {"apiVersion": "apps/v1", "kind": "Deployment", "spec": {"revisionHistoryLimit": 5}},
}


@pytest.mark.parametrize("content_type", FIVE)
def test_every_kind_of_patch_moves_generation_and_version_once(
    web: WorkloadKey, http: Client, content_type: str
) -> None:
    before = http.get("deployments/web")
    query = {"fieldManager": "somebody"} | ({"force": "true"} if content_type == APPLY else {})
    after = http.patch("deployments/web", FIVE[content_type], content_type, **query)
    assert after["spec"] == before["spec"] | {"revisionHistoryLimit": 5}
    assert after["metadata"]["generation"] == before["metadata"]["generation"] + 1
    assert after["metadata"]["resourceVersion"] != before["metadata"]["resourceVersion"]
    assert "somebody" in [entry["manager"] for entry in after["metadata"]["managedFields"]]


@pytest.mark.parametrize("content_type", FIVE)
def test_a_patch_of_what_is_so_already_moves_nothing(web: WorkloadKey, http: Client, content_type: str) -> None:
    query = {"fieldManager": "somebody"} | ({"force": "true"} if content_type == APPLY else {})
    http.patch("deployments/web", FIVE[content_type], content_type, **query)
    before = http.wait("deployments", at_rest)["metadata"]
    again = http.patch("deployments/web", FIVE[content_type], content_type, **query)["metadata"]
    assert (again["generation"], again["resourceVersion"]) == (before["generation"], before["resourceVersion"])


CONTAINERS = "spec.template.spec.containers"


@pytest.mark.parametrize(
    ("content_type", "patch", "containers"),
    [
        (STRATEGIC, {"name": "app", "image": "new"}, [("app", "new"), ("sidecar", "old")]),
        (STRATEGIC, {"name": "third", "image": "new"}, [("third", "new"), ("app", "old"), ("sidecar", "old")]),
        (STRATEGIC, {"name": "app", "$patch": "delete"}, [("sidecar", "old")]),
        (MERGE, {"name": "app", "image": "new"}, [("app", "new")]),
        (JSON_PATCH, {"op": "replace", "path": "/0/image", "value": "new"}, [("app", "new"), ("sidecar", "old")]),
        (JSON_PATCH, {"op": "remove", "path": "/0"}, [("sidecar", "old")]),
        (JSON_PATCH, {"op": "add", "path": "/-", "value": {"name": "third", "image": "new"}},
         [("app", "old"), ("sidecar", "old"), ("third", "new")]),
    ],
)  # fmt: skip
def test_each_kind_of_patch_treats_lists_in_its_own_way(
    http: Client, content_type: str, patch: Object, containers: list[tuple[str, str]]
) -> None:
    manifest = deployment(replicas=0)
    pod = manifest["spec"]["template"]["spec"]
    pod["containers"] = [{"name": "app", "image": "old"}, {"name": "sidecar", "image": "old"}]
    http.create("deployments", manifest)
    document: Any = {"spec": {"template": {"spec": {"containers": [patch]}}}}
    if content_type == JSON_PATCH:
        document = [patch | {"path": f"/spec/template/spec/containers{patch['path']}"}]
    patched = http.patch("deployments/web", document, content_type)
    found = patched["spec"]["template"]["spec"]["containers"]
    assert [(one["name"], one["image"]) for one in found] == containers


@pytest.mark.parametrize(
    ("content_type", "patch", "status"),
    [
        (MERGE, [], 400),
        (MERGE, {"spec": {"template": {"spec": {"containers": [{"name": "app"}]}}}}, 422),
        (STRATEGIC, {"spec": {"template": {"spec": {"containers": [{"image": "new"}]}}}}, 500),
        (STRATEGIC, {"spec": {"replicas": "many"}}, 422),
        (JSON_PATCH, {"op": "add"}, 400),
        (JSON_PATCH, [{"op": "test", "path": "/spec/replicas", "value": 7}], 422),
        (JSON_PATCH, [{"op": "remove", "path": "/spec/none"}], 422),
        (JSON_PATCH, [{"op": "replace", "path": "/metadata/name", "value": "other"}], 400),
        (APPLY, {"apiVersion": "apps/v1", "kind": "ReplicaSet", "metadata": {"name": "web"}}, 400),
        (JSON, {}, 415),
    ],
)
def test_patches_that_cannot_be_applied_are_refused_alike(
    web: WorkloadKey, http: Client, content_type: str, patch: Any, status: int
) -> None:
    before = http.get("deployments/web")
    answered, refusal = http.send("PATCH", "deployments/web", patch, content_type, fieldManager="somebody")
    assert (answered, refusal["kind"], refusal["code"]) == (status, "Status", status)
    assert http.get("deployments/web") == before


def test_an_apply_over_somebody_elses_field_is_a_conflict_until_it_is_forced(web: WorkloadKey, http: Client) -> None:
    container = {"name": "app", "image": "other"}
    wanted = {**FIVE[APPLY], "spec": {"replicas": 5, "template": {"spec": {"containers": [container]}}}}
    status, refusal = http.send("PATCH", "deployments/web", wanted, APPLY, fieldManager="somebody")
    assert (status, refusal["reason"]) == (409, "Conflict")
    assert [(cause["reason"], cause["field"]) for cause in refusal["details"]["causes"]] == [
        ("FieldManagerConflict", ".spec.replicas"),
        ("FieldManagerConflict", '.spec.template.spec.containers[name="app"].image'),
    ]
    for replicas, force in ((5, "true"), (6, "false")):  # what it owns by then, it may change
        wanted["spec"]["replicas"] = replicas
        http.patch("deployments/web", wanted, APPLY, fieldManager="somebody", force=force)


def test_an_apply_without_a_manager_is_invalid(web: WorkloadKey, http: Client) -> None:
    assert http.send("PATCH", "deployments/web", FIVE[APPLY], APPLY)[0] == 422


def test_annotations_move_the_generation_and_labels_do_not(web: WorkloadKey, http: Client) -> None:
    before = http.get("deployments/web")["metadata"]["generation"]
    assert http.patch("deployments/web", {"metadata": {"labels": {"a": "b"}}})["metadata"]["generation"] == before
    annotated = http.patch("deployments/web", {"metadata": {"annotations": {"a": "b"}}})
    assert annotated["metadata"]["generation"] == before + 1


def test_a_scale_moves_the_deployment_without_saying_why(web: WorkloadKey, http: Client) -> None:
    before = http.get("deployments/web")
    scale = http.patch("deployments/web/scale", {"metadata": {"annotations": {"a": "b"}}, "spec": {"replicas": 2}})
    after = http.get("deployments/web")
    assert (scale["kind"], scale["spec"]["replicas"], after["spec"]["replicas"]) == ("Scale", 2, 2)
    assert after["metadata"]["generation"] == before["metadata"]["generation"] + 1
    assert "a" not in after["metadata"]["annotations"]
