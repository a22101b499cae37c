"""The API against its own description: whatever a client sends, it is answered as described, and never with a 5xx."""

import json
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from asgiref.sync import async_to_sync, sync_to_async
from django.core.handlers.wsgi import WSGIHandler
from hypothesis import HealthCheck, settings

from smartops.tokens import Scope, issue

DESCRIPTION = Path(__file__).parents[3] / "docs" / "openapi.json"
PATHS = json.loads(DESCRIPTION.read_text())["paths"]
OPERATIONS = [f"{method.upper()} {path}" for path, methods in PATHS.items() for method in methods]
FEW = settings(max_examples=10, derandomize=True, deadline=None, suppress_health_check=list(HealthCheck))
Fuzz = Callable[..., None]
handler = cache(WSGIHandler)


def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    return handler()(environ, start_response)


@pytest.fixture(scope="module")
def fuzzes() -> Mapping[str, Fuzz]:
    """Of each operation. They are made here, and schemathesis is imported here, because both take seconds: what a
    module does for itself, each process does that only collects it."""
    import schemathesis
    from schemathesis.checks import load_all_checks
    from schemathesis.core.parameters import ParameterLocation
    from schemathesis.pytest.lazy import get_all_tests
    from schemathesis.specs.openapi.checks import ignored_auth, positive_data_acceptance

    refuses_strangers = set[str]()

    def fuzz(case: Any, headers: dict[str, str]) -> None:
        # A valid body may still exceed a limit, or name a target that is busy: refusals, as described.
        excluded: list[Any] = [positive_data_acceptance]
        label = case.operation.label
        if label in refuses_strangers:
            excluded.append(ignored_auth)  # it repeats each request that succeeds, without a token and with a wrong one
        response = case.call_and_validate(headers=headers, excluded_checks=excluded)
        # With an invalid parameter in the path, the route may be another one: then nothing was repeated.
        if response.status_code < 300 and not (case.meta and case.meta.is_negative_at(ParameterLocation.PATH)):
            refuses_strangers.add(label)

    load_all_checks()
    schema = schemathesis.openapi.from_path(DESCRIPTION)
    schema.app = app
    made = get_all_tests(schema=schema, test_func=fuzz, settings=FEW, given_kwargs=None)
    return {operation.label: test for operation, test in (one.ok() for one in made)}  # type: ignore[union-attr]


@pytest.fixture
def headers(transactional_db: None) -> dict[str, str]:
    return {"Authorization": f"Bearer {issue('fuzz', Scope)}", "Prefer": "respond-async"}


@pytest.mark.parametrize("operation", OPERATIONS)
def test_every_response_is_described_and_none_is_a_5xx(
    fuzzes: Mapping[str, Fuzz], headers: dict[str, str], operation: str
) -> None:
    # All requests share the event loop that this begins. Else each one would begin its own, with a thread.
    async_to_sync(sync_to_async(fuzzes[operation]))(headers=headers)
