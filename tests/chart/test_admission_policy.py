"""The fence around the ServiceAccount and the allowlist of PATCH name the same fields, of all that Kubernetes has."""

import json
import re
from typing import Any

import pytest
from kubernetes.client import (
    V1Container,
    V1DaemonSetSpec,
    V1DeploymentSpec,
    V1ObjectMeta,
    V1PodSpec,
    V1PodTemplateSpec,
    V1ResourceRequirements,
    V1StatefulSetSpec,
)

from guardrails.checks.target import OWN_NAME
from orchestrator.k8s.itself import OWN_ACCOUNT, OWN_LABELS
from signals.proposals.patch_allowlist import forbidden
from signals.proposals.patch_allowlist.marks import WELL_KNOWN_LABELS
from signals.proposals.patch_allowlist.placement import AWAY, CONTROL_PLANE, NODE_KINDS, SYSTEM_TAINTS
from signals.proposals.patch_allowlist.resources import MOST
from tests.chart.rendering import Rendered

POLICY = "ValidatingAdmissionPolicy"
BY_THE_SERVER = {"resourceVersion", "generation", "managedFields"}
PREFIXES = ("example.com/",)
MARKS = {"labels": {"example.com/a": "b"}, "annotations": {"a": "b"}}
CONTAINER = {"name": "app", "resources": {"limits": {"cpu": "1"}}}
# What the allowlist takes in this form, among others.
FORMS: dict[str, Any] = {
    **MARKS,
    "metadata": MARKS,
    "replicas": 1,
    "paused": True,
    "minReadySeconds": 5,
    "progressDeadlineSeconds": 60,
    "revisionHistoryLimit": 3,
    "strategy": {"type": "RollingUpdate"},
    "updateStrategy": {"type": "RollingUpdate"},
    "terminationGracePeriodSeconds": 60,
    "nodeSelector": {"a": "b"},
    "tolerations": [{"key": "dedicated"}],
    "affinity": {"nodeAffinity": None},
    "topologySpreadConstraints": [],
    "template": {"metadata": MARKS},
    "spec": {"nodeSelector": {"a": "b"}},
    "containers": [CONTAINER],
    "resources": CONTAINER["resources"],
}


def spec() -> Any:
    return Rendered({"admissionPolicy": {"enabled": True}}).one(POLICY, "smartops-orchestrator.smartops-dev")["spec"]


def variables() -> dict[str, str]:
    return {one["name"]: one["expression"] for one in spec()["variables"]}


def admitted(path: str) -> set[str]:
    """The fields below a path of the Deployment that the policy lets change."""
    fields = variables()["refusedFields"]
    of = re.escape(f"object.{path}" if path else "object")
    [names] = re.findall(rf"\({of}\.map\(.*\n.*?key in (\[.*?\])", fields)
    return set(json.loads(names))


def allowed(model: Any, *path: str) -> set[str]:
    """The fields below it that the allowlist lets a patch name."""
    names = set(model.attribute_map.values())
    return {name for name in names if forbidden(nested(*path, name, value=FORMS.get(name, "x")), PREFIXES) is None}


def nested(*path: str, value: Any) -> Any:
    for name in reversed(path):
        value = {name: value}
    return value


@pytest.mark.parametrize(
    ("path", "models"),
    [
        ("metadata", [V1ObjectMeta]),
        ("spec", [V1DeploymentSpec, V1StatefulSetSpec, V1DaemonSetSpec]),
        ("spec.template", [V1PodTemplateSpec]),
        ("spec.template.metadata", [V1ObjectMeta]),
        ("spec.template.spec", [V1PodSpec]),
    ],
)
def test_the_policy_admits_the_fields_of_the_allowlist(path: str, models: list[Any]) -> None:
    by_the_server = BY_THE_SERVER if path == "metadata" else set()

    assert admitted(path) - by_the_server == {name for model in models for name in allowed(model, *path.split("."))}


def test_the_policy_and_the_allowlist_both_admit_limits_and_requests_of_a_container() -> None:
    def patch(container: Any) -> Any:
        return nested("spec", "template", "spec", "containers", value=[container])

    others = {
        name
        for name in V1Container.attribute_map.values()
        if forbidden(patch({**CONTAINER, name: FORMS.get(name, "x")})) is None
    }
    resources = {
        name
        for name in V1ResourceRequirements.attribute_map.values()
        if forbidden(patch({"name": "app", "resources": {name: {"cpu": "1"}}})) is None
    }
    containers = variables()["refusedContainers"]

    assert others == {"name", "resources"}
    assert [set(json.loads(names)) for names in re.findall(r"key in (\[.*?\])", containers)] == [
        {"resources"},
        resources,
    ]


def test_the_policy_is_of_the_reconcilers_account_and_closed_where_it_fails() -> None:
    found = spec()
    [condition] = found["matchConditions"]

    assert found["failurePolicy"] == "Fail"
    assert condition["expression"].endswith('== "system:serviceaccount:smartops-dev:smartops-orchestrator"')
    assert found["matchConstraints"]["resourceRules"] == [
        {"apiGroups": ["*"], "apiVersions": ["*"], "resources": ["*/*"], "operations": ["*"]}
    ]


def test_the_policy_and_the_allowlist_know_the_same_names_and_amounts() -> None:
    expressions = variables()
    places = lists(expressions["refusedPlaces"])

    assert json.loads(expressions["most"]) == MOST
    assert WELL_KNOWN_LABELS in lists(expressions["refusedMarks"])
    assert all(names in places for names in (NODE_KINDS, SYSTEM_TAINTS, AWAY))
    patterns = set(re.findall(r'matches\("\(\?i\)(.*?)"\)', expressions["refusedPlaces"]))
    assert patterns == {CONTROL_PLANE.pattern}


def lists(expression: str) -> list[set[str]]:
    return [set(json.loads(found)) for found in re.findall(r"in (\[.*?\])", expression, re.DOTALL)]


def test_the_policy_recognizes_an_own_workload_as_the_guardrail_does() -> None:
    own = variables()["isOwn"]

    assert f'matches("{OWN_NAME.pattern}")' in own
    assert f'serviceAccountName.orValue("") == "{OWN_ACCOUNT}"' in own
    assert dict(re.findall(r'labels\[\?"(.*?)"\]\.orValue\(""\) == "(.*?)"', own)) == OWN_LABELS
