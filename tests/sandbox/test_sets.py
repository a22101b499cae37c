"""The controllers of StatefulSets and DaemonSets, seen from outside, with kubectl as a witness."""

from pathlib import Path

import pytest

from smartops.dev.sandbox import Sandbox
from tests.kit.client import Client, Object
from tests.kit.kubectl import Kubectl, kubectl_on
from tests.kit.manifests import daemon_set, stateful_set
from tests.kit.patience import PATIENCE

DB, AGENT = "statefulsets/db", "daemonsets/agent"
SETS, DAEMONS = "statefulsets", "daemonsets"
LONG = f"--timeout={PATIENCE:.0f}s"
RESTART = {"spec": {"template": {"metadata": {"annotations": {"restarted": "now"}}}}}


@pytest.fixture
def kubectl(sandbox: Sandbox, tmp_path: Path) -> Kubectl:
    return kubectl_on(sandbox.kubeconfig, "default", tmp_path)


def pods(client: Client, label: str = "controller-revision-hash") -> dict[str, str]:
    """A label of each, by name."""
    return {pod["metadata"]["name"]: pod["metadata"]["labels"][label] for pod in client.get("pods")["items"]}


def add_nodes(client: Client, *names: str) -> None:
    for name in names:
        client.create("/api/v1/nodes", {"metadata": {"name": name, "labels": {"disk": "ssd"}}})


def order(client: Client, reason: str, kind: str = "StatefulSet") -> list[str]:
    found = client.get("events", fieldSelector=f"involvedObject.kind={kind},reason={reason}")["items"]
    oldest_first = sorted(found, key=lambda event: int(event["metadata"]["resourceVersion"]))
    return [event["message"].split()[2] for event in oldest_first]


def test_a_stateful_set_starts_its_pods_in_their_order(client: Client) -> None:
    client.create(SETS, stateful_set(replicas=3))
    done = client.rolled_out("db", resource=SETS)

    assert pods(client, "apps.kubernetes.io/pod-index") == {"db-0": "0", "db-1": "1", "db-2": "2"}
    assert order(client, "SuccessfulCreate") == ["db-0", "db-1", "db-2"]
    assert done["status"]["currentRevision"] == done["status"]["updateRevision"]
    assert set(pods(client).values()) == {done["status"]["updateRevision"]}


def test_a_pod_that_does_not_become_ready_holds_up_the_next_unless_they_start_in_parallel(client: Client) -> None:
    client.create(SETS, stateful_set(replicas=2, sim={"outcome": "stuck"}))
    client.create(SETS, stateful_set("all", 2, sim={"outcome": "stuck"}, podManagementPolicy="Parallel"))
    client.wait(SETS, lambda found: found.get("status", {}).get("replicas") == 2, fieldSelector="metadata.name=all")

    assert set(pods(client)) == {"db-0", "all-0", "all-1"}


def test_a_restart_replaces_the_pods_of_a_stateful_set_from_the_last_to_the_first(client: Client) -> None:
    client.create(SETS, stateful_set(replicas=3))
    before = client.rolled_out("db", resource=SETS)["status"]["currentRevision"]
    generation = client.patch(DB, RESTART)["metadata"]["generation"]
    done = client.rolled_out("db", generation, SETS)

    assert order(client, "SuccessfulDelete") == ["db-2", "db-1", "db-0"]
    assert done["status"]["currentRevision"] not in ("", before)
    assert set(pods(client).values()) == {done["status"]["currentRevision"]}
    assert [one["revision"] for one in client.get("controllerrevisions")["items"]] in ([1, 2], [2, 1])


def test_pods_below_the_partition_keep_their_template(client: Client, kubectl: Kubectl) -> None:
    strategy = {"type": "RollingUpdate", "rollingUpdate": {"partition": 2}}
    client.create(SETS, stateful_set(replicas=3, updateStrategy=strategy))
    client.rolled_out("db", resource=SETS)
    client.patch(DB, RESTART)
    ran = kubectl("rollout", "status", DB, LONG)
    assert ran.said.splitlines()[-1] == "partitioned roll out complete: 1 new pods have been updated..."

    status = client.get(DB)["status"]
    old, new = status["currentRevision"], status["updateRevision"]
    assert (old != new, pods(client)) == (True, {"db-0": old, "db-1": old, "db-2": new})
    client.send("DELETE", "pods/db-0")
    client.wait("pods", lambda pod: pod["status"]["phase"] == "Running", fieldSelector="metadata.name=db-0")
    assert pods(client)["db-0"] == old

    client.patch(DB, {"spec": {"updateStrategy": {"rollingUpdate": {"partition": 0}}}})
    assert client.rolled_out("db", 3, SETS)["status"]["currentRevision"] == new


def test_a_stateful_set_lets_as_many_pods_go_as_may_be_unavailable(client: Client) -> None:
    strategy = {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 2}}
    client.create(SETS, stateful_set(replicas=3, updateStrategy=strategy))
    client.rolled_out("db", resource=SETS)
    client.patch(DB, {"spec": {"template": {"metadata": {"annotations": {"sim/outcome": "stuck"}}}}})
    client.wait(SETS, lambda found: found["status"].get("readyReplicas", 0) == 1)

    assert order(client, "SuccessfulDelete") == ["db-2", "db-1"]


