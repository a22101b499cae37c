"""What one hostile client costs the others, and the web process in memory."""

import json
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from subprocess import DEVNULL

from benchmarks.attacker import KINDS
from benchmarks.figures import Figure, Target, median_ratio
from benchmarks.http import Connection
from benchmarks.ingest import anomaly, token
from benchmarks.servers import Servers


def hostile(servers: Servers, quick: bool = False) -> Iterator[Figure]:
    rounds, posts = (2, 10) if quick else (5, 100)
    web, headers = servers.web(), token("hostile")
    with Connection(web.address, headers) as client:
        _milliseconds(client, posts)  # warms up
        begin = _peak_megabytes(web.pid)
        for kind in KINDS:
            pairs = []
            for _ in range(rounds):
                alone = _milliseconds(client, posts)
                with _attack(servers, kind, web.address):
                    pairs.append((_milliseconds(client, posts), alone))
            value, baseline, ratio = median_ratio(pairs)
            yield Figure(f"a post amid {kind}", value, "ms", "without", baseline, ratio, Target("ratio", "≤", 1.2))
    grown = _peak_megabytes(web.pid) - begin
    yield Figure("memory of the web process, more at most", grown, "MB", target=Target("value", "≤", 64))


@contextmanager
def _attack(servers: Servers, kind: str, address: tuple[str, int]) -> Iterator[None]:
    command = (sys.executable, "-m", "benchmarks.attacker", kind, str(address[1]))
    process = servers.start("hostile client", *command, stdout=DEVNULL)
    time.sleep(1.5)
    try:
        yield
    finally:
        servers.stop(process.pid)


def _milliseconds(client: Connection, posts: int) -> float:
    """The median of a post."""
    taken = []
    for _ in range(posts):
        body = json.dumps(anomaly()).encode()
        began = time.perf_counter()
        client.post("/v1/signals/anomaly", body)
        taken.append(1000 * (time.perf_counter() - began))
    return median(taken)


def _peak_megabytes(pid: int) -> float:
    [line] = [one for one in Path(f"/proc/{pid}/status").read_text().splitlines() if one.startswith("VmHWM")]
    return int(line.split()[1]) * 1024 / 1e6
