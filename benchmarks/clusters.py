"""The clusters that are measured on, each with its own record of what it was asked."""

import json
import ssl
import time
from abc import ABC, abstractmethod
from collections.abc import Iterable
from pathlib import Path
from typing import ClassVar
from urllib.parse import urlsplit
from urllib.request import urlopen
from uuid import uuid4

import yaml

from benchmarks.http import Connection, drive
from benchmarks.processes import cpu_seconds
from benchmarks.record import Json, Request, as_audited, as_recorded

NAMESPACE = "smartops-dev"
AT_REST, RESTS_WITHIN = 0.15, 120.0  # cores; seconds
RECORDED_WITHIN = 10.0  # seconds
THREADS = 16


class Cluster(ABC):
    """`pid`: of the process whose descendants are all that there is of it."""

    name: ClassVar[str]

    def __init__(self, kubeconfig: Path, pid: int) -> None:
        self.kubeconfig, self.pid = kubeconfig, pid
        config = yaml.safe_load(kubeconfig.read_text())
        access, user = config["clusters"][0]["cluster"], config["users"][0]["user"]
        server = urlsplit(access["server"])
        self._address = (str(server.hostname), int(server.port or 443))
        self._headers = {"Authorization": f"Bearer {user['token']}"} if "token" in user else {}
        authority = access.get("certificate-authority")
        self._context = ssl.create_default_context(cafile=authority) if authority else None

    @abstractmethod
    def requests(self, since: float = 0.0) -> list[Request]:
        """All that it was asked by us and has answered, watches aside; by the time of their arrival."""

    def writes(self, since: float = 0.0) -> list[Request]:
        return [one for one in self.requests(since) if one.wrote]

    def generations(self) -> dict[str, int]:
        """Of each Deployment, as it is now: each change of what it asks for has moved it by one."""
        with self.connect() as connection:
            _, found = connection.get(f"/apis/apps/v1/namespaces/{NAMESPACE}/deployments")
        return {one["metadata"]["name"]: one["metadata"]["generation"] for one in json.loads(found)["items"]}

    def connect(self) -> Connection:
        return Connection(self._address, self._headers, context=self._context)

    def cpu_seconds(self) -> float:
        return cpu_seconds(self.pid)

    def rest(self) -> None:
        """Returns when it has done what there was to do: controllers go on after a rollout is complete."""
        deadline, used = time.monotonic() + RESTS_WITHIN, self.cpu_seconds()
        while time.monotonic() < deadline:
            time.sleep(1)
            before, used = used, self.cpu_seconds()
            if used - before < AT_REST:
                return
        raise RuntimeError(f"the {self.name} did not come to rest within {RESTS_WITHIN:.0f} s")


class Sandbox(Cluster):
    name = "sandbox"

    def __init__(self, kubeconfig: Path, pid: int, url: str) -> None:
        super().__init__(kubeconfig, pid)
        self._url = url

    def requests(self, since: float = 0.0) -> list[Request]:
        with urlopen(f"{self._url}/sandbox/requests") as answer:  # noqa: S310 - it is HTTP
            record = json.load(answer)
        return [as_recorded(one) for one in record if one["time"] >= since and one["method"] != "WATCH"]


class ControlPlane(Cluster):
    """A real one. Its audit log has what was written, and what we have read."""

    name = "control plane"

    def __init__(self, kubeconfig: Path, pid: int) -> None:
        super().__init__(kubeconfig, pid)
        self._log = kubeconfig.with_name("audit.log")
        self._read = 0
        self._requests: list[Request] = []

    def requests(self, since: float = 0.0) -> list[Request]:
        # A request is in the log a moment after its answer. When this one is, all before it are.
        mark = f"mark-{uuid4().hex}"
        with self.connect() as connection:
            connection.get(f"/api/v1/namespaces/default/configmaps/{mark}")
        deadline = time.monotonic() + RECORDED_WITHIN
        while not self._catch_up(mark):
            if time.monotonic() > deadline:
                raise RuntimeError(f"{self._log} does not record what we read")
            time.sleep(0.02)
        return [one for one in self._requests if one.at >= since]

    def create(self, workloads: Iterable[Json]) -> None:
        """Many at a time."""
        wanted = list(workloads)
        with self.connect() as connection:
            for namespace in sorted({one["metadata"]["namespace"] for one in wanted}):
                connection.post("/api/v1/namespaces", json.dumps({"metadata": {"name": namespace}}).encode())

        def create(connection: Connection, one: Json) -> None:
            place = "/apis/apps/v1" if one["kind"] == "Deployment" else "/api/v1"
            namespace, kind = one["metadata"]["namespace"], one["kind"].lower()
            connection.post(f"{place}/namespaces/{namespace}/{kind}s", json.dumps(one).encode())

        drive([self.connect() for _ in range(THREADS)], wanted, create)

    def _catch_up(self, mark: str) -> bool:
        """Whether the mark is among what the log has now."""
        with self._log.open("rb") as log:
            log.seek(self._read)
            new, _, _ = log.read().rpartition(b"\n")
        if not new:
            return False
        self._read += len(new) + 1
        audited = [json.loads(line) for line in new.splitlines()]
        found = [as_audited(one) for one in audited if one["stage"] == "ResponseComplete" and one["verb"] != "watch"]
        self._requests += [one for one in found if not one.name.startswith("mark-")]
        return any(one.name == mark for one in found)


def deployment(name: str, namespace: str, ready_after: str, replicas: int = 1) -> Json:
    """`ready_after`: how long its pods take, e.g. "1s"."""
    template = {
        "metadata": {"labels": {"app": name}, "annotations": {"sim/ready-after": ready_after}},
        "spec": {"containers": [{"name": "main", "image": "nginx:1.29-alpine"}]},
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"replicas": replicas, "selector": {"matchLabels": {"app": name}}, "template": template},
    }
