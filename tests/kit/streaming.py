"""`python -m tests.kit.streaming serve …`: a web process whose application streams pieces of 64 KiB. `/endless` never
ends, `/broken` raises after the first piece, and `/sent` answers how many pieces of the endless response were sent.
Clients may take nothing for STALLED seconds, of the environment."""

import os
import sys
from typing import Any

os.environ["DJANGO_SETTINGS_MODULE"] = "smartops.settings"

from smartops.edge import connection

connection.STALLED = float(os.environ["STALLED"])  # type: ignore[assignment]
PIECE = b"x" * 65536
sent = {"/endless": 0}


async def application(scope: dict[str, Any], receive: Any, send: Any) -> None:
    await receive()
    path = scope["path"]
    body = str(sent["/endless"]).encode() if path == "/sent" else b""
    headers = [(b"content-length", str(len(body)).encode())] if body else []
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    if path == "/sent":
        await send({"type": "http.response.body", "body": body})
        return
    for number in range(100_000):
        await send({"type": "http.response.body", "body": PIECE, "more_body": True})
        sent[path] = number + 1
        if path == "/broken":
            raise RuntimeError("in the middle of a response")


if __name__ == "__main__":
    from django.core.management import execute_from_command_line

    import smartops.asgi

    smartops.asgi.application = application  # type: ignore[assignment]
    execute_from_command_line(sys.argv)
