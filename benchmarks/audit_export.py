"""`python -m benchmarks.audit_export DIRECTORY [ROWS]`: what an export of the audit costs the web process. The database
is the one that `python -m benchmarks.history DIRECTORY` has filled."""

import http.client
import os
import sys
import time
from pathlib import Path
from urllib.parse import urlencode

from benchmarks.processes import resident_megabytes
from smartops.dev import postgres

PIECE = 1 << 16


def main(directory: Path, rows: int) -> None:
    url = postgres.start(directory / "postgres").uri
    os.environ |= {"DATABASE_URL": url, "DJANGO_SETTINGS_MODULE": "smartops.settings", "SMARTOPS_INSECURE_HTTP": "1"}
    import django
    from django.core.management import call_command

    django.setup()
    call_command("migrate", verbosity=0)
    from django.contrib.auth.models import User
    from django.test import Client

    from tests.kit.processes import let_roles_log_in
    from tests.kit.web import Web

    let_roles_log_in()
    user, _ = User.objects.get_or_create(username="auditor", is_superuser=True)
    client = Client()
    client.force_login(user)
    session = client.cookies["sessionid"].value
    web = Web(url, program=(sys.executable, "manage.py"))  # with a memory of its own
    try:
        for form in ("csv", "jsonl"):
            download(web.port, web.pid, session, form, rows)
    finally:
        web.stop()
        postgres.stop(directory / "postgres")


def download(port: int, pid: int, session: str, form: str, rows: int) -> None:
    """Takes so many rows, or all, and goes away."""
    token = "a" * 32
    headers = {
        "Cookie": f"sessionid={session}; csrftoken={token}",
        "Content-Type": "application/x-www-form-urlencoded",
        "Host": f"127.0.0.1:{port}",
    }
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
    before, most, found, size, began = resident_megabytes(pid), 0.0, 0, 0, time.perf_counter()
    body = urlencode({"csrfmiddlewaretoken": token, "format": form})
    connection.request("POST", "/console/audit/export/?kind=transition", body, headers)
    answer = connection.getresponse()
    if answer.status != 200:
        raise RuntimeError(f"{answer.status}: {answer.read(2000)!r}")
    while found < rows and (piece := answer.read(PIECE)):
        found, size, most = found + piece.count(b"\n"), size + len(piece), max(most, resident_megabytes(pid))
    took = time.perf_counter() - began
    connection.close()
    print(
        f"{form}: {found:,} rows, {size / 1e6:.0f} MB in {took:.0f} s ({found / took:,.0f} rows a second); "
        f"the web process: {before:.0f} MB before, {most:.0f} MB at most",
        flush=True,
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 1_000_000)
