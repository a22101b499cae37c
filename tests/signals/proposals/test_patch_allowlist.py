"""What a patch may touch: tables of both kinds, and the rule behind them for any JSON."""

import re
from collections.abc import Iterator
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from signals.proposals.patch_allowlist import forbidden
from signals.proposals.patch_allowlist.resources import quantity


def of_pods(**spec: Any) -> dict[str, Any]:
    return {"spec": {"template": {"spec": spec}}}


REQUIRED, PREFERRED = (
    "requiredDuringSchedulingIgnoredDuringExecution",
    "preferredDuringSchedulingIgnoredDuringExecution",
)
HOST = "kubernetes.io/hostname"
NODES, PODS = "spec.template.spec.affinity.nodeAffinity", "spec.template.spec.affinity.podAntiAffinity"


def of_nodes(*expressions: Any) -> dict[str, Any]:
    terms = [{"matchExpressions": list(expressions)}]
    return of_pods(affinity={"nodeAffinity": {REQUIRED: {"nodeSelectorTerms": terms}}})


def of_container(**fields: Any) -> dict[str, Any]:
    return of_pods(containers=[{"name": "main", **fields}])


@pytest.mark.parametrize(
    "patch",
    [
        {"metadata": {"labels": {"team": "erp"}}},
        {"metadata": {"labels": {"name": "erp", "team": None}}},
        {"metadata": {"annotations": {"note": "x", "app": "y", "old": None}}},
        {"spec": {"replicas": 0}},
        {"spec": {"replicas": 3, "paused": False, "minReadySeconds": 5}},
        {"spec": {"paused": None, "minReadySeconds": None, "revisionHistoryLimit": None}},
        {"spec": {"progressDeadlineSeconds": 10, "revisionHistoryLimit": 1, "minReadySeconds": 0}},
        {"spec": {"progressDeadlineSeconds": 3600, "revisionHistoryLimit": 100, "minReadySeconds": 600}},
        {"spec": {"strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "25%", "maxUnavailable": 0}}}},
        {"spec": {"strategy": {"rollingUpdate": {"maxSurge": 8, "maxUnavailable": "50%"}}}},
        {"spec": {"strategy": {"type": None, "rollingUpdate": {"maxSurge": "100%", "maxUnavailable": 1}}}},
        {"spec": {"strategy": {"rollingUpdate": None}}},
        {"spec": {"updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": 2}}}},
        {"spec": {"updateStrategy": {"rollingUpdate": {"maxSurge": 8, "maxUnavailable": "50%", "partition": None}}}},
        {"spec": {"updateStrategy": None}},
        {"spec": {"strategy": None}},
        {"spec": {"template": {"metadata": {"annotations": {"kubectl.kubernetes.io/restartedAt": "now"}}}}},
        {"spec": {"template": {"metadata": {"annotations": {"c": "d", "e": None}}}}},
        of_container(resources={"limits": {"memory": "512Mi"}, "requests": {"cpu": "100m"}}),
        of_container(resources={"limits": {"memory": "128Gi", "cpu": 32, "ephemeral-storage": "1Ti"}}),
        of_container(resources={"requests": {"memory": "1e9", "cpu": 0.5, "ephemeral-storage": "1.5M"}}),
        of_pods(
            containers=[{"name": name, "resources": {"limits": {"cpu": "1"}}} for name in ("main", "sidecar", "proxy")]
        ),
        of_pods(terminationGracePeriodSeconds=30, nodeSelector={"disk": "ssd", "old": None}),
        of_pods(terminationGracePeriodSeconds=1),
        of_pods(terminationGracePeriodSeconds=3600),
        of_pods(terminationGracePeriodSeconds=None),
        of_pods(
            nodeSelector={"kubernetes.io/os": "linux", "topology.kubernetes.io/zone": "a", "example.com/pool": "x"}
        ),
        of_pods(nodeSelector={"karpenter.sh/capacity-type": "spot", "team": "webmaster"}),
        of_pods(tolerations=[{"key": "spot", "operator": "Exists"}], topologySpreadConstraints=[]),
        of_pods(tolerations=[{"key": "nvidia.com/gpu", "value": "present", "effect": "NoSchedule"}]),
        of_pods(tolerations=None, affinity=None),
        of_pods(affinity={"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": None}}),
        of_nodes({"key": "disk", "operator": "In", "values": ["ssd"]}),
        of_nodes({"key": "topology.kubernetes.io/zone", "operator": "In", "values": ["a", "b"]}),
        of_nodes({"key": "kubernetes.io/hostname", "operator": "NotIn", "values": ["broken"]}),
        of_nodes({"key": "node-role.kubernetes.io/control-plane", "operator": "DoesNotExist"}),
        of_pods(affinity={"podAntiAffinity": {REQUIRED: [{"labelSelector": {}, "topologyKey": HOST}]}}),
        of_pods(affinity={"podAffinity": {PREFERRED: [{"weight": 1, "podAffinityTerm": {"topologyKey": HOST}}]}}),
    ],
)
def test_what_sizes_and_places_a_workload_is_allowed(patch: dict[str, Any]) -> None:
    assert forbidden(patch) is None


