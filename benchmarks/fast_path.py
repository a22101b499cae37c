"""What the fast path saves: `python -m benchmarks.fast_path`. One process, the ASGI application with and without it in
turn, CPU time of all threads per request (docs/adr/0019-the-api-and-its-fast-path.md)."""

import asyncio
import time
from collections.abc import Callable
from statistics import median
from typing import Any

from benchmarks.servers import database

ROUNDS, REQUESTS = 12, 300
FAST_PATH = "smartops.web.fast_path.fast_path"
Application = Callable[..., Any]


async def get(application: Application, path: str, token: str) -> None:
    headers = [(b"host", b"localhost"), (b"authorization", f"Bearer {token}".encode())]
    scope = {
        "type": "http", "http_version": "1.1", "method": "GET", "scheme": "http", "path": path,
        "raw_path": path.encode(),
        "query_string": b"", "headers": headers, "client": ("127.0.0.1", 1), "server": ("127.0.0.1", 8000),
    }  # fmt: skip
    messages: list[dict[str, Any]] = []
    requests = [{"type": "http.request", "body": b"", "more_body": False}]
    disconnected = asyncio.Event()

    async def receive() -> dict[str, Any]:
        if requests:
            return requests.pop()
        await disconnected.wait()
        return {"type": "http.disconnect"}

    async def send(message: dict[str, Any]) -> None:
        messages.append(message)

    await application(scope, receive, send)
    assert messages[0]["status"] == 200, messages


async def cost(application: Application, path: str, token: str) -> tuple[float, float]:
    """CPU and wall time of a request, in ms."""
    cpu, wall = time.process_time(), time.perf_counter()
    for _ in range(REQUESTS):
        await get(application, path, token)
    return (time.process_time() - cpu) * 1000 / REQUESTS, (time.perf_counter() - wall) * 1000 / REQUESTS


async def compare(with_it: Application, without: Application, path: str, token: str) -> None:
    rows = []
    for number in range(ROUNDS + 1):
        pair = [await cost(one, path, token) for one in (with_it, without)]
        if number:  # the first round warms up
            rows.append([*pair[0], *pair[1]])
    cpu, wall, cpu_without, wall_without = (median(column) for column in zip(*rows, strict=True))
    ratios = median(row[2] / row[0] for row in rows), median(row[3] / row[1] for row in rows)
    print(
        f"GET {path}: CPU {cpu:.2f} ms with, {cpu_without:.2f} ms without ({ratios[0]:.2f}); "
        f"wall {wall:.2f} and {wall_without:.2f} ms ({ratios[1]:.2f})"
    )


def main() -> None:
    with database():
        from django.conf import settings
        from django.core.handlers.asgi import ASGIHandler
        from django.test import override_settings

        from smartops.tokens import Scope, issue

        token = issue("benchmark", Scope)
        with_it = ASGIHandler()
        chain = [name for name in settings.MIDDLEWARE if name != FAST_PATH]
        with override_settings(MIDDLEWARE=chain):
            without = ASGIHandler()
        for path in ("/v1/signals", "/healthz"):
            asyncio.run(compare(with_it, without, path, token))


if __name__ == "__main__":
    main()
