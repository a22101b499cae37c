"""A plain HTTP client for the sandbox: the product's own client shall not be its own witness."""

import json
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any
from urllib.parse import urlencode

import urllib3

Object = dict[str, Any]
JSON, MERGE = "application/json", "application/merge-patch+json"
DEPLOYMENTS = "/apis/apps/v1/namespaces/default/deployments"


class Client:
    """`timeout` in seconds, for each answer and for each silence on a watch."""

    def __init__(self, url: str, timeout: float = 10.0) -> None:
        self._url = url
        self._pool = urllib3.PoolManager(retries=False, timeout=timeout, maxsize=4)

    def close(self) -> None:
        self._pool.clear()

    def send(self, method: str, path: str, body: Any = None, content_type: str = JSON, **query: str) -> tuple[int, Any]:
        response = self.raw(method, path, body, content_type, **query)
        return response.status, json.loads(response.data or b"null")

    def raw(
        self, method: str, path: str, body: Any = None, content_type: str = JSON, accept: str = JSON, **query: str
    ) -> urllib3.BaseHTTPResponse:
        raw = body if isinstance(body, bytes | None) else json.dumps(body).encode()
        headers = {"Accept": accept} | ({"Content-Type": content_type} if raw is not None else {})
        return self._pool.request(method, self._address(path, query), body=raw, headers=headers)

    def get(self, path: str, **query: str) -> Object:
        return self._expect(200, *self.send("GET", path, **query))

    def create(self, path: str, obj: Object) -> Object:
        return self._expect(201, *self.send("POST", path, obj))

    def patch(self, path: str, patch: Any, content_type: str = MERGE, **query: str) -> Object:
        return self._expect(200, *self.send("PATCH", path, patch, content_type, **query))

    def watch(self, path: str, accept: str = JSON, **query: str) -> Iterator[Object]:
        """Events until the connection ends; it is open when this returns."""
        address = self._address(path, query | {"watch": "1"})
        response = self._pool.request("GET", address, headers={"Accept": accept}, preload_content=False)
        assert response.status == 200, response.read()

        def events() -> Iterator[Object]:
            with closing(response):
                for line in response:
                    yield json.loads(line)

        return events()

    def wait(self, path: str, condition: Callable[[Object], bool], **query: str) -> Object:
        """The first object of a collection to fulfil the condition; what to wait for is awaited on a watch."""
        for event in self.watch(path, timeoutSeconds="8", **query):
            found: Object = event["object"]
            if event["type"] in ("ADDED", "MODIFIED") and condition(found):
                return found
        raise AssertionError(f"nothing in {path} became so")

    def rolled_out(self, name: str, generation: int = 1) -> Object:
        return self.wait(
            DEPLOYMENTS, lambda found: is_complete(found, generation), fieldSelector=f"metadata.name={name}"
        )

    def _expect(self, expected: int, status: int, found: Object) -> Object:
        assert status == expected, found
        return found

    def _address(self, path: str, query: dict[str, str]) -> str:
        return f"{self._url}{path}" + (f"?{urlencode(query)}" if query else "")


def is_complete(found: Object, generation: int) -> bool:
    status, desired = found.get("status", {}), found["spec"]["replicas"]
    counts = [status.get(name, 0) for name in ("replicas", "updatedReplicas", "availableReplicas")]
    return status.get("observedGeneration", 0) >= generation and counts == [desired] * 3