GRACE, TOLERATION = "spec.template.spec.terminationGracePeriodSeconds", "spec.template.spec.tolerations[0]"
EXPRESSION = f"{NODES}.{REQUIRED}.nodeSelectorTerms[0].matchExpressions[0]"
SYSTEM_TAINTS = [
    "node-role.kubernetes.io/control-plane", "node-role.kubernetes.io/master", "node.kubernetes.io/unschedulable",
    "node.kubernetes.io/unreachable", "node.kubernetes.io/not-ready", "CriticalAddonsOnly", "karpenter.sh/disrupted",
    "ToBeDeletedByClusterAutoscaler", "node.cloudprovider.kubernetes.io/uninitialized", "example.com/etcd",
]  # fmt: skip
NODES_OF_ITS_OWN = [
    ("node-role.kubernetes.io/control-plane", ""), ("node-role.kubernetes.io/master", ""), (HOST, "node-1"),
    ("kops.k8s.io/instancegroup", "masters"), ("node.k0sproject.io/role", "control-plane"),
    ("rke.cattle.io/control-plane-role", "true"), ("node.kubernetes.io/microk8s-controlplane", "x"),
]  # fmt: skip


def rolling(**fields: Any) -> dict[str, Any]:
    return {"spec": {"strategy": {"rollingUpdate": fields}}}


