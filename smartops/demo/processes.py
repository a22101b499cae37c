"""Child processes that end when we end, even if we are killed."""

import asyncio
import os
import signal
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from smartops.demo.state import DemoError

# The kernel kills the child when its parent dies. A parent that died before it could promise so is no parent any more.
TETHER = ("setpriv", "--pdeathsig", "KILL", "sh", "-c", '[ "$PPID" = "$0" ] && exec "$@"')
PATIENCE = 5.0  # seconds from SIGTERM to SIGKILL
SOURCES = Path(__file__).resolve().parents[2]


class Processes:
    """`start` what is to live as long as the demo: `failure` is the future of its untimely end. `run` what ends by
    itself. Each writes to a log of its name in `logs`."""

    def __init__(self, logs: Path, environment: Mapping[str, str]) -> None:
        self._logs, self._environment = logs, environment
        self._started: list[Process] = []
        self._stopping = False
        self._followers: list[asyncio.Task[None]] = []
        self.failure: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def start(
        self,
        name: str,
        *command: str,
        environment: Mapping[str, str] | None = None,
        pass_fds: Sequence[int] = (),
        pipe: bool = False,
    ) -> Process:
        """`pipe`: its standard output is for us to read, and not for the log."""
        process = await self._spawn(name, command, environment or {}, pass_fds, pipe)
        self._started.append(process)
        self._followers.append(asyncio.create_task(self._follow(name, process)))
        return process

    async def run(self, name: str, *command: str, environment: Mapping[str, str] | None = None) -> str:
        """Its standard output. DemoError with the end of its log where it fails."""
        async with self.reading(name, *command, environment=environment) as process:
            output, _ = await process.communicate()
        if process.returncode:
            raise DemoError(self.post_mortem(name, f"{name} failed with status {process.returncode}"))
        return output.decode()

    @asynccontextmanager
    async def reading(
        self, name: str, *command: str, environment: Mapping[str, str] | None = None
    ) -> AsyncIterator[Process]:
        """A process whose standard output is read within the block, and which does not outlive it."""
        process = await self._spawn(name, command, environment or {}, (), pipe=True)
        try:
            yield process
        finally:
            await _end(process)

    def follow(self, name: str, pid: int) -> None:
        """A process that is no child of ours to wait for."""
        descriptor = os.pidfd_open(pid)
        loop = asyncio.get_running_loop()

        def ended() -> None:
            loop.remove_reader(descriptor)
            os.close(descriptor)
            self._lost(name, f"{name} ended")

        loop.add_reader(descriptor, ended)

    async def stop(self) -> None:
        """The last started first, one after the other."""
        self._stopping = True
        for process in reversed(self._started):
            await _end(process)

    def post_mortem(self, name: str, what: str) -> str:
        log = self._logs / f"{name}.log"
        lines = log.read_text(errors="replace").splitlines()[-15:] if log.exists() else []
        return "\n".join([f"{what}; the end of {log}:", *(f"  {line}" for line in lines or ["(nothing)"])])

    async def _spawn(
        self, name: str, command: Sequence[str], environment: Mapping[str, str], pass_fds: Sequence[int], pipe: bool
    ) -> Process:
        with (self._logs / f"{name}.log").open("wb") as log:
            return await asyncio.create_subprocess_exec(
                *TETHER, str(os.getpid()), *command,
                stdin=DEVNULL, stdout=PIPE if pipe else log, stderr=log,
                env={**self._environment, **environment}, cwd=SOURCES, pass_fds=pass_fds,
                start_new_session=True,  # a Ctrl-C is for us alone: we stop the others in order
            )  # fmt: skip

    async def _follow(self, name: str, process: Process) -> None:
        status = await process.wait()
        ended = f"was killed by {signal.Signals(-status).name}" if status < 0 else f"ended with status {status}"
        self._lost(name, f"{name} {ended}")

    def _lost(self, name: str, what: str) -> None:
        if not self._stopping and not self.failure.done():
            self.failure.set_exception(DemoError(self.post_mortem(name, what)))


async def _end(process: Process) -> None:
    with suppress(ProcessLookupError):
        process.terminate()
        try:
            async with asyncio.timeout(PATIENCE):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()
