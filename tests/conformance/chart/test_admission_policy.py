"""The fence around the ServiceAccount: it admits what SmartOps does, and refuses what else its Role would allow."""

from collections.abc import Iterator
from contextlib import closing
from time import monotonic, sleep
from typing import Any
from uuid import uuid4

import pytest

from signals.proposals.patch_allowlist import forbidden
from tests.conformance.control_plane import ControlPlane
from tests.conformance.release import Helm, Release, released
from tests.kit.client import JSON, MERGE, STRATEGIC, Client, Object

ACTION, RESTART = "smartops.io/action", "smartops.io/restart"
WEB = "deployments/web"
ON_LINUX = {"matchExpressions": [{"key": "kubernetes.io/os", "operator": "In", "values": ["linux"]}]}


@pytest.fixture(scope="module")
def release(control_plane: ControlPlane, helm: Helm) -> Iterator[Release]:
    with released(control_plane, helm, {"admissionPolicy": {"enabled": True}}) as found:
        yield found


@pytest.fixture(scope="module")
def admin(control_plane: ControlPlane, release: Release) -> Iterator[Client]:
    with closing(Client(control_plane.kubeconfig, release.namespace)) as client:
        client.create("deployments", workload())
        yield client


@pytest.fixture(scope="module")
def smartops(release: Release, admin: Client) -> Iterator[Client]:
    """With the ServiceAccount's token, once the policy is in force."""
    with closing(Client(release.account, release.namespace)) as client:
        deadline = monotonic() + 30
        while client.send("PATCH", WEB, {"spec": {"paused": True}}, MERGE, dryRun="All")[0] == 200:
            assert monotonic() < deadline, "the policy does not come into force"
            sleep(0.05)
        yield client


def workload() -> Object:
    container = {
        "name": "app",
        "image": "example.test/app:1",
        "command": ["/app"],
        "ports": [{"containerPort": 8080}],
        "volumeMounts": [{"name": "cache", "mountPath": "/cache"}],
        "resources": {"limits": {"memory": "64Mi"}},
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
    }
    pod = {
        "containers": [container, {**container, "name": "sidecar"}],
        "volumes": [{"name": "cache", "emptyDir": {}}],
        "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
    }
    marks = {"app": "web", "example.com/tier": "front"}
    return {
        "metadata": {"name": "web", "labels": marks, "annotations": {"example.com/owner": "shop"}},
        "spec": {
            "selector": {"matchLabels": {"app": "web"}},
            "template": {"metadata": {"labels": marks, "annotations": {"plain": "1"}}, "spec": pod},
        },
    }


def pod(**spec: Any) -> Object:
    return {"spec": {"template": {"spec": spec}}}


def pod_marks(**metadata: Any) -> Object:
    return {"spec": {"template": {"metadata": metadata}}}


def app(**container: Any) -> Object:
    return pod(containers=[{"name": "app", **container}])


def event(namespace: str, component: str) -> Object:
    target = {"kind": "Deployment", "name": "web", "namespace": namespace}
    return {"metadata": {"generateName": "web."}, "involvedObject": target, "reportingComponent": component}


def with_action(patch: Object, action: str) -> Object:
    metadata = patch.get("metadata", {})
    annotations = {**metadata.get("annotations", {}), ACTION: action}
    return {**patch, "metadata": {**metadata, "annotations": annotations}}


