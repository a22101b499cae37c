"""The fence around the ServiceAccount: it admits what SmartOps does, and refuses what else its Role would allow."""

from collections.abc import Iterator
from contextlib import closing
from typing import Any
from uuid import uuid4

import pytest

from signals.proposals.patch_allowlist import forbidden
from tests.conformance.control_plane import ControlPlane
from tests.conformance.release import Helm, Release, released
from tests.kit.client import JSON, MERGE, STRATEGIC, Client, Object

ACTION, RESTART = "smartops.io/action", "smartops.io/restart"
WEB = "deployments/web"
PREFIXES = ("allowed.example.com/",)
ON_LINUX = {"matchExpressions": [{"key": "kubernetes.io/os", "operator": "In", "values": ["linux"]}]}


@pytest.fixture(scope="module")
def release(control_plane: ControlPlane, helm: Helm) -> Iterator[Release]:
    values = {
        "admissionPolicy": {"enabled": True},
        "targets": {"allowedPatchPrefixes": list(PREFIXES), "allowedOwnWorkloads": ["smartops-dev/allowed"]},
    }
    with released(control_plane, helm, values) as found:
        yield found


@pytest.fixture(scope="module")
def admin(control_plane: ControlPlane, release: Release) -> Iterator[Client]:
    with closing(Client(control_plane.kubeconfig, release.namespace)) as client:
        client.create("deployments", workload())
        yield client


@pytest.fixture(scope="module")
def smartops(release: Release, admin: Client) -> Iterator[Client]:
    """With the ServiceAccount's token."""
    with closing(Client(release.account, release.namespace)) as client:
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
        "tolerations": [{"key": "node.kubernetes.io/unschedulable", "operator": "Exists"}],
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


REQUIRED, PREFERRED = (
    "requiredDuringSchedulingIgnoredDuringExecution",
    "preferredDuringSchedulingIgnoredDuringExecution",
)
HOST = "kubernetes.io/hostname"
APP = {"matchLabels": {"app": "web"}}


def nodes(*expressions: Object) -> Object:
    return {"nodeAffinity": {REQUIRED: {"nodeSelectorTerms": [{"matchExpressions": list(expressions)}]}}}


