"""python -m smartops.dev.sandbox --dir DIR [--port PORT] [--load FILE ...]

Writes DIR/kubeconfig, prints `ready URL` and serves until SIGTERM or SIGINT.
"""

import argparse
import asyncio
import signal
from pathlib import Path

from smartops.dev.sandbox.cluster import Cluster, write_kubeconfig


def main() -> None:
    parser = argparse.ArgumentParser(prog="smartops.dev.sandbox", description="A Kubernetes API without a cluster.")
    parser.add_argument("--dir", type=Path, required=True, help="where the kubeconfig is written")
    parser.add_argument("--port", type=int, default=0, help="on 127.0.0.1; 0 for any")
    parser.add_argument("--load", type=Path, nargs="*", default=[], help="manifests to begin with")
    asyncio.run(serve(**vars(parser.parse_args())))


async def serve(dir: Path, port: int, load: list[Path]) -> None:  # noqa: A002
    stop = asyncio.Event()
    for name in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(name, stop.set)
    cluster = Cluster()
    cluster.load(load)
    runner, url = await cluster.serve(port)
    dir.mkdir(parents=True, exist_ok=True)
    write_kubeconfig(dir / "kubeconfig", url)
    print(f"ready {url}", flush=True)
    await stop.wait()
    await runner.cleanup()


if __name__ == "__main__":
    main()
