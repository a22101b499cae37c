"""The last page: addresses, credentials and example commands. Pure, except for the working directory."""

import json
import os
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from smartops.dev.demo.cluster import KUBECTL
from smartops.dev.demo.workloads import NAMESPACE

Json = dict[str, Any]


def addresses(handles: Json, state: Path) -> Iterator[tuple[str, str]]:
    """Yields (name, address)."""
    url, admin = handles["url"], handles["admin"]
    yield "Console", f"{url}/console/"
    yield "Admin", f"{url}/admin/"
    yield "Sign in", f"{admin['username']} / {admin['password']}"
    yield "API", f"{url}/v1/openapi.json"
    yield "Token", handles["token"]
    yield "Metrics", f"{handles['metrics']['web']}  {handles['metrics']['reconciler']}"
    yield "State", f"{_path(state)}  (demo.json, env, *.log)"


def commands(handles: Json, state: Path) -> Iterator[tuple[str, str]]:
    """Yields (description, command); the commands can be pasted into a shell."""
    scale = {"deployment": "checkout", "replicas": 4}
    anomaly = {
        "windowId": "'$(date +%s)'",
        "service": "payments",
        "isAnomaly": True,
        "score": 0.9,
        "type": "error",
    }
    yield "Scale a Deployment and wait for its rollout:", _post(handles, "/v1/k8s/scale", scale)
    yield "Report an anomaly:", _post(handles, "/v1/signals/anomaly", anomaly)
    kubectl = [_path(Path(KUBECTL)), f"--kubeconfig={_path(Path(handles['kubeconfig']))}", f"--namespace={NAMESPACE}"]
    watch = shlex.join([*kubectl, "get", "deployments", "--watch"])
    yield "Watch the Deployments in the cluster:", watch
    read = shlex.join([".", _file(state / "env")])
    yield "Set URL, TOKEN and the settings of the demo in a shell, for `manage.py` and the examples:", read


def _post(handles: Json, path: str, body: Json) -> str:
    return " \\\n  ".join(
        [
            f"curl {handles['url']}{path}",
            f"-H 'Authorization: Bearer {handles['token']}'",
            "-H 'Content-Type: application/json'",
            f"-d '{json.dumps(body, separators=(',', ':'))}'",
        ]
    )


def _file(path: Path) -> str:
    """The shell searches a name without a slash in its PATH."""
    name = _path(path)
    return name if "/" in name else f"./{name}"


def _path(path: Path) -> str:
    """The path relative to the working directory, if that is shorter."""
    return min(str(path), os.path.relpath(path), key=len)
