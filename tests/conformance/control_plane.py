"""The cluster under test: the sandbox, or a real control plane. Both keep a record of what was written, and can give
less than all rights."""

import json
import re
from collections.abc import Collection, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Protocol
from uuid import uuid4

import pytest

from orchestrator.k8s.permissions import PERMISSIONS, Permission
from smartops.dev.sandbox import Sandbox
from smartops.dev.sandbox.faults import CompactHistory, Forbid
from smartops.dev.sandbox.server import Recorded
from tests.kit.client import Client, Object, with_token
from tests.kit.patience import eventually

VERBS = {"POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}
RBAC = "rbac.authorization.k8s.io"
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

    def granting(self, rights: Collection[Permission], namespace: str) -> AbstractContextManager[Path]:
        """The kubeconfig of somebody who has these of `PERMISSIONS` in the namespace, and none of the others."""


class RealControlPlane:
    real = True

    def __init__(self, kubeconfig: Path, audit_log: Path | None) -> None:
        self.kubeconfig, self._audit_log = kubeconfig, audit_log
        self._events: list[Object] = []
        self._read = 0  # bytes

    def audit(self) -> list[Object]:
        if self._audit_log is None:
            pytest.skip("CONFORMANCE_AUDIT_LOG does not say where this cluster writes its audit log")
        # A request is logged a moment after its answer. This one has its line when those before it have theirs.
        barrier = f"audit-{uuid4()}"
        client = Client(self.kubeconfig)
        client.send("DELETE", f"configmaps/{barrier}")
        client.close()
        log = self._audit_log
        eventually(lambda: barrier in self._read_on(log), f"nothing is written to {log}")
        return [event for event in self._events if event["objectRef"].get("name") != barrier]

    def _read_on(self, audit_log: Path) -> str:
        """The lines since the last time; their writes join the others."""
        with audit_log.open("rb") as log:
            log.seek(self._read)
            found, end, _ = log.read().rpartition(b"\n")
        self._read += len(found) + len(end)
        lines = found.decode()
        self._events += [event for event in map(json.loads, lines.splitlines()) if event["verb"] in WRITES]
        return lines

    def forget_history(self) -> None:
        """Its API server compacts etcd every few seconds."""
        if self._audit_log is None:
            pytest.skip("this cluster keeps its history for minutes")

    @contextmanager
    def granting(self, rights: Collection[Permission], namespace: str) -> Iterator[Path]:
        rules = [{"apiGroups": [one.group], "resources": [one.resource], "verbs": one.verbs} for one in rights]
        role, account = {"kind": "Role", "name": "some"}, {"kind": "ServiceAccount", "name": "some"}
        with closing(Client(self.kubeconfig, namespace)) as client:
            client.create("serviceaccounts", {"metadata": {"name": "some"}})
            client.create("roles", {"metadata": {"name": "some"}, "rules": rules})
            binding = {"roleRef": role | {"apiGroup": RBAC}, "subjects": [account | {"namespace": namespace}]}
            client.create("rolebindings", {"metadata": {"name": "some"}, **binding})
            token = client.create("serviceaccounts/some/token", {"spec": {}})["status"]["token"]
        user = f"system:serviceaccount:{namespace}:some"
        for right in rights:
            await_right(self.kubeconfig, user, right, right.verbs[0], namespace)
        with TemporaryDirectory() as directory:
            yield with_token(self.kubeconfig, token, Path(directory) / "kubeconfig")


def await_right(
    kubeconfig: Path, user: str, right: Permission, verb: str, namespace: str, *, allowed: bool = True
) -> None:
    """Returns when the user may, or may not. The authorizer hears of a change of a Role or a binding a moment later."""
    attributes = {"namespace": namespace, "verb": verb, "group": right.group, "resource": right.resource}
    review = {"spec": {"user": user, "resourceAttributes": attributes}}
    path = "/apis/authorization.k8s.io/v1/subjectaccessreviews"
    with closing(Client(kubeconfig)) as client:
        eventually(
            lambda: client.create(path, review)["status"]["allowed"] is allowed,
            f"{user} may {'not yet' if allowed else 'still'} {verb} {right.group_resource} in {namespace}",
        )


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

    @contextmanager
    def granting(self, rights: Collection[Permission], namespace: str) -> Iterator[Path]:
        """Takes the others from everybody."""
        granted, known = (
            {(one.group, one.resource, verb) for one in them for verb in one.verbs} for them in (rights, PERMISSIONS)
        )
        for group, resource, verb in known - granted:
            self._sandbox.fault(Forbid(verb=verb, group=group, resource=resource, namespace=namespace))
        try:
            yield self.kubeconfig
        finally:
            self._sandbox.clear_faults()


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
