"""A client of the API v1, and the fixture `api`."""

import json
from collections.abc import Iterable
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.test import AsyncClient

from smartops.tokens import Scope, issue


class Api:
    """Calls as an agent with a token would, by the asynchronous stack that daphne serves. Answers are Django's
    responses. A body of bytes is sent as it is."""

    def __init__(self, token: str = "") -> None:
        self.headers = {"Authorization": f"Bearer {token}"} if token else {}
        self._client = AsyncClient(raise_request_exception=False)

    def get(self, path: str, **query: Any) -> Any:
        return self.call("GET", path, query_params=query or None)

    def post(self, path: str, body: Any, content_type: str = "application/json", **headers: str) -> Any:
        data = body if isinstance(body, bytes) else json.dumps(body)
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.call("POST", path, data=data, content_type=content_type, headers=self.headers | named)

    @async_to_sync
    async def call(self, method: str, path: str, **how: Any) -> Any:
        return await self._client.generic(method, path, **{"headers": self.headers} | how)


@pytest.fixture
def api(db: None) -> Api:
    return bearer("agent")


def bearer(name: str, scopes: Iterable[Scope] = Scope, namespaces: Iterable[str] = ()) -> Api:
    return Api(issue(name, scopes, namespaces))
