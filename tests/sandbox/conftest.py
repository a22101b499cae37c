"""A sandbox per test, and a plain HTTP client for it."""

from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import pytest

from smartops.sandbox import Sandbox
from tests.sandbox.sandbox_client import Client, Object


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    with Sandbox() as running:
        yield running


@pytest.fixture
def client(sandbox: Sandbox) -> Iterator[Client]:
    with closing(Client(sandbox.url)) as client:
        yield client


@pytest.fixture
def deployment() -> Callable[..., Object]:
    """Makes a Deployment; keywords go to its spec, `sim` to its template's annotations (`ready_after` for
    `sim/ready-after`)."""

    def make(name: str = "web", *, sim: dict[str, str] | None = None, **spec: Any) -> Object:
        annotations = {
            f"sim/{key.replace('_', '-')}": value for key, value in ({"ready_after": "10ms"} | (sim or {})).items()
        }
        template = {
            "metadata": {"labels": {"app": name}, "annotations": annotations},
            "spec": {"containers": [{"name": "app", "image": "example.test/app:1"}]},
        }
        spec = {"replicas": 1, "selector": {"matchLabels": {"app": name}}, "template": template} | spec
        return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name}, "spec": spec}

    return make
