from typing import Any

import pytest
from kubernetes.client import (
    V1Container,
    V1ContainerPort,
    V1DeploymentSpec,
    V1DeploymentStrategy,
    V1EnvVar,
    V1LabelSelector,
    V1ObjectMeta,
    V1PodSpec,
    V1PodTemplateSpec,
    V1RollingUpdateDeployment,
)

from smartops.sandbox.fields import DEPLOYMENT_SPEC, known_fields
from smartops.sandbox.resources import DEPLOYMENT


@pytest.mark.parametrize(
    ("path", "model"),
    [
        ("", V1DeploymentSpec),
        ("selector", V1LabelSelector),
        ("strategy", V1DeploymentStrategy),
        ("strategy.rollingUpdate", V1RollingUpdateDeployment),
        ("template", V1PodTemplateSpec),
        ("template.metadata", V1ObjectMeta),
        ("template.spec", V1PodSpec),
        ("template.spec.containers", V1Container),
        ("template.spec.initContainers.env", V1EnvVar),
        ("template.spec.containers.ports", V1ContainerPort),
    ],
)
def test_the_fields_are_those_of_the_client_library(path: str, model: Any) -> None:
    shape: Any = DEPLOYMENT_SPEC
    for step in filter(None, path.split(".")):
        shape = shape[step]
    assert set(shape) == set(model.attribute_map.values())


def test_unknown_fields_are_named_by_their_paths_and_left_out() -> None:
    container = {"name": "app", "imag": "app:1", "livenessProbe": {"anything": "goes"}}
    spec = {"replica": 3, "template": {"spec": {"containers": [{"name": "first"}, container]}}}
    known, unknown = known_fields(DEPLOYMENT, {"metadata": {"name": "web"}, "spec": spec, "extra": {"spec": 1}})
    assert unknown == ["extra", "spec.replica", "spec.template.spec.containers[1].imag"]
    del container["imag"]
    del spec["replica"]
    assert known == {"metadata": {"name": "web"}, "spec": spec}
