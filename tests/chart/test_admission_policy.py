"""The fence around the ServiceAccount and the allowlist of PATCH name the same fields, of all that Kubernetes has."""

import json
import re
from typing import Any

import pytest
from kubernetes.client import (
    V1Container,
    V1DeploymentSpec,
    V1ObjectMeta,
    V1PodSpec,
    V1PodTemplateSpec,
    V1ResourceRequirements,
)

from signals.proposals.patch_allowlist import forbidden
from tests.chart.rendering import Rendered

POLICY = "ValidatingAdmissionPolicy"
BY_THE_SERVER = {"resourceVersion", "generation", "managedFields"}
MARKS = {"labels": {"a": "b"}, "annotations": {"a": "b"}}
CONTAINER = {"name": "app", "resources": {"limits": {"cpu": "1"}}}
# What the allowlist takes only in this form; anything will do for all others.
FORMS: dict[str, Any] = {
    **MARKS,
    "metadata": MARKS,
    "replicas": 1,
    "template": {"metadata": MARKS},
    "spec": {"nodeSelector": {"a": "b"}},
    "containers": [CONTAINER],
    "resources": CONTAINER["resources"],
}


def spec() -> Any:
    return Rendered({"admissionPolicy": {"enabled": True}}).one(POLICY, "smartops-orchestrator.smartops-dev")["spec"]


def admitted(path: str) -> set[str]:
    """The fields below a path of the Deployment that the policy lets change."""
    [fields] = [one["expression"] for one in spec()["variables"] if one["name"] == "refusedFields"]
    of = re.escape(f"object.{path}" if path else "object")
    [names] = re.findall(rf"\({of}\.map\(.*\n.*?key in (\[.*?\])", fields)
    return set(json.loads(names))


def allowed(model: Any, *path: str) -> set[str]:
    """The fields below it that the allowlist lets a patch name."""
    names = set(model.attribute_map.values())
    return {name for name in names if forbidden(nested(*path, name, value=FORMS.get(name, "x"))) is None}


def nested(*path: str, value: Any) -> Any:
    for name in reversed(path):
        value = {name: value}
    return value


@pytest.mark.parametrize(
    ("path", "model"),
    [
        ("metadata", V1ObjectMeta),
        ("spec", V1DeploymentSpec),
        ("spec.template", V1PodTemplateSpec),
        ("spec.template.metadata", V1ObjectMeta),
        ("spec.template.spec", V1PodSpec),
    ],
)
def test_the_policy_admits_the_fields_of_the_allowlist(path: str, model: Any) -> None:
    by_the_server = BY_THE_SERVER if path == "metadata" else set()

    assert admitted(path) - by_the_server == allowed(model, *path.split("."))


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
    [containers] = [one["expression"] for one in spec()["variables"] if one["name"] == "refusedContainers"]

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
