"""The last page: where everything is, and what to try. Pure, but for the working directory."""

import json
import os
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from smartops.dev.demo.cluster import KUBECTL
from smartops.dev.demo.workloads import HERO, NAMESPACE

Json = dict[str, Any]


def addresses(handles: Json, state: Path) -> Iterator[tuple[str, str]]:
    """(what, where)"""
    url, admin = handles["url"], handles["admin"]
    yield "Console", f"{url}/console/"
    yield "Admin", f"{url}/admin/"
    yield "Sign in", f"{admin['username']} / {admin['password']}"
    yield "API", f"{url}/v1/openapi.json"
    yield "Token", handles["token"]
    yield "Metrics", f"{handles['metrics']['web']}  {handles['metrics']['reconciler']}"
    yield "State", f"{_path(state)}  (demo.json, *.log)"


def commands(handles: Json) -> Iterator[tuple[str, str]]:
    """(what, how): ready to paste into a shell."""
    scale = {"deployment": "checkout", "replicas": 4}
    anomaly = {
        "windowId": "'$(date +%s)'",
        "service": "payments",
        "isAnomaly": True,
        "score": 0.9,
        "type": "error",
    }
    yield "Scale a Deployment, and wait until it has rolled out:", _post(handles, "/v1/k8s/scale", scale)
    yield "Report an anomaly:", _post(handles, "/v1/signals/anomaly", anomaly)
    kubectl = [_path(Path(KUBECTL)), f"--kubeconfig={_path(Path(handles['kubeconfig']))}", f"--namespace={NAMESPACE}"]
    look = shlex.join([*kubectl, "get", "deployments", "--watch"])
    yield f"Watch {HERO} and the others in the cluster:", look


def _post(handles: Json, path: str, body: Json) -> str:
    return " \\\n  ".join(
        [
            f"curl {handles['url']}{path}",
            f"-H 'Authorization: Bearer {handles['token']}'",
            "-H 'Content-Type: application/json'",
            f"-d '{json.dumps(body, separators=(',', ':'))}'",
        ]
    )


def _path(path: Path) -> str:
    """From here, if that is shorter."""
    return min(str(path), os.path.relpath(path), key=len)
