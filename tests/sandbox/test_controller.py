"""The Deployment controller, seen from outside."""

from collections.abc import Callable

import pytest

from smartops.dev.sandbox import Sandbox
from tests.kit.client import Client, Object, is_complete
from tests.kit.manifests import deployment
from tests.kit.patience import PATIENCE

WEB = "deployments/web"
SETS, PODS = "replicasets", "pods"
RESTART = {"spec": {"template": {"metadata": {"annotations": {"restarted": "now"}}}}}


def conditions(found: Object) -> dict[str, tuple[str, str]]:
    found_conditions = found.get("status", {}).get("conditions", [])
    return {entry["type"]: (entry["status"], entry["reason"]) for entry in found_conditions}


def progressing(reason: str) -> Callable[[Object], bool]:
    return lambda found: conditions(found).get("Progressing", ("", ""))[1] == reason


def names(client: Client, path: str) -> set[str]:
    return {
        item["metadata"]["name"] for item in client.get(path)["items"] if "deletionTimestamp" not in item["metadata"]
    }


def test_a_deployment_brings_up_its_pods(client: Client) -> None:
    client.create("deployments", deployment(replicas=3))
    done = client.rolled_out("web")
    assert conditions(done) == {
        "Available": ("True", "MinimumReplicasAvailable"),
        "Progressing": ("True", "NewReplicaSetAvailable"),
    }
    (replica_set,) = client.get(SETS)["items"]
    assert replica_set["metadata"]["annotations"]["deployment.kubernetes.io/revision"] == "1"
    assert done["metadata"]["annotations"]["deployment.kubernetes.io/revision"] == "1"
    assert done["metadata"]["generation"] == done["status"]["observedGeneration"] == 1
    marked = replica_set["metadata"]["labels"]["pod-template-hash"]
    assert replica_set["metadata"]["name"] == f"web-{marked}"
    for pod in client.get(PODS)["items"]:
        assert pod["metadata"]["ownerReferences"][0]["uid"] == replica_set["metadata"]["uid"]
        assert pod["metadata"]["labels"] == {"app": "web", "pod-template-hash": marked}
        assert pod["metadata"]["name"].rpartition("-")[0] == replica_set["metadata"]["name"]


def test_a_restart_replaces_every_pod_and_keeps_the_old_replica_set(client: Client) -> None:
    client.create("deployments", deployment(replicas=2))
    client.rolled_out("web")
    before = names(client, PODS)
    generation = client.patch(WEB, RESTART)["metadata"]["generation"]
    done = client.rolled_out("web", generation)
    assert names(client, PODS).isdisjoint(before)
    assert len(names(client, SETS)) == 2
    assert done["metadata"]["annotations"]["deployment.kubernetes.io/revision"] == "2"
    events = client.get("events", fieldSelector="involvedObject.kind=Deployment")["items"]
    assert {event["reason"] for event in events} == {"ScalingReplicaSet"}
    assert sum(event["message"].startswith("Scaled up replica set") for event in events) == 3


@pytest.mark.parametrize(
    ("surge", "unavailable", "most", "fewest"),
    [("25%", "25%", 5, 3), (0, 1, 4, 3), (1, 0, 5, 4), ("100%", "50%", 8, 2)],
)
def test_a_rollout_stays_between_max_unavailable_and_max_surge(
    client: Client, surge: int | str, unavailable: int | str, most: int, fewest: int
) -> None:
    strategy = {"rollingUpdate": {"maxSurge": surge, "maxUnavailable": unavailable}}
    client.create("deployments", deployment(replicas=4, strategy=strategy))
    start = client.rolled_out("web")["metadata"]["resourceVersion"]
    old = names(client, PODS)
    ready = dict.fromkeys(old, True)
    client.patch(WEB, RESTART)
    for event in client.watch(PODS, resourceVersion=start, timeoutSeconds=f"{PATIENCE:.0f}"):
        pod = event["object"]
        if event["type"] == "DELETED" or "deletionTimestamp" in pod["metadata"]:
            ready.pop(pod["metadata"]["name"], None)
        else:
            ready[pod["metadata"]["name"]] = pod["status"]["phase"] == "Running"
        assert len(ready) <= most
        assert sum(ready.values()) >= fewest
        if old.isdisjoint(ready) and list(ready.values()) == [True] * 4:
            return
    raise AssertionError("the rollout did not end")


def test_scaling_is_no_rollout(client: Client) -> None:
    client.create("deployments", deployment(replicas=2))
    client.rolled_out("web")
    before = names(client, PODS)
    client.patch(WEB, {"spec": {"replicas": 5}})
    grown = client.rolled_out("web", 2)
    assert names(client, PODS) > before
    assert conditions(grown)["Progressing"] == ("True", "NewReplicaSetAvailable")
    client.patch(WEB, {"spec": {"replicas": 0}})
    gone = client.rolled_out("web", 3)
    assert names(client, PODS) == set()
    assert not any(name in gone["status"] for name in ("replicas", "readyReplicas", "unavailableReplicas"))


def test_recreate_starts_nothing_before_all_old_pods_are_gone(client: Client) -> None:
    client.create("deployments", deployment(replicas=2, strategy={"type": "Recreate"}, sim={"gone_after": "50ms"}))
    start = client.rolled_out("web")["metadata"]["resourceVersion"]
    old = names(client, PODS)
    client.patch(WEB, RESTART)
    alive = set(old)
    for event in client.watch(PODS, resourceVersion=start, timeoutSeconds=f"{PATIENCE:.0f}"):
        name = event["object"]["metadata"]["name"]
        if event["type"] == "DELETED":
            alive.discard(name)
        elif name not in old:
            break
    assert not alive
    client.rolled_out("web", 2)


