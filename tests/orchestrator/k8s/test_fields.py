"""Paths of fields: from managedFields, from manifests and from patches the same."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.k8s.fields import changeable, overlapping, owned, stated
from signals.proposals.paths import touched

APP = "spec.template.spec.containers[name=app]"


def pods(**spec: Any) -> dict[str, Any]:
    return {"spec": {"template": {"spec": spec}}}


def paths(document: dict[str, Any]) -> list[str]:
    return sorted(owned(document))


@pytest.mark.parametrize(
    ("fields", "found"),
    [
        ({}, []),
        ({"f:spec": None}, []),
        ({"f:spec": {}}, []),
        ({"f:status": {"f:replicas": {}}, "f:metadata": {"f:finalizers": {'v:"foregroundDeletion"': {}}}}, []),
        ({"f:spec": {"f:replicas": {}, "f:paused": {}}}, ["spec.paused", "spec.replicas"]),
        (
            {"f:metadata": {"f:labels": {".": {}, "f:app.kubernetes.io/name": {}, "f:team": {}}}},
            ["metadata.labels.team", 'metadata.labels["app.kubernetes.io/name"]'],
        ),
        ({"f:metadata": {"f:annotations": {"f:x": {}}, "f:generateName": {}}}, ["metadata.annotations.x"]),
        ({"f:spec": {"f:strategy": {"f:type": {}, ".": {}}}}, ["spec.strategy.type"]),
        ({"f:spec": {"f:strategy": {}}}, ["spec.strategy"]),
        ({"f:spec": {"f:selector": {}}}, ["spec.selector"]),
    ],
)
def test_the_leaves_of_an_entry(fields: dict[str, Any], found: list[str]) -> None:
    assert paths(fields) == found


@pytest.mark.parametrize(
    ("key", "path"),
    [
        ('k:{"topologyKey":"zone","whenUnsatisfiable":"x"}', "[topologyKey=zone,whenUnsatisfiable=x]"),
        ('k:{"containerPort":80}', "[containerPort=80]"),
        ('v:"NoSchedule"', '["NoSchedule"]'),
        ("v:7", "[7]"),
        ("i:0", "[0]"),
        ("k:no json", "[no json]"),
    ],
)  # fmt: skip
def test_an_item_of_a_list_is_named_by_its_keys_its_value_or_its_place(key: str, path: str) -> None:
    spreads: dict[str, Any] = {"f:topologySpreadConstraints": {key: {"f:maxSkew": {}}}}
    found = paths({"f:spec": {"f:template": {"f:spec": spreads}}})
    assert found == [f"spec.template.spec.topologySpreadConstraints{path}.maxSkew"]


def test_of_a_pod_only_what_an_action_may_touch_is_told() -> None:
    container: dict[str, Any] = {
        ".": {},
        "f:image": {},
        "f:name": {},
        "f:resources": {".": {}, "f:limits": {"f:cpu": {}}},
    }
    pod = {
        "f:containers": {'k:{"name":"app"}': container, 'k:{"name":"log"}': {".": {}, "f:image": {}}},
        "f:initContainers": {'k:{"name":"init"}': container},
        "f:volumes": {'k:{"name":"data"}': {".": {}, "f:name": {}}},
        "f:nodeSelector": {},
        "f:dnsPolicy": {},
    }

    found = paths({"f:spec": {"f:template": {"f:spec": pod, "f:metadata": {"f:labels": {"f:app": {}}}}}})

    assert found == [
        "spec.template.metadata.labels.app",
        f"{APP}.resources.limits.cpu",
        "spec.template.spec.dnsPolicy",
        "spec.template.spec.nodeSelector",
    ]


@pytest.mark.parametrize(
    ("patch", "found"),
    [
        ({}, []),
        ({"spec": {"replicas": 3}}, ["spec.replicas"]),
        ({"spec": {"replicas": None}}, ["spec.replicas"]),
        ({"spec": {}, "metadata": {"labels": {}}}, []),
        ({"metadata": {"labels": {"app.kubernetes.io/name": None}}}, ['metadata.labels["app.kubernetes.io/name"]']),
        ({"spec": {"strategy": {"rollingUpdate": None}}}, ["spec.strategy.rollingUpdate"]),
        (pods(tolerations=[{"key": "gpu"}]), ["spec.template.spec.tolerations"]),
        (pods(volumes=[], nodeSelector={"disk": "ssd"}), ["spec.template.spec.nodeSelector.disk"]),
        (pods(containers=[{"name": "app", "image": "x"}]), []),
        (pods(containers=[{"name": "app", "resources": None}]), [f"{APP}.resources"]),
        (pods(containers=[{"name": "app", "resources": {"limits": {"cpu": "1"}}}]), [f"{APP}.resources.limits.cpu"]),
    ],
)
def test_what_a_patch_touches(patch: dict[str, Any], found: list[str]) -> None:
    assert sorted(touched(patch)) == found


@pytest.mark.parametrize(
    ("field", "path", "concerned"),
    [
        ("spec.replicas", "spec.replicas", True),
        ("spec.replicas", "spec.replicasets", False),
        ("spec.replicasets", "spec.replicas", False),
        ("spec.paused", "spec.replicas", False),
        ("spec.strategy.type", "spec.strategy", True),
        ("spec.strategy", "spec.strategy.type", False),
        ("spec.strategy.rollingUpdate", "spec.strategy.rollingUpdate.maxSurge", False),
        ("spec.template.spec.nodeSelector", "spec.template.spec.nodeSelector.disk", True),
        ("spec.template.spec.tolerations", "spec.template.spec.tolerations", True),
        ("spec.template.spec.topologySpreadConstraints[topologyKey=zone].maxSkew",
         "spec.template.spec.topologySpreadConstraints", True),
        (f"{APP}.resources", f"{APP}.resources.limits.cpu", False),
        (f"{APP}.resources.limits.cpu", f"{APP}.resources", True),
        (f"{APP}.resources.limits.cpu", f"{APP}.resources.limits.memory", False),
        ("metadata.labels", "metadata.labels.team", False),
        ('metadata.labels["a.b/c"]', 'metadata.labels["a.b/c"]', True),
        ('metadata.labels["a.b/c"]', 'metadata.labels["a.b/cd"]', False),
        ('spec.template.metadata.annotations["smartops.io/restart"]',
         'spec.template.metadata.annotations["kubectl.kubernetes.io/restartedAt"]', False),
    ],
)  # fmt: skip
def test_a_change_concerns_a_field_its_parts_and_what_it_is_replaced_with(
    field: str, path: str, concerned: bool
) -> None:
    assert overlapping([field], [path]) == ((field,) if concerned else ())


LABELS = st.dictionaries(st.sampled_from(["team", "app.kubernetes.io/name", "a-b", "größe"]), st.text(max_size=3))
CPU = st.fixed_dictionaries({"cpu": st.just("1")}, optional={"memory": st.just("1Gi")})
RESOURCES = st.fixed_dictionaries({"limits": CPU}, optional={"requests": CPU})
CONTAINER = st.fixed_dictionaries({"image": st.just("x")}, optional={"resources": RESOURCES})
CONTAINERS = st.dictionaries(st.sampled_from(["app", "log"]), CONTAINER, min_size=1).map(
    lambda named: [{"name": name, **container} for name, container in named.items()]
)
POD = st.fixed_dictionaries({"containers": CONTAINERS}, optional={"dnsPolicy": st.just("Default")})
TEMPLATE = st.fixed_dictionaries({"spec": POD}, optional={"metadata": st.fixed_dictionaries({"labels": LABELS})})
MANIFESTS = st.fixed_dictionaries(
    {
        "spec": st.fixed_dictionaries(
            {"template": TEMPLATE},
            optional={"replicas": st.integers(0, 9), "strategy": st.fixed_dictionaries({"type": st.just("Recreate")})},
        )
    },
    optional={"metadata": st.fixed_dictionaries({"name": st.just("web")}, optional={"labels": LABELS})},
)


def fields_v1(value: Any) -> dict[str, Any]:
    """As the API server notes that all of it was applied."""
    if isinstance(value, list):
        return {f"k:{json.dumps({'name': item['name']})}": {".": {}, **fields_v1(item)} for item in value}
    if isinstance(value, dict):
        return {f"f:{name}": fields_v1(inner) for name, inner in value.items()}
    return {}


@given(MANIFESTS)
def test_who_applies_a_manifest_owns_what_it_states(manifest: dict[str, Any]) -> None:
    def emptied(path: str) -> bool:  # an empty object is owned, and states nothing
        return path.endswith(("labels", "annotations"))

    assert {path for path in owned(fields_v1(manifest)) if not emptied(path)} == set(stated(manifest))


@given(MANIFESTS)
def test_a_patch_concerns_whatever_it_states_itself(manifest: dict[str, Any]) -> None:
    found = tuple(stated(manifest))
    assert overlapping(found, stated(manifest)) == found


def test_what_an_action_may_change_is_kept_and_nothing_else() -> None:
    container = {
        "name": "main",
        "image": "shop:1",
        "env": [{"name": "SECRET", "value": "s"}],
        "resources": {"limits": {}},
    }
    last = "kubectl.kubernetes.io/last-applied-configuration"
    pod = {"containers": [container], "volumes": [{}], "nodeSelector": {"disk": "ssd"}, "affinity": None}
    manifest = {
        "metadata": {"name": "web", "labels": {"team": "a"}, "annotations": {last: "{}", "note": "n"}, "uid": "u"},
        "spec": {
            "replicas": 2,
            "selector": {},
            "template": {"metadata": {"annotations": {"smartops.io/restart": "x"}}, "spec": pod},
        },
        "status": {"replicas": 2},
    }

    assert changeable(manifest) == {
        "metadata": {"labels": {"team": "a"}, "annotations": {"note": "n"}},
        "spec": {
            "replicas": 2,
            "template": {
                "metadata": {"annotations": {"smartops.io/restart": "x"}},
                "spec": {
                    "containers": [{"name": "main", "resources": {"limits": {}}}],
                    "nodeSelector": {"disk": "ssd"},
                },
            },
        },
    }
