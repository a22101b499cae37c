"""One sandbox cluster: store, registry, controllers, kubelet and server."""

import time
from collections.abc import Iterable
from pathlib import Path

import yaml
from aiohttp import web

from smartops.dev.sandbox.daemonsets import DaemonSetController
from smartops.dev.sandbox.deployments import DeploymentController
from smartops.dev.sandbox.discovery import VERSION
from smartops.dev.sandbox.disruptions import DisruptionController
from smartops.dev.sandbox.events import Recorder
from smartops.dev.sandbox.garbage import GarbageCollector
from smartops.dev.sandbox.kubelet import Kubelet
from smartops.dev.sandbox.readiness import Readiness
from smartops.dev.sandbox.registry import Registry, Writer
from smartops.dev.sandbox.replicasets import ReplicaSetController
from smartops.dev.sandbox.resources import BY_NAME, NAMESPACE
from smartops.dev.sandbox.schema import decoded
from smartops.dev.sandbox.server import Server
from smartops.dev.sandbox.statefulsets import StatefulSetController
from smartops.dev.sandbox.store import Store

NAMESPACES = ("default", "kube-node-lease", "kube-public", "kube-system")


class Cluster:
    """Runs in the event loop in which it is created. `history` bounds the events from which a watch can resume, per
    kind. Idle watches get a bookmark every `bookmark_every` seconds."""

    def __init__(self, *, history: int = 10_000, bookmark_every: float = 60.0) -> None:
        # Versions begin at the clock: to a client of an earlier cluster here, its versions are too old, never ahead.
        self.registry = Registry(Store(history=history, version=int(time.time() * 1000)))
        self.server = Server(self.registry, bookmark_every=bookmark_every)
        Kubelet(self.registry, VERSION)
        readiness, recorder = Readiness(self.registry.store), Recorder(self.registry)
        ReplicaSetController(self.registry, readiness)
        DeploymentController(self.registry, recorder)
        StatefulSetController(self.registry, recorder, readiness)
        DaemonSetController(self.registry, recorder, readiness)
        DisruptionController(self.registry)
        GarbageCollector(self.registry)
        for name in NAMESPACES:
            self.registry.create(NAMESPACE, "", {"metadata": {"name": name}})

    def load(self, manifests: Iterable[Path]) -> None:
        """Create the objects of YAML files, and the namespaces that they use."""
        for path in manifests:
            for document in filter(None, yaml.safe_load_all(path.read_text())):
                kind = BY_NAME[document.pop("apiVersion"), document.pop("kind")]
                namespace = document["metadata"].get("namespace", "default") if kind.namespaced else ""
                if namespace and self.registry.store.get(NAMESPACE, "", namespace) is None:
                    self.registry.create(NAMESPACE, "", {"metadata": {"name": namespace}})
                known, _ = decoded(kind, document)
                self.registry.create(kind, namespace, known, writer=Writer("sandbox-load"))

    async def serve(self, port: int = 0) -> tuple[web.AppRunner, str]:
        """Listen on loopback. Returns the runner, which the caller must clean up, and the URL."""
        runner = web.AppRunner(
            self.server.application(), handler_cancellation=True, access_log=None, shutdown_timeout=0.1
        )
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", port)
        await site.start()
        host, bound = runner.addresses[0][:2]
        return runner, f"http://{host}:{bound}"


def write_kubeconfig(path: Path, url: str) -> None:
    """Write a kubeconfig. It has no credentials, as the sandbox has no authentication."""
    name = "smartops-sandbox"
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": name,
        "contexts": [{"name": name, "context": {"cluster": name, "user": name}}],
        "clusters": [{"name": name, "cluster": {"server": url}}],
        "users": [{"name": name, "user": {}}],
    }
    path.write_text(yaml.safe_dump(config, sort_keys=False))