@pytest.mark.parametrize(("resource", "path", "made"), [(SETS, DB, stateful_set()), (DAEMONS, AGENT, daemon_set())])
def test_on_delete_nothing_is_replaced_until_somebody_deletes_a_pod(
    client: Client, kubectl: Kubectl, resource: str, path: str, made: Object
) -> None:
    made["spec"]["updateStrategy"] = {"type": "OnDelete"}
    client.create(resource, made)
    name = made["metadata"]["name"]
    before = client.rolled_out(name, resource=resource) and pods(client)
    client.patch(path, RESTART)
    client.wait(resource, lambda found: found["status"]["observedGeneration"] == 2)
    assert pods(client) == before
    assert "only available for RollingUpdate" in kubectl("rollout", "status", path).said

    client.send("DELETE", f"pods/{next(iter(before))}")
    client.wait("pods", lambda pod: pod["metadata"]["labels"]["controller-revision-hash"] not in before.values())


def test_a_smaller_stateful_set_loses_its_last_pods(client: Client, kubectl: Kubectl) -> None:
    client.create(SETS, stateful_set(replicas=3))
    client.rolled_out("db", resource=SETS)
    assert kubectl("scale", DB, "--replicas=1").code == 0
    client.rolled_out("db", 2, SETS)

    assert (list(pods(client)), order(client, "SuccessfulDelete")) == (["db-0"], ["db-2", "db-1"])


def test_most_fields_of_a_stateful_set_cannot_be_changed(client: Client) -> None:
    client.create(SETS, stateful_set())
    status, answer = client.send("PATCH", DB, {"spec": {"serviceName": "other"}}, "application/merge-patch+json")

    assert (status, answer["details"]["causes"][0]["reason"]) == (422, "FieldValueForbidden")


def test_a_daemon_set_has_a_pod_on_each_node_that_it_selects(client: Client, kubectl: Kubectl) -> None:
    add_nodes(client, "a", "b")
    client.create(DAEMONS, daemon_set())
    done = client.rolled_out("agent", resource=DAEMONS)
    assert done["status"]["desiredNumberScheduled"] == 3
    assert {pod["spec"]["nodeName"] for pod in client.get("pods")["items"]} == {"smartops-sandbox", "a", "b"}
    assert kubectl("rollout", "status", AGENT).said == 'daemon set "agent" successfully rolled out\n'
    assert kubectl("get", "daemonsets").said.splitlines()[1].split()[:6] == ["agent", "3", "3", "3", "3", "3"]

    client.patch(AGENT, {"spec": {"template": {"spec": {"nodeSelector": {"disk": "ssd"}}}}})
    assert client.rolled_out("agent", 2, DAEMONS)["status"]["desiredNumberScheduled"] == 2
    client.send("DELETE", "/api/v1/nodes/a")
    client.wait(DAEMONS, lambda found: found["status"]["desiredNumberScheduled"] == 1)


@pytest.mark.parametrize("rolling", [{"maxUnavailable": 1}, {"maxSurge": 1, "maxUnavailable": 0}])
def test_a_restart_replaces_the_pods_of_a_daemon_set_one_by_one(client: Client, rolling: dict[str, int]) -> None:
    add_nodes(client, "a", "b")
    strategy = {"type": "RollingUpdate", "rollingUpdate": rolling}
    client.create(DAEMONS, daemon_set(updateStrategy=strategy))
    client.rolled_out("agent", resource=DAEMONS)
    before = pods(client)
    changed = client.patch(AGENT, RESTART)
    assert changed["metadata"]["annotations"] == {"deprecated.daemonset.template.generation": "2"}

    least = [3]

    def ended(found: Object) -> bool:
        status = found["status"]
        least.append(status.get("numberAvailable", 0))
        return status["observedGeneration"] == 2 and (status.get("updatedNumberScheduled"), least[-1]) == (3, 3)

    client.wait(DAEMONS, ended, resourceVersion=changed["metadata"]["resourceVersion"])
    assert min(least) == (3 if "maxSurge" in rolling else 2)
    assert set(pods(client).values()).isdisjoint(before.values())


def test_a_daemon_set_whose_new_pods_are_broken_loses_no_more_pods(client: Client) -> None:
    add_nodes(client, "a")
    client.create(DAEMONS, daemon_set())
    client.rolled_out("agent", resource=DAEMONS)
    client.patch(AGENT, {"spec": {"template": {"metadata": {"annotations": {"sim/outcome": "stuck"}}}}})
    found = client.wait(DAEMONS, lambda found: found["status"].get("updatedNumberScheduled") == 1)
    assert found["status"]["numberAvailable"] == 1

    client.patch(AGENT, {"spec": {"template": {"metadata": {"annotations": {"sim/outcome": None}}}}})
    assert client.rolled_out("agent", 3, DAEMONS)


@pytest.mark.parametrize("path", [DB, AGENT])
def test_kubectl_restarts_and_undoes_it(client: Client, kubectl: Kubectl, path: str) -> None:
    resource, _, name = path.partition("/")
    client.create(resource, (stateful_set if resource == SETS else daemon_set)())
    client.rolled_out(name, resource=resource)
    before = pods(client)
    assert kubectl("rollout", "restart", path).code == 0
    assert kubectl("rollout", "status", path, LONG).code == 0
    assert set(pods(client).values()).isdisjoint(before.values())

    assert kubectl("rollout", "undo", path).code == 0
    assert kubectl("rollout", "status", path, LONG).code == 0
    assert set(pods(client).values()) == set(before.values())
