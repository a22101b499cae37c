import json
from pathlib import Path
from typing import Any

import pytest

from smartops.management.commands.export_openapi import openapi
from tests.kit.api import Api

COMMITTED = Path(__file__).parents[3] / "docs" / "openapi.json"
SEED = {
    "/v1/k8s/scale",
    "/v1/k8s/restart",
    "/v1/k8s/patch",
    "/v1/actions/execute",
    "/v1/signals/anomaly",
    "/v1/signals/rca",
}


@pytest.fixture
def document() -> dict[str, Any]:
    described: dict[str, Any] = json.loads(COMMITTED.read_text())
    return described


def test_the_committed_openapi_document_is_current() -> None:
    assert COMMITTED.read_text() == openapi(), "run: manage.py export_openapi > docs/openapi.json"


def test_the_openapi_document_is_served_without_a_token(document: dict[str, Any]) -> None:
    assert Api().get("/v1/openapi.json").json() == document


def test_the_openapi_document_has_the_paths_and_fields_of_the_contract(document: dict[str, Any]) -> None:
    assert document["openapi"].startswith("3.1.")
    assert document["paths"].keys() >= SEED
    request = document["components"]["schemas"]["ActionRequest"]["properties"].keys()
    assert request == {"type", "target", "scale", "patch", "reason", "dry_run", "verify"}
    assert document["components"]["schemas"]["ActionView"]["properties"].keys() >= {
        "id",
        "type",
        "state",
        "target",
        "reason",
        "verification",
    }


def test_every_operation_needs_a_token_and_may_return_a_problem(document: dict[str, Any]) -> None:
    operations = [operation for path in document["paths"].values() for operation in path.values()]
    for operation in operations:
        assert operation["security"] == [{"BearerToken": []}]
        assert "default" in operation["responses"]
    assert len({operation["operationId"] for operation in operations}) == len(operations)
