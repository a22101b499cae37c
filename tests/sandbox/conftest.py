"""A sandbox per test, and a plain HTTP client for it."""

from collections.abc import Iterator
from contextlib import closing

import pytest

from smartops.dev.sandbox import Sandbox
from tests.kit.client import Client


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    with Sandbox() as running:
        yield running


@pytest.fixture
def client(sandbox: Sandbox) -> Iterator[Client]:
    with closing(Client(sandbox.kubeconfig)) as client:
        yield client