@pytest.mark.parametrize(
    ("patch", "path"),
    [
        (of_container(image="evil"), "spec.template.spec.containers[0].image"),
        (of_container(command=["sh"]), "spec.template.spec.containers[0].command"),
        (of_container(args=["-c"]), "spec.template.spec.containers[0].args"),
        (of_container(env=[]), "spec.template.spec.containers[0].env"),
        (of_container(envFrom=[]), "spec.template.spec.containers[0].envFrom"),
        (of_container(volumeMounts=[]), "spec.template.spec.containers[0].volumeMounts"),
        (of_container(securityContext={"privileged": True}), "spec.template.spec.containers[0].securityContext"),
        (of_container(livenessProbe={"exec": {}}), "spec.template.spec.containers[0].livenessProbe"),
        (of_container(lifecycle={}), "spec.template.spec.containers[0].lifecycle"),
        (of_container(resources={"claims": []}), "spec.template.spec.containers[0].resources.claims"),
        (of_container(), "spec.template.spec.containers[0].resources"),
        (of_pods(containers=[{"resources": {}}]), "spec.template.spec.containers[0].name"),
        (of_pods(containers=[{"name": "a", "resources": {}}, 3]), "spec.template.spec.containers[1]"),
        (of_pods(containers=[]), "spec.template.spec.containers"),
        (of_pods(containers=None), "spec.template.spec.containers"),
        (of_pods(initContainers=[]), "spec.template.spec.initContainers"),
        (of_pods(ephemeralContainers=[]), "spec.template.spec.ephemeralContainers"),
        (of_pods(volumes=[]), "spec.template.spec.volumes"),
        (of_pods(serviceAccountName="admin"), "spec.template.spec.serviceAccountName"),
        (of_pods(serviceAccount="admin"), "spec.template.spec.serviceAccount"),
        (of_pods(automountServiceAccountToken=True), "spec.template.spec.automountServiceAccountToken"),
        (of_pods(securityContext={}), "spec.template.spec.securityContext"),
        (of_pods(hostNetwork=True), "spec.template.spec.hostNetwork"),
        (of_pods(hostPID=True), "spec.template.spec.hostPID"),
        (of_pods(nodeName="control-plane"), "spec.template.spec.nodeName"),
        (of_pods(runtimeClassName="x"), "spec.template.spec.runtimeClassName"),
        (of_pods(priorityClassName="system-node-critical"), "spec.template.spec.priorityClassName"),
        ({"spec": {"selector": {}}}, "spec.selector"),
        ({"spec": {"template": None}}, "spec.template"),
        ({"spec": None}, "spec"),
        ({"metadata": {"ownerReferences": []}}, "metadata.ownerReferences"),
        ({"metadata": {"finalizers": ["x"]}}, "metadata.finalizers"),
        ({"metadata": {"name": "other"}}, "metadata.name"),
        ({"metadata": {"annotations": {"smartops.io/action": "x"}}}, 'metadata.annotations["smartops.io/action"]'),
        ({"metadata": {"annotations": {"a.smartops.io/b": None}}}, 'metadata.annotations["a.smartops.io/b"]'),
        (
            {"metadata": {"annotations": {"kubectl.kubernetes.io/last-applied-configuration": None}}},
            'metadata.annotations["kubectl.kubernetes.io/last-applied-configuration"]',
        ),
        (
            {"spec": {"template": {"metadata": {"annotations": {"smartops.io/action": "x"}}}}},
            'spec.template.metadata.annotations["smartops.io/action"]',
        ),
        ({"metadata": {"annotations": None}}, "metadata.annotations"),
        ({"metadata": {"labels": "x"}}, "metadata.labels"),
        (
            {"metadata": {"annotations": {"kubectl.kubernetes.io/last-applied-configuration": "{}"}}},
            'metadata.annotations["kubectl.kubernetes.io/last-applied-configuration"]',
        ),
        ({"spec": {"template": {"metadata": {"labels": None}}}}, "spec.template.metadata.labels"),
        (
            {"spec": {"template": {"metadata": {"annotations": {"sidecar.istio.io/inject": "true"}}}}},
            'spec.template.metadata.annotations["sidecar.istio.io/inject"]',
        ),
        ({"status": {}}, "status"),
        ({"kind": "Pod"}, "kind"),
        ({"$patch": "replace"}, "$patch"),
        ({"spec": {"$retainKeys": ["strategy"]}}, "spec.$retainKeys"),
        ({"spec": {"strategy": {"$patch": "delete"}}}, "spec.strategy.$patch"),
        (of_pods(tolerations=[{"deep": [{"$patch": "delete"}]}]), "spec.template.spec.tolerations[0].deep[0].$patch"),
        (
            of_container(resources={"limits": {"$patch": "delete"}}),
            "spec.template.spec.containers[0].resources.limits.$patch",
        ),
        ({"metadata": {"labels": {"$patch": "replace"}}}, "metadata.labels.$patch"),
        ({"metadata": {"labels": {"team": 3}}}, "metadata.labels.team"),
        ({"metadata": {"annotations": {"note": ["x"]}}}, "metadata.annotations.note"),
        (
            {"spec": {"template": {"metadata": {"annotations": {"note": True}}}}},
            "spec.template.metadata.annotations.note",
        ),
        ({"spec": {"$setElementOrder/containers": []}}, "spec.$setElementOrder/containers"),
        (of_pods(**{"$setElementOrder/containers": [{"name": "b"}]}), "spec.template.spec.$setElementOrder/containers"),
        (
            of_pods(**{"$deleteFromPrimitiveList/tolerations": []}),
            "spec.template.spec.$deleteFromPrimitiveList/tolerations",
        ),
        (of_pods(schedulerName="mine"), "spec.template.spec.schedulerName"),
        (of_pods(priority=2000001000), "spec.template.spec.priority"),
        (of_pods(preemptionPolicy="PreemptLowerPriority"), "spec.template.spec.preemptionPolicy"),
        (of_pods(hostIPC=True), "spec.template.spec.hostIPC"),
        (of_pods(restartPolicy="Never"), "spec.template.spec.restartPolicy"),
        (of_pods(activeDeadlineSeconds=1), "spec.template.spec.activeDeadlineSeconds"),
        (of_pods(schedulingGates=[{"name": "x"}]), "spec.template.spec.schedulingGates"),
        (of_pods(containers=[{"name": "a", "resources": {"limits": {}}}] * 2), "spec.template.spec.containers[1].name"),
        (of_pods(containers=[{"name": "a", "$patch": "delete"}]), "spec.template.spec.containers[0].$patch"),
        (of_container(resources=None), "spec.template.spec.containers[0].resources"),
        (of_container(resources={"limits": None}), "spec.template.spec.containers[0].resources.limits"),
        (of_container(resources={"requests": None}), "spec.template.spec.containers[0].resources.requests"),
        (of_container(resources={"limits": {"cpu": None}}), "spec.template.spec.containers[0].resources.limits.cpu"),
        (of_container(resources={"limits": {"cpu": "33"}}), "spec.template.spec.containers[0].resources.limits.cpu"),
        (
            of_container(resources={"requests": {"cpu": "1k"}}),
            "spec.template.spec.containers[0].resources.requests.cpu",
        ),
        (of_container(resources={"requests": {"cpu": 0}}), "spec.template.spec.containers[0].resources.requests.cpu"),
        (
            of_container(resources={"limits": {"memory": "0"}}),
            "spec.template.spec.containers[0].resources.limits.memory",
        ),
        (
            of_container(resources={"limits": {"memory": "-1"}}),
            "spec.template.spec.containers[0].resources.limits.memory",
        ),
        (
            of_container(resources={"limits": {"memory": "1Ei"}}),
            "spec.template.spec.containers[0].resources.limits.memory",
        ),
        (
            of_container(resources={"limits": {"memory": "lots"}}),
            "spec.template.spec.containers[0].resources.limits.memory",
        ),
        (
            of_container(resources={"limits": {"memory": True}}),
            "spec.template.spec.containers[0].resources.limits.memory",
        ),
        (
            of_container(resources={"limits": {"ephemeral-storage": "2Ti"}}),
            'spec.template.spec.containers[0].resources.limits["ephemeral-storage"]',
        ),
        (
            of_container(resources={"limits": {"nvidia.com/gpu": 8}}),
            'spec.template.spec.containers[0].resources.limits["nvidia.com/gpu"]',
        ),
        (
            of_container(resources={"limits": {"hugepages-2Mi": "1Gi"}}),
            'spec.template.spec.containers[0].resources.limits["hugepages-2Mi"]',
        ),
        *((of_pods(terminationGracePeriodSeconds=wrong), GRACE) for wrong in (0, -1, 3601, 86400, "30", True, 2**40)),
        *(({"spec": {"minReadySeconds": wrong}}, "spec.minReadySeconds") for wrong in (-1, 601, 2**31, "5", 1.5)),
        *(
            ({"spec": {"progressDeadlineSeconds": n}}, "spec.progressDeadlineSeconds")
            for n in (-1, 0, 9, 3601, 2**31 - 1)
        ),
        *(({"spec": {"revisionHistoryLimit": wrong}}, "spec.revisionHistoryLimit") for wrong in (0, -1, 101, False)),
        *(({"spec": {"paused": wrong}}, "spec.paused") for wrong in ("true", 1)),
        *(({"spec": {"strategy": {"type": wrong}}}, "spec.strategy.type") for wrong in ("Recreate", "AllAtOnce", 1)),
        *(
            (rolling(maxUnavailable=wrong), "spec.strategy.rollingUpdate.maxUnavailable")
            for wrong in ("51%", "100%", 2, -1)
        ),
        *(
            (rolling(maxSurge=wrong), "spec.strategy.rollingUpdate.maxSurge")
            for wrong in ("101%", "9999%", 9, "8", True)
        ),
        (rolling(partition=1), "spec.strategy.rollingUpdate.partition"),
        ({"spec": {"strategy": [{}]}}, "spec.strategy"),
        ({"spec": {"updateStrategy": {"type": "OnDelete"}}}, "spec.updateStrategy.type"),
        *(
            (
                {"spec": {"updateStrategy": {"rollingUpdate": {name: wrong}}}},
                f"spec.updateStrategy.rollingUpdate.{name}",
            )
            for name, wrong in (("partition", -1), ("maxUnavailable", 2), ("maxSurge", 9), ("podsPerNode", 1))
        ),
        *(
            ({"spec": {name: None}}, f"spec.{name}")
            for name in ("volumeClaimTemplates", "persistentVolumeClaimRetentionPolicy", "ordinals", "serviceName")
        ),
        *((of_pods(tolerations=[{"key": key, "operator": "Exists"}]), f"{TOLERATION}.key") for key in SYSTEM_TAINTS),
        *(
            (of_pods(tolerations=[wrong]), TOLERATION)
            for wrong in ({"operator": "Exists"}, {"key": ""}, {"key": 1}, {}, 1)
        ),
        (of_pods(tolerations=[{"key": "role", "value": "control-plane"}]), f"{TOLERATION}.key"),
        (of_pods(tolerations="x"), "spec.template.spec.tolerations"),
        (of_pods(nodeSelector=None), "spec.template.spec.nodeSelector"),
        *(
            (of_pods(nodeSelector={key: value}), f'spec.template.spec.nodeSelector["{key}"]')
            for key, value in NODES_OF_ITS_OWN
        ),
        (of_pods(nodeSelector={"role": "master"}), "spec.template.spec.nodeSelector.role"),
        (of_pods(nodeSelector={"$patch": "replace"}), "spec.template.spec.nodeSelector.$patch"),
        *(
            (of_nodes({"key": key, "operator": operator, "values": [value]}), f"{EXPRESSION}.key")
            for key, value in NODES_OF_ITS_OWN
            for operator in ("In", "Exists", "Gt", "Lt")
        ),
        *(
            (of_nodes(wrong), EXPRESSION)
            for wrong in ({"key": "disk"}, {"operator": "In"}, {}, 1, {"key": 1, "operator": "In"})
        ),
        (of_nodes({"key": "role", "operator": "In", "values": ["worker", "master"]}), f"{EXPRESSION}.key"),
        (of_nodes({"key": "a", "operator": "In", "values": [{"$patch": "x"}]}), f"{EXPRESSION}.values[0].$patch"),
        (
            of_pods(affinity={"nodeAffinity": {REQUIRED: {"nodeSelectorTerms": [{"matchFields": []}]}}}),
            f"{NODES}.{REQUIRED}.nodeSelectorTerms[0].matchFields",
        ),
        (
            of_pods(affinity={"nodeAffinity": {PREFERRED: [{"weight": 1, "preference": {"matchFields": []}}]}}),
            f"{NODES}.{PREFERRED}[0].preference.matchFields",
        ),
        (
            of_pods(affinity={"podAntiAffinity": {REQUIRED: [{"namespaceSelector": {}, "topologyKey": HOST}]}}),
            f"{PODS}.{REQUIRED}[0].namespaceSelector",
        ),
        (
            of_pods(affinity={"podAntiAffinity": {PREFERRED: [{"podAffinityTerm": {"namespaces": ["kube-system"]}}]}}),
            f"{PODS}.{PREFERRED}[0].podAffinityTerm.namespaces",
        ),
        ({"spec": {"replicas": None}}, "spec.replicas"),
        ({"spec": {"replicas": True}}, "spec.replicas"),
        ({"spec": {"replicas": 3.0}}, "spec.replicas"),
        ({"spec": {"replicas": "3"}}, "spec.replicas"),
        ({"spec": {"replicas": -1}}, "spec.replicas"),
        ({"spec": {"replicas": 2**31}}, "spec.replicas"),
        ({}, "patch"),
        ({"spec": {}}, "patch"),
        ({"spec": {"strategy": {}}, "metadata": {"labels": {}}}, "patch"),
    ],
)
def test_everything_else_is_refused_with_its_path(patch: dict[str, Any], path: str) -> None:
    refusal = forbidden(patch)
    assert refusal is not None
    assert refusal[0] == path