ADMITTED: dict[str, Object] = {
    "replicas": {"spec": {"replicas": 3}},
    "no replicas": {"spec": {"replicas": 0}},
    "paused": {"spec": {"paused": True}},
    "minReadySeconds": {"spec": {"minReadySeconds": 5}},
    "progressDeadlineSeconds": {"spec": {"progressDeadlineSeconds": 900}},
    "revisionHistoryLimit": {"spec": {"revisionHistoryLimit": 3}},
    "strategy": {"spec": {"strategy": {"rollingUpdate": {"maxSurge": 2}}}},
    "labels": {"metadata": {"labels": {"example.com/tier": "back", "new": "1"}}},
    "annotations": {"metadata": {"annotations": {"example.com/owner": "sre"}}},
    "an annotation less": {"metadata": {"annotations": {"example.com/owner": None}}},
    "a pod's label": pod_marks(labels={"colour": "blue"}),
    "a pod's annotation": pod_marks(annotations={"plain": "2"}),
    "a pod's annotation less": pod_marks(annotations={"plain": None}),
    "kubectl's way to restart": pod_marks(annotations={"kubectl.kubernetes.io/restartedAt": "2026-01-01T00:00:00Z"}),
    "limits": app(resources={"limits": {"memory": "128Mi", "cpu": "1"}}),
    "requests": app(resources={"requests": {"memory": "64Mi"}}),
    "resources of both containers": pod(
        containers=[{"name": name, "resources": {"limits": {"memory": "256Mi"}}} for name in ("sidecar", "app")]
    ),
    "terminationGracePeriodSeconds": pod(terminationGracePeriodSeconds=60),
    "nodeSelector": pod(nodeSelector={"kubernetes.io/os": "linux"}),
    "tolerations": pod(tolerations=[{"key": "dedicated", "operator": "Exists"}]),
    "affinity": pod(
        affinity={"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [ON_LINUX]}}}
    ),
    "topologySpreadConstraints": pod(
        topologySpreadConstraints=[
            {
                "maxSkew": 1,
                "topologyKey": "kubernetes.io/hostname",
                "whenUnsatisfiable": "ScheduleAnyway",
                "labelSelector": {"matchLabels": {"app": "web"}},
            }
        ]
    ),
}

REFUSED: dict[str, tuple[Object, str]] = {
    "image": (app(image="example.test/other:1"), "spec.template.spec.containers[app]"),
    "command": (app(command=["/bin/sh"]), "spec.template.spec.containers[app]"),
    "args": (app(args=["-c"]), "spec.template.spec.containers[app]"),
    "environment": (app(env=[{"name": "A", "value": "1"}]), "spec.template.spec.containers[app]"),
    "privileges": (app(securityContext={"runAsUser": 0}), "spec.template.spec.containers[app]"),
    "mounts": (app(volumeMounts=[{"name": "cache", "mountPath": "/etc"}]), "spec.template.spec.containers[app]"),
    "claims": (
        pod(
            resourceClaims=[{"name": "gpu", "resourceClaimName": "gpu"}],
            containers=[{"name": "app", "resources": {"claims": [{"name": "gpu"}]}}],
        ),
        "spec.template.spec.containers[app]",
    ),
    "another container": (
        pod(containers=[{"name": "miner", "image": "example.test/miner:1"}]),
        "spec.template.spec.containers[miner]",
    ),
    "a container less": (
        pod(containers=[{"$patch": "delete", "name": "sidecar"}]),
        "spec.template.spec.containers[sidecar]",
    ),
    "an initial container": (
        pod(initContainers=[{"name": "first", "image": "example.test/miner:1"}]),
        "spec.template.spec.initContainers",
    ),
    "volumes": (pod(volumes=[{"name": "host", "hostPath": {"path": "/"}}]), "spec.template.spec.volumes"),
    "serviceAccountName": (
        pod(serviceAccountName="admin"),
        "spec.template.spec.serviceAccountName",
    ),
    "hostNetwork": (pod(hostNetwork=True), "spec.template.spec.hostNetwork"),
    "hostPID": (pod(hostPID=True), "spec.template.spec.hostPID"),
    "the pod's security": (pod(securityContext={"runAsNonRoot": None}), "spec.template.spec.securityContext"),
    "runtimeClassName": (pod(runtimeClassName="other"), "spec.template.spec.runtimeClassName"),
    "priorityClassName": (pod(priorityClassName="system-node-critical"), "spec.template.spec.priorityClassName"),
    "imagePullSecrets": (pod(imagePullSecrets=[{"name": "other"}]), "spec.template.spec.imagePullSecrets"),
    "ownerReferences": (
        {"metadata": {"ownerReferences": [{"apiVersion": "v1", "kind": "Pod", "name": "a", "uid": "b"}]}},
        "metadata.ownerReferences",
    ),
    "finalizers": ({"metadata": {"finalizers": ["example.com/never"]}}, "metadata.finalizers"),
    "a label of ours": (
        {"metadata": {"labels": {"smartops.io/managed": "no"}}},
        "metadata.labels[smartops.io/managed]",
    ),
    "an annotation of ours": (
        {"metadata": {"annotations": {"app.smartops.io/note": "1"}}},
        "metadata.annotations[app.smartops.io/note]",
    ),
    "what kubectl applied last": (
        {"metadata": {"annotations": {"kubectl.kubernetes.io/last-applied-configuration": "{}"}}},
        "metadata.annotations[kubectl.kubernetes.io/last-applied-configuration]",
    ),
    "an order to a webhook": (
        pod_marks(annotations={"sidecar.example.com/inject": "true"}),
        "spec.template.metadata.annotations[sidecar.example.com/inject]",
    ),
    "another identity": (
        pod_marks(labels={"azure.workload.identity/use": "true"}),
        "spec.template.metadata.labels[azure.workload.identity/use]",
    ),
    "a restart of no action": (
        pod_marks(annotations={RESTART: "again"}),
        "spec.template.metadata.annotations[smartops.io/restart]",
    ),
}


@pytest.mark.parametrize("patch", ADMITTED.values(), ids=ADMITTED)
def test_a_patch_that_the_allowlist_allows_is_admitted(smartops: Client, patch: Object) -> None:
    assert forbidden(patch) is None

    status, answer = smartops.send("PATCH", WEB, with_action(patch, str(uuid4())), STRATEGIC, fieldManager="smartops")

    assert status == 200, answer["message"]


@pytest.mark.parametrize(("patch", "path"), REFUSED.values(), ids=REFUSED)
def test_a_patch_that_the_allowlist_refuses_is_refused_by_its_path(smartops: Client, patch: Object, path: str) -> None:
    assert forbidden(patch) is not None

    status, answer = smartops.send("PATCH", WEB, with_action(patch, str(uuid4())), STRATEGIC, fieldManager="smartops")

    assert status == 403, answer["message"]
    _, _, paths = answer["message"].partition("SmartOps does not change ")
    assert path in paths.split(", ")


def test_a_restart_is_admitted_with_its_own_action_alone(smartops: Client) -> None:
    action, other = str(uuid4()), str(uuid4())
    restart = pod_marks(annotations={RESTART: action})

    refused = smartops.send("PATCH", WEB, with_action(restart, other), STRATEGIC)
    admitted = smartops.send("PATCH", WEB, with_action(restart, action), STRATEGIC)

    assert (refused[0], admitted[0]) == (403, 200)


@pytest.mark.parametrize("annotations", [None, {}, {ACTION: None}, {ACTION: ""}, {ACTION: "mine"}], ids=str)
def test_a_change_of_no_action_is_refused(smartops: Client, annotations: Any) -> None:
    status, answer = smartops.send(
        "PATCH", WEB, {"metadata": {"annotations": annotations}, "spec": {"replicas": 2}}, STRATEGIC
    )

    assert status == 403
    assert "smartops.io/action" in answer["message"]


def test_a_second_change_of_one_action_is_refused(smartops: Client) -> None:
    action = str(uuid4())

    first = smartops.send("PATCH", WEB, with_action({"spec": {"replicas": 2}}, action), STRATEGIC)
    second = smartops.send("PATCH", WEB, with_action({"spec": {"replicas": 3}}, action), STRATEGIC)

    assert (first[0], second[0]) == (200, 403)


def test_a_write_that_the_role_allows_beyond_the_policy_is_refused(
    smartops: Client, admin: Client, release: Release
) -> None:
    replicaset, some_pod = (admin.wait(kind, lambda _: True)["metadata"]["name"] for kind in ("replicasets", "pods"))
    scaled = {"spec": {"replicas": 5}}
    writes = [
        ("PATCH", f"{WEB}/scale", scaled, MERGE),
        ("PATCH", f"replicasets/{replicaset}", scaled, MERGE),
        ("DELETE", f"pods/{some_pod}", None, JSON),
        ("POST", "events", event(release.namespace, "kubelet"), JSON),
    ]

    for method, path, body, content_type in writes:
        status, answer = smartops.send(method, path, body, content_type)
        assert status == 403, answer["message"]
        assert "SmartOps patches Deployments" in answer["message"]


def test_events_of_smartops_are_admitted(smartops: Client, release: Release) -> None:
    assert smartops.create("events", event(release.namespace, "smartops.io/orchestrator"))


def test_other_accounts_are_not_restricted_by_the_policy(admin: Client) -> None:
    assert admin.patch(WEB, app(image="example.test/app:2"), STRATEGIC)
