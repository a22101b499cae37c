"""A plain HTTP client for a Kubernetes API: the product's own client shall not be its own witness."""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import urllib3
import yaml
from kubernetes.client import Configuration
from kubernetes.config import load_kube_config

from tests.kit.patience import PATIENCE

Object = dict[str, Any]
JSON, MERGE = "application/json", "application/merge-patch+json"
STRATEGIC, JSON_PATCH = "application/strategic-merge-patch+json", "application/json-patch+json"
APPLY = "application/apply-patch+yaml"
GROUPS = {  # all others that we use are in /api/v1
    "deployments": "/apis/apps/v1",
    "replicasets": "/apis/apps/v1",
    "statefulsets": "/apis/apps/v1",
    "daemonsets": "/apis/apps/v1",
    "controllerrevisions": "/apis/apps/v1",
    "poddisruptionbudgets": "/apis/policy/v1",
    "horizontalpodautoscalers": "/apis/autoscaling/v2",
    "roles": "/apis/rbac.authorization.k8s.io/v1",
    "rolebindings": "/apis/rbac.authorization.k8s.io/v1",
}


class UnmetError(AssertionError):
    """The watch ended before an object fulfilled the condition."""


class Client:
    """Paths without a leading slash are of `namespace`: "pods", "deployments/web/scale". `timeout` in seconds, for each
    answer and for each silence on a watch."""

    def __init__(self, kubeconfig: Path, namespace: str = "default", timeout: float = PATIENCE) -> None:
        access = Configuration()
        load_kube_config(  # type: ignore[no-untyped-call]
            str(kubeconfig), client_configuration=access, persist_config=False
        )
        credentials: Mapping[str, Any] = access.auth_settings()
        self._url, self._namespace = access.host, namespace
        self._headers = {each["key"]: each["value"] for each in credentials.values()}
        self._pool = urllib3.PoolManager(
            retries=False, timeout=timeout, maxsize=4, ca_certs=access.ssl_ca_cert, cert_file=access.cert_file,
            key_file=access.key_file, cert_reqs="CERT_REQUIRED" if access.verify_ssl else "CERT_NONE",
        )  # fmt: skip

    def close(self) -> None:
        self._pool.clear()

    def send(self, method: str, path: str, body: Any = None, content_type: str = JSON, **query: str) -> tuple[int, Any]:
        """The status, and the answer's JSON."""
        response = self.raw(method, path, body, content_type, **query)
        return response.status, json.loads(response.data or b"null")

    def raw(
        self, method: str, path: str, body: Any = None, content_type: str = JSON, accept: str = JSON, **query: str
    ) -> urllib3.BaseHTTPResponse:
        raw = body if isinstance(body, bytes | None) else json.dumps(body).encode()
        headers = self._headers | {"Accept": accept} | ({"Content-Type": content_type} if raw is not None else {})
        return self._pool.request(method, self._address(path, query), body=raw, headers=headers)

    def get(self, path: str, **query: str) -> Object:
        return _expect(200, *self.send("GET", path, **query))

    def create(self, path: str, obj: Object, **query: str) -> Object:
        return _expect(201, *self.send("POST", path, obj, **query))

    def patch(self, path: str, patch: Any, content_type: str = MERGE, **query: str) -> Object:
        return _expect(200, *self.send("PATCH", path, patch, content_type, **query))

    def watch(self, path: str, accept: str = JSON, **query: str) -> Iterator[Object]:
        """Events until the connection ends; it is open when this returns."""
        address = self._address(path, query | {"watch": "1"})
        headers = self._headers | {"Accept": accept}
        response = self._pool.request("GET", address, headers=headers, preload_content=False)
        assert response.status == 200, response.read()

        def events() -> Iterator[Object]:
            with closing(response):
                for line in response:
                    yield json.loads(line)

        return events()

    def wait(self, path: str, condition: Callable[[Object], bool], **query: str) -> Object:
        """The first object of a collection to fulfil the condition, as a watch shows it."""
        for event in self.watch(path, **{"timeoutSeconds": f"{PATIENCE:.0f}", **query}):
            found: Object = event["object"]
            if event["type"] in ("ADDED", "MODIFIED") and condition(found):
                return found
        raise UnmetError(f"nothing in {path} became so")

    def rolled_out(self, name: str, generation: int = 1, resource: str = "deployments") -> Object:
        """The workload, once all its pods are of that generation or a later one, and available."""
        return self.wait(resource, lambda found: is_complete(found, generation), fieldSelector=f"metadata.name={name}")

    def _address(self, path: str, query: dict[str, str]) -> str:
        if not path.startswith("/"):
            group = GROUPS.get(re.split("[/?]", path)[0], "/api/v1")
            path = f"{group}/namespaces/{self._namespace}/{path}"
        separator = "&" if "?" in path else "?"
        return f"{self._url}{path}" + (f"{separator}{urlencode(query)}" if query else "")


def is_complete(found: Object, generation: int) -> bool:
    status, desired = found.get("status", {}), found["spec"].get("replicas")
    names = ("replicas", "updatedReplicas", "availableReplicas")
    if desired is None:  # a DaemonSet
        desired = status.get("desiredNumberScheduled")
        names = ("currentNumberScheduled", "updatedNumberScheduled", "numberAvailable")
    counts = [status.get(name, 0) for name in names]
    revisions = {status.get("currentRevision"), status.get("updateRevision")}  # of a StatefulSet
    return status.get("observedGeneration", 0) >= generation and counts == [desired] * 3 and len(revisions) == 1


def with_token(kubeconfig: Path, token: str, to: Path) -> Path:
    """Writes the kubeconfig of whoever has the token, for the same cluster."""
    access: Any = yaml.safe_load(kubeconfig.read_text())
    access["users"] = [{"name": each["name"], "user": {"token": token}} for each in access["users"]]
    to.write_text(yaml.safe_dump(access))
    return to


def _expect(expected: int, status: int, found: Object) -> Object:
    assert status == expected, found
    return found