# Each would steer another controller, or the pods around it.
STEERING = [
    *(
        {"metadata": {kind: {name: value}}}
        for name in (
            *("argocd.argoproj.io/tracking-id", "argocd.argoproj.io/instance", "argocd.argoproj.io/sync-options"),
            *("kustomize.toolkit.fluxcd.io/reconcile", "helm.toolkit.fluxcd.io/driftDetection", "fluxcd.io/automated"),
            *("meta.helm.sh/release-name", "helm.sh/resource-policy", "app.kubernetes.io/managed-by"),
            *("app.kubernetes.io/instance", "app.kubernetes.io/part-of", "app.kubernetes.io/name"),
            *("keel.sh/policy", "reloader.stakater.com/auto", "config.kubernetes.io/owning-inventory"),
            *("deployment.kubernetes.io/revision", "kubernetes.io/change-cause", "kubectl.kubernetes.io/restartedAt"),
            *("autoscaling.keda.sh/paused-replicas", "cert-manager.io/cluster-issuer", "linkerd.io/inject"),
            *("external-dns.alpha.kubernetes.io/hostname", "cluster-autoscaler.kubernetes.io/safe-to-evict"),
            *("prometheus.io/scrape", "example.com/note"),
        )
        for kind in ("labels", "annotations")
        for value in ("x", None)
    ),
    *({"metadata": {"labels": {name: "x"}}} for name in ("app", "k8s-app", "release", "chart", "heritage", "version")),
    *(
        {"spec": {"template": {"metadata": {"labels": {name: value}}}}}
        for name in ("app", "tier", "pod-template-hash", "app.kubernetes.io/name", "istio.io/rev", "team")
        for value in ("x", None)
    ),
    *(
        {"spec": {"template": {"metadata": {"annotations": {name: value}}}}}
        for name in ("sidecar.istio.io/inject", "linkerd.io/inject", "consul.hashicorp.com/connect-inject", "a.b/c")
        for value in ("x", None)
    ),
]


