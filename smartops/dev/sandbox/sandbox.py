"""A cluster in a thread, for tests."""

import asyncio
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from types import TracebackType
from typing import Any, Self, TypeVar

from smartops.dev.sandbox.cluster import Cluster, write_kubeconfig
from smartops.dev.sandbox.faults import RequestReason
from smartops.dev.sandbox.server import Recorded

T = TypeVar("T")


class Sandbox:
    """`with Sandbox() as sandbox:` serves at `sandbox.url` and writes `sandbox.kubeconfig`. Takes the options of
    Cluster."""

    url: str
    kubeconfig: Path

    def __init__(self, *, history: int = 10_000, bookmark_every: float = 60.0) -> None:
        self._make = partial(Cluster, history=history, bookmark_every=bookmark_every)
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), name="sandbox", daemon=True)
        self._failure: Exception | None = None

    def __enter__(self) -> Self:
        self._thread.start()
        self._ready.wait()
        if self._failure:
            raise self._failure
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Raises an error that occurred in the cluster, e.g. in a controller, so that the test fails."""
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()
        if self._failure and error is None:
            raise self._failure

    @property
    def requests(self) -> list[Recorded]:
        """The recorded requests, oldest first."""
        return self.call(lambda cluster: list(cluster.server.requests))

    def fault(self, fault: RequestReason) -> None:
        self.call(lambda cluster: cluster.server.add_fault(fault))

    def clear_faults(self) -> None:
        self.call(lambda cluster: cluster.server.faults.clear())

    def load(self, *manifests: Path) -> None:
        self.call(lambda cluster: cluster.load(manifests))

    def call(self, work: Callable[[Cluster], T]) -> T:
        """Run `work` in the thread of the cluster."""

        async def do() -> T:
            return work(self._cluster)

        return asyncio.run_coroutine_threadsafe(do(), self._loop).result(timeout=60)

    def _fail(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        self._failure = self._failure or context.get("exception") or RuntimeError(context["message"])
        loop.default_exception_handler(context)

    async def _serve(self) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        self._loop.set_exception_handler(self._fail)
        try:
            self._cluster = self._make()
            runner, self.url = await self._cluster.serve()
        except Exception as failure:  # noqa: BLE001 - it is the caller's, in the other thread
            self._failure = failure
            self._ready.set()
            return
        with TemporaryDirectory(prefix="sandbox-") as directory:
            self.kubeconfig = Path(directory) / "kubeconfig"
            write_kubeconfig(self.kubeconfig, self.url)
            self._ready.set()
            await self._stop.wait()
            await runner.cleanup()
