"""The API against its own description: whatever a client sends, it is answered as described, and never with a 5xx."""

from collections.abc import Callable, Iterable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from django.core.handlers.wsgi import WSGIHandler
from hypothesis import HealthCheck, settings
from schemathesis.specs.openapi.checks import positive_data_acceptance

from smartops.tokens import Scope, issue

pytest_plugins = ["schemathesis.pytest.plugin"]
handler = cache(WSGIHandler)


def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    return handler()(environ, start_response)


schema = schemathesis.openapi.from_path(Path(__file__).parents[3] / "docs" / "openapi.json")
schema.app = app


@pytest.fixture
def headers(transactional_db: None) -> dict[str, str]:
    return {"Authorization": f"Bearer {issue('fuzz', Scope)}", "Prefer": "respond-async"}


@schema.parametrize()
@settings(max_examples=40, derandomize=True, deadline=None, suppress_health_check=list(HealthCheck))
def test_every_response_is_described_and_none_is_a_5xx(case: Any, headers: dict[str, str]) -> None:
    # A valid body may still exceed a limit, or name a target that is busy: refusals, as described.
    case.call_and_validate(headers=headers, excluded_checks=[positive_data_acceptance])