@pytest.mark.parametrize("patch", STEERING, ids=str)
def test_a_mark_that_steers_another_controller_is_refused(patch: dict[str, Any]) -> None:
    refusal = forbidden(patch)

    assert refusal is not None
    assert refusal[1]


@pytest.mark.parametrize(
    "patch",
    [
        {"metadata": {"labels": {"example.com/tier": "back"}, "annotations": {"example.com/note": None}}},
        {"metadata": {"annotations": {"kubernetes.io/change-cause": "a busy Friday"}}},
        {"spec": {"template": {"metadata": {"labels": {"example.com/a": "b"}, "annotations": {"example.com/c": "d"}}}}},
        of_container(resources={"limits": {"example.com/gpu": 1}}),
        of_pods(tolerations=[{"key": "kubernetes.io/change-cause"}], nodeSelector={"example.com/master": "x"}),
    ],
)
def test_the_installation_may_allow_prefixes(patch: dict[str, Any]) -> None:
    assert forbidden(patch) is not None or "nodeSelector" not in str(patch)
    assert forbidden(patch, ("example.com/", "kubernetes.io/change-cause")) is None


@pytest.mark.parametrize("prefixes", [(), ("smartops.io/", "a.smartops.io/", "kubectl.kubernetes.io/", "other.com/")])
@pytest.mark.parametrize(
    "name",
    ["smartops.io/action", "a.smartops.io/b", "kubectl.kubernetes.io/last-applied-configuration", "example.com/a"],
)
def test_no_prefix_allows_the_marks_of_smartops_of_kubectl_or_another_prefix(
    name: str, prefixes: tuple[str, ...]
) -> None:
    for kind in ("labels", "annotations"):
        marked = {kind: {name: "x"}}
        assert forbidden({"metadata": marked}, prefixes) is not None
        assert forbidden({"spec": {"template": {"metadata": marked}}}, prefixes) is not None


