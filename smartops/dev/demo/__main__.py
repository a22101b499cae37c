"""`python -m smartops.dev.demo`: starts everything, posts two signals, and keeps running until SIGINT or SIGTERM.

PORT (8000) is the port of the web process, STATE (.smartops) the directory of all files. DEMO_KUBECONFIG names a
cluster to use instead of the sandbox.
"""

import asyncio
import os
import shutil
import signal
import socket
import sys
from pathlib import Path
from typing import Any

import aiohttp

from smartops.dev.demo.farewell import addresses, commands
from smartops.dev.demo.installation import Installation
from smartops.dev.demo.screen import Screen
from smartops.dev.demo.state import DemoError, claimed, listen, remove_handles, write_handles
from smartops.dev.demo.story import run


def main() -> int:
    screen = Screen(sys.stdout)
    state = Path(os.environ.get("STATE") or ".smartops").resolve()
    try:
        port, kubeconfig = _port(os.environ.get("PORT") or "8000"), _kubeconfig(os.environ.get("DEMO_KUBECONFIG"))
        if shutil.which("setpriv") is None:
            raise DemoError("The program setpriv is missing: apt-get install util-linux")
        with claimed(state), listen(port) as listener:
            asyncio.run(_serve(state, listener, kubeconfig, screen))
    except DemoError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


async def _serve(state: Path, listener: socket.socket, kubeconfig: Path | None, screen: Screen) -> None:
    """Run until a signal arrives, or raise the failure of a child. No process is left behind in either case."""
    asked = asyncio.Event()
    hangup = [signal.SIGHUP] if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN else []  # nohup make demo
    for number in (signal.SIGINT, signal.SIGTERM, *hangup):
        # A second signal changes nothing: the stop takes a few seconds.
        asyncio.get_running_loop().add_signal_handler(number, asked.set)
    installation = Installation(state, listener, kubeconfig, screen)
    demo = asyncio.create_task(_demo(installation, state, screen))
    stop = asyncio.create_task(asked.wait())
    ends: list[asyncio.Future[Any]] = [demo, stop, installation.failure]
    await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
    if not asked.is_set():
        # The cause may be noticed after its effect: a connection breaks before the end of the child is seen, or Ctrl-C
        # reaches a child before it has left our process group.
        await asyncio.wait({stop}, timeout=0.5)
    if asked.is_set():
        screen.heading("Stopping.")
    remove_handles(state)
    demo.cancel()
    await asyncio.wait({demo})
    await installation.stop()
    for end in (installation.failure, demo):
        if end.done() and not end.cancelled() and (failure := end.exception()) and not asked.is_set():
            raise failure


async def _demo(installation: Installation, state: Path, screen: Screen) -> None:
    """Never returns."""
    screen.heading(f"SmartOps starts in {state}.")
    handles = await installation.start()
    write_handles(state, handles, installation.settings)
    agent = {"Authorization": f"Bearer {handles['token']}"}
    async with aiohttp.ClientSession(handles["url"], headers=agent) as session:
        await run(session, installation.cluster, screen)
    screen.heading("SmartOps runs until Ctrl-C.")
    screen.table(addresses(handles, state))
    for what, how in commands(handles, state):
        screen.heading(what)
        screen.line(how)
    await asyncio.Event().wait()


def _port(text: str) -> int:
    if not (text.isdecimal() and int(text) < 65536):
        raise DemoError(f"PORT={text} is not a port. Try make demo PORT=8001")
    return int(text)


def _kubeconfig(text: str | None) -> Path | None:
    if not text:
        return None
    path = Path(text).resolve()
    if not path.is_file():
        raise DemoError(f"DEMO_KUBECONFIG={text} is not a file")
    return path


if __name__ == "__main__":
    raise SystemExit(main())