ADMITTED: dict[str, Object] = {
    "replicas": {"spec": {"replicas": 3}},
    "no replicas": {"spec": {"replicas": 0}},
    "paused": {"spec": {"paused": True}},
    "minReadySeconds": {"spec": {"minReadySeconds": 5}},
    "progressDeadlineSeconds": {"spec": {"progressDeadlineSeconds": 900}},
    "revisionHistoryLimit": {"spec": {"revisionHistoryLimit": 3}},
    "strategy": {"spec": {"strategy": {"rollingUpdate": {"maxSurge": 2, "maxUnavailable": "50%"}}}},
    "labels": {"metadata": {"labels": {"team": "sre", "allowed.example.com/tier": "back"}}},
    "annotations": {"metadata": {"annotations": {"owner": "sre", "allowed.example.com/owner": "sre"}}},
    "an annotation less": {"metadata": {"annotations": {"owner": None}}},
    "a pod's label of an allowed prefix": pod_marks(labels={"allowed.example.com/colour": "blue"}),
    "a pod's annotation": pod_marks(annotations={"plain": "2"}),
    "a pod's annotation less": pod_marks(annotations={"plain": None}),
    "kubectl's way to restart": pod_marks(annotations={"kubectl.kubernetes.io/restartedAt": "2026-01-01T00:00:00Z"}),
    "limits": app(resources={"limits": {"memory": "128Mi", "cpu": "1"}}),
    "requests": app(resources={"requests": {"memory": "64Mi"}}),
    "resources of both containers": pod(
        containers=[{"name": name, "resources": {"limits": {"memory": "256Mi"}}} for name in ("app", "sidecar")]
    ),
    "terminationGracePeriodSeconds": pod(terminationGracePeriodSeconds=60),
    "nodeSelector": pod(nodeSelector={"kubernetes.io/os": "linux"}),
    "the most resources": app(resources={"limits": {"cpu": "32", "memory": "128Gi", "ephemeral-storage": "1Ti"}}),
    "resources of an allowed prefix": app(
        resources={"limits": {"allowed.example.com/gpu": 1}, "requests": {"allowed.example.com/gpu": "1"}}
    ),
    "the longest deadlines": {"spec": {"progressDeadlineSeconds": 3600, "minReadySeconds": 600}},
    "the longest grace": pod(terminationGracePeriodSeconds=3600),
    "the shortest grace": pod(terminationGracePeriodSeconds=1),
    "tolerations": pod(tolerations=[{"key": "dedicated", "operator": "Exists"}]),
    "no tolerations": pod(tolerations=None),
    "away from a node": pod(affinity=nodes({"key": HOST, "operator": "NotIn", "values": ["broken"]})),
    "away from pods": pod(affinity={"podAntiAffinity": {REQUIRED: [{"topologyKey": HOST, "labelSelector": APP}]}}),
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
    "a prefixed label": (
        {"metadata": {"labels": {"app.kubernetes.io/instance": "other"}}},
        "metadata.labels[app.kubernetes.io/instance]",
    ),
    "a prefixed label less": (
        {"metadata": {"labels": {"example.com/tier": None}}},
        "metadata.labels[example.com/tier]",
    ),
    "a well-known label": ({"metadata": {"labels": {"app": "other"}}}, "metadata.labels[app]"),
    "a prefixed annotation": (
        {"metadata": {"annotations": {"argocd.argoproj.io/tracking-id": "other:apps/Deployment:ns/x"}}},
        "metadata.annotations[argocd.argoproj.io/tracking-id]",
    ),
    "a pod's label": (pod_marks(labels={"colour": "blue"}), "spec.template.metadata.labels[colour]"),
    "a pod's label less": (
        pod_marks(labels={"example.com/tier": None}),
        "spec.template.metadata.labels[example.com/tier]",
    ),
    "a directive for the order": (
        pod(
            **{"$setElementOrder/containers": [{"name": "sidecar"}, {"name": "app"}]},
            containers=[{"name": name, "resources": {"limits": {"cpu": "1"}}} for name in ("sidecar", "app")],
        ),
        "spec.template.spec.containers",
    ),
    "no limits": (
        pod(containers=[{"name": "sidecar", "resources": {"limits": None}}]),
        "spec.template.spec.containers[sidecar]",
    ),
    "a limit less": (app(resources={"limits": {"memory": None}}), "spec.template.spec.containers[app]"),
    "too much memory": (app(resources={"limits": {"memory": "129Gi"}}), "spec.template.spec.containers[app]"),
    "too much CPU": (
        app(resources={"limits": {"cpu": "40"}, "requests": {"cpu": "32001m"}}),
        "spec.template.spec.containers[app]",
    ),
    "no CPU": (app(resources={"requests": {"cpu": 0}}), "spec.template.spec.containers[app]"),
    "an extended resource": (
        app(resources={"limits": {"example.com/gpu": 1}, "requests": {"example.com/gpu": 1}}),
        "spec.template.spec.containers[app]",
    ),
    "no grace": (pod(terminationGracePeriodSeconds=0), "spec.template.spec.terminationGracePeriodSeconds"),
    "a day of grace": (pod(terminationGracePeriodSeconds=86400), "spec.template.spec.terminationGracePeriodSeconds"),
    "no history": ({"spec": {"revisionHistoryLimit": 0}}, "spec.revisionHistoryLimit"),
    "an endless deadline": ({"spec": {"progressDeadlineSeconds": 2**31 - 1}}, "spec.progressDeadlineSeconds"),
    "a deadline at once": (
        {"spec": {"progressDeadlineSeconds": 9, "minReadySeconds": 0}},
        "spec.progressDeadlineSeconds",
    ),
    "late readiness": (
        {"spec": {"minReadySeconds": 601, "progressDeadlineSeconds": 900}},
        "spec.minReadySeconds",
    ),
    "Recreate": ({"spec": {"strategy": {"type": "Recreate", "rollingUpdate": None}}}, "spec.strategy.type"),
    "all unavailable": (
        {"spec": {"strategy": {"rollingUpdate": {"maxUnavailable": "100%"}}}},
        "spec.strategy.rollingUpdate.maxUnavailable",
    ),
    "several unavailable": (
        {"spec": {"strategy": {"rollingUpdate": {"maxUnavailable": 2}}}},
        "spec.strategy.rollingUpdate.maxUnavailable",
    ),
    "a large surge": (
        {"spec": {"strategy": {"rollingUpdate": {"maxSurge": 9}}}},
        "spec.strategy.rollingUpdate.maxSurge",
    ),
    "tolerations of everything": (pod(tolerations=[{"operator": "Exists"}]), "spec.template.spec.tolerations"),
    "toleration of the control plane": (
        pod(tolerations=[{"key": "node-role.kubernetes.io/control-plane", "operator": "Exists"}]),
        "spec.template.spec.tolerations",
    ),
    "toleration of an autoscaler's taint": (
        pod(tolerations=[{"key": "ToBeDeletedByClusterAutoscaler", "operator": "Exists"}]),
        "spec.template.spec.tolerations",
    ),
    "one node": (pod(nodeSelector={HOST: "node-1"}), f"spec.template.spec.nodeSelector[{HOST}]"),
    "the control plane by its value": (
        pod(nodeSelector={"example.com/role": "control-plane"}),
        "spec.template.spec.nodeSelector[example.com/role]",
    ),
    "the control plane by affinity": (
        pod(affinity=nodes({"key": "node-role.kubernetes.io/control-plane", "operator": "Exists"})),
        "spec.template.spec.affinity.nodeAffinity",
    ),
    "a node by its name": (
        pod(
            affinity={
                "nodeAffinity": {
                    PREFERRED: [
                        {
                            "weight": 1,
                            "preference": {
                                "matchFields": [{"key": "metadata.name", "operator": "In", "values": ["node-1"]}]
                            },
                        }
                    ]
                }
            }
        ),
        "spec.template.spec.affinity.nodeAffinity",
    ),
    "pods of other namespaces": (
        pod(
            affinity={
                "podAntiAffinity": {REQUIRED: [{"topologyKey": HOST, "labelSelector": APP, "namespaceSelector": {}}]}
            }
        ),
        "spec.template.spec.affinity",
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
    assert forbidden(patch, PREFIXES, ("app", "sidecar")) is None

    status, answer = smartops.send("PATCH", WEB, with_action(patch, str(uuid4())), STRATEGIC, fieldManager="smartops")

    assert status == 200, answer["message"]


@pytest.mark.parametrize(("patch", "path"), REFUSED.values(), ids=REFUSED)
def test_a_patch_that_the_allowlist_refuses_is_refused_by_its_path(smartops: Client, patch: Object, path: str) -> None:
    assert forbidden(patch, PREFIXES, ("app", "sidecar")) is not None

    status, answer = smartops.send("PATCH", WEB, with_action(patch, str(uuid4())), STRATEGIC, fieldManager="smartops")

    assert status == 403, answer["message"]
    _, _, paths = answer["message"].partition("SmartOps does not change ")
    assert path in paths.split(", ")


ROLLING = {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 1}}
OF_SETS: dict[str, tuple[Object, bool]] = {
    "a restart by kubectl's annotation": (pod_marks(annotations={"kubectl.kubernetes.io/restartedAt": "now"}), True),
    "limits": (app(resources={"limits": {"memory": "128Mi"}}), True),
    "revisionHistoryLimit": ({"spec": {"revisionHistoryLimit": 3}}, True),
    "updateStrategy": ({"spec": {"updateStrategy": ROLLING}}, True),
    "too many unavailable": ({"spec": {"updateStrategy": {"rollingUpdate": {"maxUnavailable": 2}}}}, False),
    "OnDelete": ({"spec": {"updateStrategy": {"type": "OnDelete", "rollingUpdate": None}}}, False),
    "an image": (app(image="example.test/app:2"), False),
    "a ServiceAccount": (pod(serviceAccountName="other"), False),
}


@pytest.mark.parametrize("resource", ["statefulsets", "daemonsets"])
@pytest.mark.parametrize(("patch", "admitted"), OF_SETS.values(), ids=OF_SETS)
def test_sets_have_the_same_allowlist(
    smartops: Client, admin: Client, resource: str, patch: Object, admitted: bool
) -> None:
    if admin.send("GET", f"{resource}/web")[0] == 404:
        admin.create(resource, workload())
    assert (forbidden(patch, PREFIXES, ("app", "sidecar")) is None) is admitted

    status, answer = smartops.send("PATCH", f"{resource}/web", with_action(patch, str(uuid4())), STRATEGIC)

    assert status == (200 if admitted else 403), answer["message"]


@pytest.mark.parametrize(
    "patch",
    [
        {"spec": {"replicas": 2}},
        {"spec": {"updateStrategy": {"rollingUpdate": {"partition": 1}}}},
        {"spec": {"persistentVolumeClaimRetentionPolicy": {"whenDeleted": "Delete"}}},
        {"spec": {"ordinals": {"start": 1}}},
    ],
    ids=str,
)
def test_a_stateful_set_is_scaled_and_its_data_is_not_touched(smartops: Client, admin: Client, patch: Object) -> None:
    if admin.send("GET", "statefulsets/web")[0] == 404:
        admin.create("statefulsets", workload())
    admitted = forbidden(patch) is None

    status, answer = smartops.send("PATCH", "statefulsets/web", with_action(patch, str(uuid4())), STRATEGIC)

    assert status == (200 if admitted else 403), answer["message"]
    assert admitted is bool({"replicas", "updateStrategy"} & patch["spec"].keys())


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
    # Those of the Deployment come and go with its rollouts.
    alone, spec = {"metadata": {"name": "alone"}}, workload()["spec"]
    admin.create("pods", {**alone, "spec": spec["template"]["spec"]})
    admin.create("replicasets", {**alone, "spec": {**spec, "replicas": 0}})
    scaled = {"spec": {"replicas": 5}}
    writes = [
        ("PATCH", f"{WEB}/scale", scaled, MERGE),
        ("PATCH", "replicasets/alone", scaled, MERGE),
        ("DELETE", "pods/alone", None, JSON),
        ("POST", "events", event(release.namespace, "kubelet"), JSON),
    ]

    for method, path, body, content_type in writes:
        status, answer = smartops.send(method, path, body, content_type)
        assert status == 403, answer["message"]
        assert "SmartOps patches workloads" in answer["message"]


def test_events_of_smartops_are_admitted(smartops: Client, release: Release) -> None:
    assert smartops.create("events", event(release.namespace, "smartops.io/orchestrator"))


def test_other_accounts_are_not_restricted_by_the_policy(admin: Client) -> None:
    assert admin.patch(WEB, app(image="example.test/app:2"), STRATEGIC)


def test_containers_in_another_order_are_refused(smartops: Client) -> None:
    patch = pod(containers=[{"name": name, "resources": {"limits": {"cpu": "1"}}} for name in ("sidecar", "app")])
    assert forbidden(patch, (), ("app", "sidecar")) is not None

    status, answer = smartops.send("PATCH", WEB, with_action(patch, str(uuid4())), STRATEGIC)

    assert (status, answer["message"].endswith("does not change spec.template.spec.containers")) == (403, True)


@pytest.mark.parametrize(
    ("name", "labels", "selected", "account"),
    [
        ("smartops-orchestrator-web", {}, {}, ""),
        ("labelled", {"app.kubernetes.io/part-of": "smartops"}, {}, ""),
        ("selecting", {}, {"app.kubernetes.io/name": "smartops-orchestrator"}, ""),
        ("running-as", {}, {}, "smartops-orchestrator"),
    ],
)
@pytest.mark.parametrize("resource", ["deployments", "statefulsets"])
def test_an_own_workload_is_not_changed(
    smartops: Client, admin: Client, name: str, labels: Object, selected: Object, account: str, resource: str
) -> None:
    path = f"{resource}/{name}"
    if admin.send("GET", path)[0] == 404:  # the release has the first Deployment
        admin.create(resource, own(name, labels, selected, account))
    scaled = with_action({"spec": {"replicas": 3}}, str(uuid4()))

    status, answer = smartops.send("PATCH", path, scaled, STRATEGIC)

    assert status == 403
    assert "does not change its own workloads" in answer["message"]


def own(name: str, labels: Object, selected: Object, account: str) -> Object:
    marks = {"app": name, **selected}
    pod = {"containers": [{"name": "app", "image": "example.test/app:1"}], "serviceAccountName": account}
    template = {"metadata": {"labels": marks}, "spec": pod}
    return {
        "metadata": {"name": name, "labels": labels},
        "spec": {"replicas": 0, "selector": {"matchLabels": marks}, "template": template},
    }
