"""A client of the API v1, for the tests of all layers. Import `api` into a conftest."""

import json
from collections.abc import Iterable
from typing import Any

import pytest
from django.test import Client
from pytest_django.fixtures import Settings

from smartops.tokens import Scope, issue

ANOMALY = {"windowId": "win-123", "service": "erp-simulator", "isAnomaly": True, "score": 0.95, "type": "resource"}
CAUSE = {"svc": "erp-simulator", "cause": "memory_leak", "probability": 0.93}
RCA = {"windowId": "win-xxx", "rankedCauses": [CAUSE], "confidence": 0.93}


class Api:
    """Calls as an agent with a token would; answers are Django's responses. A body of bytes is sent as it is."""

    def __init__(self, token: str = "") -> None:
        self.headers = {"Authorization": f"Bearer {token}"} if token else {}
        self._client = Client(raise_request_exception=False)

    def get(self, path: str, **query: Any) -> Any:
        return self._client.get(path, query or None, headers=self.headers)

    def post(self, path: str, body: Any, content_type: str = "application/json", **headers: str) -> Any:
        data = body if isinstance(body, bytes) else json.dumps(body)
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return self._client.post(path, data, content_type, headers=self.headers | named)

    def call(self, method: str, path: str) -> Any:
        return self._client.generic(method, path, headers=self.headers)


@pytest.fixture
def http(settings: Settings) -> None:
    settings.STATIC_ROOT = None  # nothing is collected for tests


@pytest.fixture
def api(db: None, http: None) -> Api:
    return bearer("agent")


def bearer(name: str, scopes: Iterable[Scope] = Scope, namespaces: Iterable[str] = ()) -> Api:
    return Api(issue(name, scopes, namespaces))


__all__ = ["ANOMALY", "CAUSE", "RCA", "Api", "api", "bearer", "http"]
