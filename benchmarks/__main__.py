"""python -m benchmarks [--quick] [name ...]

Prints a row for each figure. No number is a failure; a server that does not start, or a lost signal, is.
"""

import argparse
from collections.abc import Callable, Iterator
from importlib import import_module

import psycopg

from benchmarks.figures import Figure, heading, machine
from benchmarks.servers import Servers, clean, database

# Modules that know models are imported once there is a database.
BENCHMARKS = {
    "ingest-single": ("benchmarks.ingest", "single"),
    "ingest-batch": ("benchmarks.ingest", "batch"),
    "repeats": ("benchmarks.repeats", "a_day"),
    "reaction": ("benchmarks.loop", "reaction"),
    "storm": ("benchmarks.storm", "storm"),
    "kill": ("benchmarks.kill", "kill"),
    "decision-growth": ("benchmarks.growth", "decision_growth"),
    "preview": ("benchmarks.preview", "preview"),
    "hostile": ("benchmarks.hostile", "hostile"),
    "memory": ("benchmarks.memory", "memory"),
    "screens": ("benchmarks.screens", "screens"),
    "consoles": ("benchmarks.consoles", "consoles"),
}


def main() -> None:
    parser = argparse.ArgumentParser(prog="benchmarks", description="Figures, each with its baseline.")
    parser.add_argument("names", nargs="*", metavar="name", help=f"of {', '.join(BENCHMARKS)}; default: all")
    parser.add_argument("--quick", action="store_true", help="sizes that show that it runs, and nothing more")
    options = parser.parse_args()
    if unknown := set(options.names) - BENCHMARKS.keys():
        parser.error(f"there is no {', '.join(sorted(unknown))}")
    with database() as (directory, url):
        with psycopg.connect(url) as session:
            version = str(session.info.parameter_status("server_version"))
        print(f"{machine(version)}\n\n{heading()}", flush=True)
        for name in options.names or BENCHMARKS:
            with Servers(directory, url) as servers:
                for figure in _benchmark(name)(servers, options.quick):
                    print(figure.row(name, servers.on), flush=True)
            clean(url)


def _benchmark(name: str) -> Callable[[Servers, bool], Iterator[Figure]]:
    module, function = BENCHMARKS[name]
    found: Callable[[Servers, bool], Iterator[Figure]] = getattr(import_module(module), function)
    return found


if __name__ == "__main__":
    main()
