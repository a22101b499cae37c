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
TIMEOUT = 10.0


class Client:
    def __init__(self, url: str) -> None:
        self.url = url
        self._pool = urllib3.PoolManager(retries=False, timeout=TIMEOUT, maxsize=4)

    def close(self) -> None:
        self._pool.clear()

    def send(self, method: str, path: str, body: Any = None, content_type: str = JSON, **query: str) -> tuple[int, Any]:
        raw = body if isinstance(body, bytes | None) else json.dumps(body).encode()
        headers = {"Content-Type": content_type} if raw is not None else {}
        response = self._pool.request(method, self._address(path, query), body=raw, headers=headers)
        return response.status, json.loads(response.data or b"null")

    def get(self, path: str, **query: str) -> Object:
        status, found = self.send("GET", path, **query)
        assert status == 200, found
        return found

    def create(self, path: str, obj: Object) -> Object:
        status, created = self.send("POST", path, obj)
        assert status == 201, created
        return created

    def patch(self, path: str, patch: Any, content_type: str = MERGE, **query: str) -> Object:
        status, patched = self.send("PATCH", path, patch, content_type, **query)
        assert status == 200, patched
        return patched

    def watch(self, path: str, **query: str) -> Iterator[Object]:
        """Events until the connection ends."""
        address = self._address(path, query | {"watch": "1"})
        response = self._pool.request("GET", address, preload_content=False)
        with closing(response):
            assert response.status == 200, response.read()
            for line in response:
                yield json.loads(line)

    def wait(self, path: str, condition: Callable[[Object], bool], **query: str) -> Object:
        """The first object of a collection to fulfil the condition; what to wait for is awaited on a watch."""
        for event in self.watch(path, timeoutSeconds="8", **query):
            if event["type"] in ("ADDED", "MODIFIED") and condition(event["object"]):
                return event["object"]
        raise AssertionError(f"nothing in {path} became so")

    def rolled_out(self, name: str, generation: int = 1) -> Object:
        return self.wait(
            DEPLOYMENTS, lambda found: is_complete(found, generation), fieldSelector=f"metadata.name={name}"
        )

    def _address(self, path: str, query: dict[str, str]) -> str:
        return f"{self.url}{path}" + (f"?{urlencode(query)}" if query else "")


def is_complete(found: Object, generation: int) -> bool:
    status, desired = found.get("status", {}), found["spec"]["replicas"]
    counts = [status.get(name, 0) for name in ("replicas", "updatedReplicas", "availableReplicas")]
    return status.get("observedGeneration", 0) >= generation and counts == [desired] * 3
