from collections.abc import Iterator

import pytest

from tests.orchestrator.k8s.stub import Stub


@pytest.fixture
def stub() -> Iterator[Stub]:
    stub = Stub()
    yield stub
    stub.close()