@pytest.mark.parametrize(
    ("outcome", "phase", "reason", "restarts"),
    [("crash", "Running", "CrashLoopBackOff", 5), ("stuck", "Pending", "ImagePullBackOff", 0)],
)
def test_a_rollout_that_does_not_become_ready_exceeds_its_deadline_and_keeps_the_old_pods(
    client: Client, outcome: str, phase: str, reason: str, restarts: int
) -> None:
    client.create("deployments", deployment(replicas=2, progressDeadlineSeconds=1))
    client.rolled_out("web")
    old = names(client, PODS)
    client.patch(WEB, {"spec": {"template": {"metadata": {"annotations": {"sim/outcome": outcome}}}}})
    failed = client.wait("deployments", progressing("ProgressDeadlineExceeded"))
    assert conditions(failed)["Progressing"][0] == "False"
    assert conditions(failed)["Available"] == ("True", "MinimumReplicasAvailable")
    assert (failed["status"]["updatedReplicas"], failed["status"]["unavailableReplicas"]) == (1, 1)
    (new,) = (pod for pod in client.get(PODS)["items"] if pod["metadata"]["name"] not in old)
    (container,) = new["status"]["containerStatuses"]
    assert (new["status"]["phase"], container["state"]["waiting"]["reason"]) == (phase, reason)
    assert (container["ready"], container["restartCount"]) == (False, restarts)
    assert old < names(client, PODS)
    generation = client.patch(WEB, {"spec": {"template": {"metadata": {"annotations": {"sim/outcome": None}}}}})[
        "metadata"
    ]["generation"]
    back = client.rolled_out("web", generation)
    assert names(client, PODS) == old
    assert conditions(back)["Progressing"] == ("True", "NewReplicaSetAvailable")
    assert back["metadata"]["annotations"]["deployment.kubernetes.io/revision"] == "3"


def test_a_paused_deployment_scales_but_does_not_roll(client: Client) -> None:
    client.create("deployments", deployment(replicas=1))
    client.rolled_out("web")
    client.patch(WEB, {"spec": {"paused": True, "replicas": 2}})
    client.patch(WEB, RESTART)
    paused = client.wait("deployments", lambda found: found["status"].get("availableReplicas") == 2)
    assert conditions(paused)["Progressing"] == ("Unknown", "DeploymentPaused")
    assert len(names(client, SETS)) == 1
    generation = client.patch(WEB, {"spec": {"paused": None}})["metadata"]["generation"]
    client.rolled_out("web", generation)
    assert len(names(client, SETS)) == 2


def test_a_pod_is_available_only_after_min_ready_seconds(client: Client) -> None:
    version = client.create("deployments", deployment(minReadySeconds=1))["metadata"]["resourceVersion"]
    ready = client.wait(
        "deployments", lambda found: found.get("status", {}).get("readyReplicas") == 1, resourceVersion=version
    )
    assert "availableReplicas" not in ready["status"]
    assert conditions(ready)["Available"] == ("False", "MinimumReplicasUnavailable")
    client.rolled_out("web")


def test_a_deleted_pod_is_replaced(client: Client) -> None:
    client.create("deployments", deployment(sim={"gone_after": "20ms"}))
    client.rolled_out("web")
    (name,) = names(client, PODS)
    status, deleting = client.send("DELETE", f"{PODS}/{name}")
    assert (status, deleting["metadata"]["name"], "deletionTimestamp" in deleting["metadata"]) == (200, name, True)
    for event in client.watch(PODS, resourceVersion=deleting["metadata"]["resourceVersion"]):
        if event["type"] == "DELETED":
            assert event["object"]["metadata"]["name"] == name
            break
    client.rolled_out("web")
    assert len(names(client, PODS) - {name}) == 1


def test_a_deleted_deployment_takes_its_dependents_along(client: Client) -> None:
    client.create("deployments", deployment(replicas=2))
    client.rolled_out("web")
    client.send("DELETE", WEB)
    assert client.get(SETS)["items"] == []
    assert names(client, PODS) == set()


def test_an_orphaned_replica_set_is_adopted_by_the_next_deployment(client: Client) -> None:
    client.create("deployments", deployment())
    client.rolled_out("web")
    pods = names(client, PODS)
    client.send("DELETE", WEB, {"propagationPolicy": "Orphan"})
    assert names(client, PODS) == pods
    again = client.create("deployments", deployment())
    client.rolled_out("web")
    assert names(client, PODS) == pods
    (replica_set,) = client.get(SETS)["items"]
    assert replica_set["metadata"]["ownerReferences"][0]["uid"] == again["metadata"]["uid"]


def test_old_replica_sets_are_kept_up_to_the_history_limit(client: Client) -> None:
    client.create("deployments", deployment(revisionHistoryLimit=1))
    client.rolled_out("web")
    for number in range(3):
        patch = {"spec": {"template": {"metadata": {"annotations": {"number": str(number)}}}}}
        client.rolled_out("web", client.patch(WEB, patch)["metadata"]["generation"])
    revisions = {
        item["metadata"]["annotations"]["deployment.kubernetes.io/revision"] for item in client.get(SETS)["items"]
    }
    assert revisions == {"3", "4"}


def test_many_deployments_settle_together(sandbox: Sandbox, client: Client) -> None:
    for index in range(200):
        client.create("deployments", deployment(f"web-{index}", replicas=2))
    waiting = {f"web-{index}" for index in range(200)}
    for event in client.watch("deployments", timeoutSeconds=f"{PATIENCE:.0f}"):
        if is_complete(event["object"], 1):
            waiting.discard(event["object"]["metadata"]["name"])
        if not waiting:
            break
    assert not waiting
