"""What a cluster was asked, as its own record has it."""

import json
import re
from dataclasses import dataclass
from datetime import datetime
from typing import Any

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Request:
    """`at`: when it was received, in seconds since the epoch; `body` of a write. In words of Kubernetes."""

    at: float
    verb: str
    resource: str
    name: str
    status: int
    dry_run: bool
    body: Json

    @property
    def wrote(self) -> bool:
        """Whether it changed a Deployment."""
        return self.resource == "deployments" and self.verb == "patch" and self.status == 200 and not self.dry_run

    @property
    def action(self) -> str:
        """The id of the action that wrote it, if one did."""
        return str((self.body.get("metadata", {}).get("annotations") or {}).get("smartops.io/action", ""))


def as_recorded(request: Json) -> Request:
    """Of one of the sandbox's requests."""
    path, _, query = request["path"].partition("?")
    verb = {"POST": "create", "PUT": "update"}.get(request["method"], request["method"].lower())
    found = re.search(r"/namespaces/[^/]+/([^/]+)(?:/([^/]+))?", path)
    resource, name = found.groups(default="") if found else ("", "")
    body = json.loads(request["body"] or "{}")
    return Request(request["time"], verb, resource, name, request["status"], "dryRun" in query, body)


def as_audited(event: Json) -> Request:
    """Of an Event of audit.k8s.io/v1."""
    of = event.get("objectRef", {})
    return Request(
        datetime.fromisoformat(event["requestReceivedTimestamp"]).timestamp(),
        event["verb"],
        of.get("resource", ""),
        of.get("name", ""),
        event["responseStatus"]["code"],
        "dryRun" in event["requestURI"],
        event.get("requestObject") or {},
    )