def test_a_prefix_allows_no_unprefixed_label_of_pods() -> None:
    assert forbidden({"spec": {"template": {"metadata": {"labels": {"example.com": "x"}}}}}, ("example.com/",))


def both(first: str, second: str) -> dict[str, Any]:
    return of_pods(containers=[{"name": name, "resources": {"limits": {"cpu": "1"}}} for name in (first, second)])


@pytest.mark.parametrize(
    ("patch", "path"),
    [
        (both("main", "proxy"), None),
        (both("main", "sidecar"), None),
        (both("proxy", "main"), "spec.template.spec.containers"),
        (both("main", "other"), "spec.template.spec.containers[1].name"),
        (of_container(resources={"limits": {"cpu": "1"}}), None),
        ({"spec": {"replicas": 2}}, None),
    ],
)
def test_containers_stay_in_the_order_in_which_they_live(patch: dict[str, Any], path: str | None) -> None:
    refusal = forbidden(patch, (), ("main", "sidecar", "proxy"))

    assert (None if refusal is None else refusal[0]) == path
    assert forbidden(patch) is None  # the order is unknown


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1", 1), ("0.5", 0.5), (".5", 0.5), ("5.", 5), ("+1", 1), ("-1", -1), ("100m", 0.1), ("1k", 1000),
        ("1Ki", 1024), ("1e3", 1000), ("1E3", 1000), ("1E", 1e18), ("1Ei", 2**60), ("5e-1", 0.5), ("2u", 2e-6),
        ("3n", 3e-9), (2, 2), (0.25, 0.25),
    ],
)  # fmt: skip
def test_a_quantity_is_read_as_kubernetes_reads_it(text: Any, value: float) -> None:
    assert quantity(text) == Fraction(str(value))


