"""Child processes that end with the demo, even if the demo is killed."""

import asyncio
import os
import signal
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from smartops.dev.demo.state import DemoError

# The kernel kills the child when its parent dies. The test of PPID covers a parent that died before setpriv ran.
TETHER = ("setpriv", "--pdeathsig", "KILL", "sh", "-c", '[ "$PPID" = "$0" ] && exec "$@"')
PATIENCE = 3.0  # seconds from SIGTERM to SIGKILL: callers of the web process may still wait for a response
SOURCES = Path(__file__).resolve().parents[3]


class Processes:
    """`start` a process that must live as long as the demo; if it ends earlier, `failure` gets the exception. `run` a
    process that ends by itself. Each writes to a log with its name in `logs`."""

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
        """With `pipe`, the caller reads its standard output; otherwise it goes to the log."""
        process = await self._spawn(name, command, environment or {}, pass_fds, pipe)
        self._started.append(process)
        self._followers.append(asyncio.create_task(self._follow(name, process)))
        return process

    async def run(self, name: str, *command: str, environment: Mapping[str, str] | None = None) -> str:
        """Returns its standard output. Raises DemoError with the end of its log if it fails."""
        async with self.reading(name, *command, environment=environment) as process:
            output, _ = await process.communicate()
        if process.returncode:
            raise DemoError(post_mortem(f"{name} failed with status {process.returncode}", self.log(name)))
        return output.decode()

    @asynccontextmanager
    async def reading(
        self, name: str, *command: str, environment: Mapping[str, str] | None = None
    ) -> AsyncIterator[Process]:
        """A process whose standard output is read within the block; it ends with the block."""
        process = await self._spawn(name, command, environment or {}, (), pipe=True)
        try:
            yield process
        finally:
            await _end(process)

    def follow(self, name: str, pid: int, log: Path) -> None:
        """Report the end of a process that this object neither starts nor stops."""
        descriptor = os.pidfd_open(pid)
        loop = asyncio.get_running_loop()

        def ended() -> None:
            loop.remove_reader(descriptor)
            os.close(descriptor)
            self._failed(post_mortem(f"{name} ended", log))

        loop.add_reader(descriptor, ended)

    async def stop(self) -> None:
        """Stop all processes one by one, the last started first."""
        self._stopping = True
        for process in reversed(self._started):
            await _end(process)

    def log(self, name: str) -> Path:
        return self._logs / f"{name}.log"

    async def _spawn(
        self, name: str, command: Sequence[str], environment: Mapping[str, str], pass_fds: Sequence[int], pipe: bool
    ) -> Process:
        with self.log(name).open("wb") as log:
            return await asyncio.create_subprocess_exec(
                *TETHER, str(os.getpid()), *command,
                stdin=DEVNULL, stdout=PIPE if pipe else log, stderr=log,
                env={**self._environment, **environment}, cwd=SOURCES, pass_fds=pass_fds,
                start_new_session=True,  # Ctrl-C must reach the demo only, which stops the others in order
            )  # fmt: skip

    async def _follow(self, name: str, process: Process) -> None:
        status = await process.wait()
        ended = f"was killed by {signal.Signals(-status).name}" if status < 0 else f"ended with status {status}"
        self._failed(post_mortem(f"{name} {ended}", self.log(name)))

    def _failed(self, what: str) -> None:
        if not self._stopping and not self.failure.done():
            self.failure.set_exception(DemoError(what))


def post_mortem(what: str, log: Path) -> str:
    """The message, followed by the end of the log."""
    lines = log.read_text(errors="replace").splitlines()[-15:]
    return "\n".join([f"{what}; the end of {log}:", *(f"  {line}" for line in lines or ["(nothing)"])])


async def _end(process: Process) -> None:
    with suppress(ProcessLookupError):
        process.terminate()
        try:
            async with asyncio.timeout(PATIENCE):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()
