"""The chart, installed by Helm in a namespace of its own, and its ServiceAccount. What it creates comes into force a
moment later: each of these waits for it."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import yaml

from orchestrator.k8s.permissions import PERMISSIONS, Permission
from tests.chart.rendering import CHART, RELEASE, Values
from tests.conformance.control_plane import ControlPlane, await_right
from tests.kit.client import Client, Object, with_token
from tests.kit.patience import PATIENCE, eventually

RESTRICTED = {f"pod-security.kubernetes.io/{mode}": "restricted" for mode in ("enforce", "warn")}
BUILT = CHART.parents[1] / ".conformance"  # where `make conformance` builds what it runs


def program() -> str | None:
    return shutil.which("helm", path=f"{BUILT}{os.pathsep}{os.environ['PATH']}")


@dataclass(frozen=True)
class Helm:
    program: str
    kubeconfig: Path
    home: Path

    def __call__(self, *arguments: str) -> str:
        """What it says on stdout."""
        environment = {"PATH": os.environ["PATH"], "HOME": str(self.home), "KUBECONFIG": str(self.kubeconfig)}
        done = subprocess.run(
            [self.program, *arguments], env=environment, capture_output=True, text=True, timeout=PATIENCE, check=False
        )
        assert done.returncode == 0, f"helm {' '.join(arguments)}: {done.stderr}"
        return done.stdout


@dataclass(frozen=True)
class Release:
    namespace: str
    account: Path  # a kubeconfig with a token of the ServiceAccount

    @property
    def user(self) -> str:
        return f"system:serviceaccount:{self.namespace}:smartops-orchestrator"


@contextmanager
def fresh_namespace(control_plane: ControlPlane, prefix: str, **labels: str) -> Iterator[str]:
    name = f"{prefix}-{uuid4().hex[:8]}"
    with closing(Client(control_plane.kubeconfig)) as client:
        client.create("/api/v1/namespaces", {"metadata": {"name": name, "labels": labels}})
        try:
            yield name
        finally:
            client.send("DELETE", f"/api/v1/namespaces/{name}")


@contextmanager
def released(control_plane: ControlPlane, helm: Helm, values: Values) -> Iterator[Release]:
    """In a namespace that admits restricted pods only. Without hooks: no Job runs where there are no containers."""
    with fresh_namespace(control_plane, "smartops", **RESTRICTED) as own:
        file = helm.home / f"{own}.yaml"
        file.write_text(yaml.safe_dump({**values, "global": {"smartops": {"namespace": own}}}))
        try:
            helm("install", RELEASE, str(CHART), "--namespace", own, "--no-hooks", "--values", str(file))
            release = Release(own, account(control_plane.kubeconfig, own, helm.home / f"{own}.kubeconfig"))
            _await_force(control_plane, release, values)
            yield release
        finally:
            helm("uninstall", RELEASE, "--namespace", own, "--no-hooks", "--ignore-not-found")


def _await_force(control_plane: ControlPlane, release: Release, values: Values) -> None:
    """The Roles allow the request that the admission policy refuses, so this waits for the Roles first."""
    namespaces = values.get("targets", {}).get("namespaces", [release.namespace])
    for namespace in namespaces:
        await_right(control_plane.kubeconfig, release.user, PERMISSIONS[0], PERMISSIONS[0].verbs[0], namespace)
    if not values.get("admissionPolicy", {}).get("enabled"):
        return
    foreign = {"metadata": {"generateName": "web."}, "involvedObject": {"namespace": namespaces[0]}}
    with closing(Client(release.account, namespaces[0])) as client:
        eventually(
            lambda: "SmartOps patches workloads" in str(client.send("POST", "events", foreign, dryRun="All")),
            "the policy does not come into force",
        )


def account(kubeconfig: Path, namespace: str, to: Path, name: str = "smartops-orchestrator") -> Path:
    """A kubeconfig with a token of the ServiceAccount, asked for as the kubelet does for its pods."""
    with closing(Client(kubeconfig, namespace)) as client:
        token = client.create(f"serviceaccounts/{name}/token", {"spec": {"expirationSeconds": 3600}})
    return with_token(kubeconfig, token["status"]["token"], to)


@contextmanager
def without(
    control_plane: ControlPlane, release: Release, namespace: str, right: Permission, verb: str
) -> Iterator[None]:
    """The Role of that namespace lacks the verb meanwhile."""
    path = f"/apis/rbac.authorization.k8s.io/v1/namespaces/{namespace}/roles/smartops-orchestrator"

    def rest(rule: Object) -> list[Object]:
        """The rule, with one of its own for the resource that lacks the verb."""
        if right.group not in rule["apiGroups"] or right.resource not in rule["resources"]:
            return [rule]
        others = [one for one in rule["resources"] if one != right.resource]
        verbs = [one for one in rule["verbs"] if one != verb]
        parts = [{**rule, "resources": others}, {**rule, "resources": [right.resource], "verbs": verbs}]
        return [part for part in parts if part["resources"] and part["verbs"]]

    with closing(Client(control_plane.kubeconfig)) as client:
        rules = client.get(path)["rules"]
        client.patch(path, {"rules": [part for rule in rules for part in rest(rule)]})
        try:
            await_right(control_plane.kubeconfig, release.user, right, verb, namespace, allowed=False)
            yield
        finally:
            client.patch(path, {"rules": rules})
            await_right(control_plane.kubeconfig, release.user, right, verb, namespace)
