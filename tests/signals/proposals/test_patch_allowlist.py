"""What a patch may touch: tables of both kinds, and the rule behind them for any JSON."""

import re
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from signals.proposals.patch_allowlist import forbidden


def of_pods(**spec: Any) -> dict[str, Any]:
    return {"spec": {"template": {"spec": spec}}}


def of_container(**fields: Any) -> dict[str, Any]:
    return of_pods(containers=[{"name": "main", **fields}])


@pytest.mark.parametrize(
    "patch",
    [
        {"metadata": {"labels": {"team": "erp"}}},
        {"metadata": {"labels": {"name": "erp", "team": None}}},
        {"metadata": {"annotations": {"example.com/note": "x", "notsmartops.io/x": "y"}}},
        {"spec": {"replicas": 0}},
        {"spec": {"replicas": 3, "paused": False, "minReadySeconds": 5}},
        {"spec": {"progressDeadlineSeconds": 60, "revisionHistoryLimit": 3}},
        {"spec": {"strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "25%"}}}},
        {"spec": {"strategy": None}},
        {"spec": {"template": {"metadata": {"annotations": {"kubectl.kubernetes.io/restartedAt": "now"}}}}},
        {"spec": {"template": {"metadata": {"labels": {"a": "b"}, "annotations": {"c": "d"}}}}},
        of_container(resources={"limits": {"memory": "512Mi"}, "requests": {"cpu": "100m"}}),
        of_pods(terminationGracePeriodSeconds=30, nodeSelector={"disk": "ssd"}),
        of_pods(tolerations=[{"key": "spot", "operator": "Exists"}], topologySpreadConstraints=[]),
        of_pods(affinity={"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": None}}),
    ],
)
def test_what_sizes_and_places_a_workload_is_allowed(patch: dict[str, Any]) -> None:
    assert forbidden(patch) is None


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


ALLOWED_LEAF = re.compile(
    r"""
    (metadata | spec/template/metadata)/(labels|annotations)/(?!([^/]*\.)?smartops\.io~)[^/$][^/]*(/.*)?
    | spec/(replicas|paused|minReadySeconds|progressDeadlineSeconds|revisionHistoryLimit|strategy(/.*)?)
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
