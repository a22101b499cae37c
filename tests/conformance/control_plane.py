"""The cluster under test: the sandbox, or a real control plane. Both keep a record of what was written."""

import json
import re
from datetime import UTC, datetime
from pathlib import Path
from time import monotonic, sleep
from typing import Any, Protocol
from uuid import uuid4

import pytest

from smartops.sandbox import Sandbox
from smartops.sandbox.faults import CompactHistory
from smartops.sandbox.server import Recorded
from tests.conformance.client import Client, Object

VERBS = {"POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}
WRITES = {*VERBS.values(), "deletecollection"}
REQUEST = re.compile(
    r"(?:/api|/apis/(?P<apiGroup>[^/]+))/(?P<apiVersion>[^/]+)"
    r"(?:/namespaces/(?P<namespace>[^/]+)(?=/))?/(?P<resource>[^/]+)(?:/(?P<name>[^/]+)(?:/(?P<subresource>.+))?)?"
)


class ControlPlane(Protocol):
    kubeconfig: Path
    real: bool

    def audit(self) -> list[Object]:
        """The writes that were answered so far, as audit.k8s.io/v1 Events, in the order of their answers."""

    def forget_history(self) -> None:
        """Versions that were read until now expire: soon on a real API server, at once on the sandbox."""


class RealControlPlane:
    real = True

    def __init__(self, kubeconfig: Path, audit_log: Path | None) -> None:
        self.kubeconfig, self._audit_log = kubeconfig, audit_log

    def audit(self) -> list[Object]:
        if self._audit_log is None:
            pytest.skip("CONFORMANCE_AUDIT_LOG does not say where this cluster writes its audit log")
        # A request is logged a moment after its answer. This one has its line when those before it have theirs.
        barrier = f"audit-{uuid4()}"
        client = Client(self.kubeconfig)
        client.send("DELETE", f"configmaps/{barrier}")
        client.close()
        deadline = monotonic() + 10
        while barrier not in (written := self._audit_log.read_text()):
            assert monotonic() < deadline, f"nothing is written to {self._audit_log}"
            sleep(0.02)
        whole, _, _ = written.rpartition("\n")
        events = map(json.loads, whole.splitlines())
        return [event for event in events if event["verb"] in WRITES and event["objectRef"].get("name") != barrier]

    def forget_history(self) -> None:
        """Its API server compacts etcd every few seconds."""
        if self._audit_log is None:
            pytest.skip("this cluster keeps its history for minutes")


class SandboxControlPlane:
    real = False

    def __init__(self, sandbox: Sandbox) -> None:
        self.kubeconfig, self._sandbox = sandbox.kubeconfig, sandbox

    def audit(self) -> list[Object]:
        return [
            audit_event(request) for request in self._sandbox.requests if request.method in VERBS and request.status
        ]

    def forget_history(self) -> None:
        self._sandbox.fault(CompactHistory())


def audit_event(request: Recorded) -> Object:
    path = request.path.partition("?")[0]
    matched = REQUEST.fullmatch(path)
    reference = {key: value for key, value in matched.groupdict().items() if value} if matched else {}
    verb = VERBS[request.method]
    when = datetime.fromtimestamp(request.time, UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
    event: dict[str, Any] = {
        "apiVersion": "audit.k8s.io/v1",
        "kind": "Event",
        "stage": "ResponseComplete",
        "verb": "deletecollection" if verb == "delete" and "name" not in reference else verb,
        "requestURI": request.path,
        "user": {"username": "system:anonymous"},
        "objectRef": reference,
        "responseStatus": {"code": request.status},
        "requestReceivedTimestamp": when,
        "stageTimestamp": when,
    }
    try:
        return event | {"requestObject": json.loads(request.body)}
    except ValueError:
        return event