@pytest.mark.parametrize(
    "text", ["", "x", "1K", "1mi", "1 Gi", "Gi", "1ee3", "1e999", "\u0661", "1" * 64, 10**400, True, None, [], {}]
)
def test_what_is_no_quantity_has_no_value(text: Any) -> None:
    assert quantity(text) is None


@pytest.mark.parametrize(
    ("amount", "is_allowed"),
    [
        ("32", True), ("32.000000000000000000000000001", False), ("32000m", True), ("32000.0000000001m", False),
        ("0.1", True), ("1e-99", True), ("0", False), (32, True), (33, False), ("32e0", True),
    ],
)  # fmt: skip
def test_an_amount_is_compared_exactly_with_the_most_that_a_container_may_have(amount: Any, is_allowed: bool) -> None:
    containers = [{"name": "main", "resources": {"limits": {"cpu": amount}}}]

    assert (forbidden({"spec": {"template": {"spec": {"containers": containers}}}}) is None) is is_allowed


ALLOWED_LEAF = re.compile(
    r"""
    metadata/(labels|annotations)/[^/$~]+
    | spec/template/metadata/annotations/[^/$~]+
    | spec/(replicas|paused|minReadySeconds|progressDeadlineSeconds|revisionHistoryLimit)
    | spec/(strategy|updateStrategy)(/.*)?
    | spec/template/spec/containers/\d+/(name|resources/(limits|requests)(/.*)?)
    | spec/template/spec/(terminationGracePeriodSeconds|nodeSelector|tolerations)(/.*)?
    | spec/template/spec/(affinity|topologySpreadConstraints)(/.*)?
    """,
    re.VERBOSE,
)


def leaves(value: Any, path: str = "") -> Iterator[str]:
    """The paths of all values that are no object; a slash within a name is written as a tilde."""
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from leaves(inner, f"{path}/{name.replace('/', '~')}")
    elif isinstance(value, list) and value:
        for index, inner in enumerate(value):
            yield from leaves(inner, f"{path}/{index}")
    else:
        yield path[1:]


def only_objects(value: Any) -> bool:
    return isinstance(value, dict) and all(map(only_objects, value.values()))


names = st.sampled_from(
    [
        "metadata", "spec", "template", "containers", "name", "resources", "limits", "labels", "annotations",
        "replicas", "strategy", "image", "env", "volumes", "$patch", "smartops.io/action", "x.smartops.io/y", "x",
    ]
)  # fmt: skip
values = st.recursive(
    st.none() | st.booleans() | st.integers(-1, 9) | st.sampled_from(["", "main", "x"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=3),
    max_leaves=12,
)
# Mostly of the right shape, so that the allowed paths are reached.
patches = st.fixed_dictionaries(
    {},
    optional={
        "metadata": st.dictionaries(names, values, max_size=2) | values,
        "spec": st.fixed_dictionaries(
            {},
            optional={
                "replicas": values,
                "strategy": values,
                "template": st.fixed_dictionaries(
                    {},
                    optional={
                        "metadata": st.dictionaries(names, values, max_size=2),
                        "spec": st.fixed_dictionaries(
                            {}, optional={"containers": st.lists(values, max_size=2), "affinity": values, "env": values}
                        ),
                    },
                ),
            },
        ),
    },
)


@given(patches)
@example(of_container(resources={"limits": {"cpu": 1}}))
@example(of_pods(containers=[]))
@example({"spec": {"strategy": [{}]}})
@example({"metadata": {"labels": {"x": "y"}}})
def test_whatever_passes_consists_of_allowed_leaves(patch: dict[str, Any]) -> None:
    if forbidden(patch) is None:
        assert not only_objects(patch)
        assert [leaf for leaf in leaves(patch) if "/$" in leaf or not ALLOWED_LEAF.fullmatch(leaf)] == []


@given(st.dictionaries(st.text(max_size=5), values, max_size=3))
def test_any_json_object_is_judged(patch: dict[str, Any]) -> None:
    assert forbidden(patch) is None or all(isinstance(part, str) for part in forbidden(patch) or ())
