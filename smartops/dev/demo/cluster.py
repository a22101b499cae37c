"""The cluster of the demo: a sandbox, or the one of DEMO_KUBECONFIG."""

import json
import sys
import sysconfig
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from smartops.dev.demo.processes import Processes
from smartops.dev.demo.workloads import HERO, NAMESPACE, manifests

KUBECTL = str(Path(sysconfig.get_path("scripts"), "kubectl"))
AVAILABLE_WITHIN = "120s"  # a cluster with containers may have to pull images
REPLICAS = "{.spec.replicas} {.status.updatedReplicas} {.status.availableReplicas}"


@dataclass(frozen=True, slots=True)
class Counts:
    desired: int
    updated: int
    available: int

    def __str__(self) -> str:
        return f"{self.updated} of {self.desired} replicas updated, {self.available} available"


@dataclass(frozen=True, slots=True)
class Cluster:
    """`url` and `pid` belong to the sandbox; they are None for another cluster."""

    processes: Processes
    kubeconfig: Path
    url: str | None = None
    pid: int | None = None

    async def populate(self, manifest: Path) -> None:
        """Create the missing objects among the namespace and the workloads; existing ones are not changed. Returns when
        HERO is available. The manifests are written to the file `manifest`."""
        wanted = manifests()
        _write(manifest, wanted)
        found = (await self._kubectl("get", f"--filename={manifest}", "--ignore-not-found", "--output=name")).split()
        missing = [one for one in wanted if _name(one) not in found]
        if missing:
            _write(manifest, missing)
            await self._kubectl("create", "--validate=false", f"--filename={manifest}")
        await self._kubectl("rollout", "status", f"deployment/{HERO}", f"--timeout={AVAILABLE_WITHIN}")

    @asynccontextmanager
    async def watching(self, workload: str) -> AsyncIterator[AsyncIterator[Counts]]:
        """The replica counts of a workload: the present ones, then each change."""
        command = ("get", "deployment", workload, "--watch", f'--output=jsonpath={REPLICAS}{{"\\n"}}')
        async with self.processes.reading("kubectl", *self._command(*command)) as process:
            assert process.stdout is not None
            yield (_counts(line) async for line in process.stdout)

    async def _kubectl(self, *arguments: str) -> str:
        return await self.processes.run("kubectl", *self._command(*arguments))

    def _command(self, *arguments: str) -> list[str]:
        return [KUBECTL, f"--kubeconfig={self.kubeconfig}", f"--namespace={NAMESPACE}", *arguments]


async def sandbox(processes: Processes, directory: Path) -> Cluster:
    process = await processes.start(
        "sandbox", sys.executable, "-m", "smartops.dev.sandbox", "--dir", str(directory), pipe=True
    )
    assert process.stdout is not None
    _, _, url = (await process.stdout.readline()).decode().strip().partition("ready ")
    if not url:
        await processes.failure
    return Cluster(processes, directory / "kubeconfig", url, process.pid)


def _write(path: Path, items: list[dict[str, Any]]) -> None:
    path.write_text(json.dumps({"apiVersion": "v1", "kind": "List", "items": items}))


def _name(manifest: dict[str, Any]) -> str:
    """The name as `kubectl --output=name` prints it."""
    group = ".apps" if manifest["apiVersion"] == "apps/v1" else ""
    return f"{manifest['kind'].lower()}{group}/{manifest['metadata']['name']}"


def _counts(line: bytes) -> Counts:
    """kubectl omits zeros."""
    return Counts(*(int(number or 0) for number in line.decode().rstrip("\n").split(" ")))
