"""How long a change takes from its commit to the open pages of the console, and what the pages cost the web process."""

import asyncio
import shutil
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any
from uuid import UUID

import psycopg

from benchmarks.figures import Figure, Target, percentile
from benchmarks.processes import cpu_seconds, resident_megabytes
from benchmarks.servers import Servers, Web
from benchmarks.sockets import Socket

PAGES = ("/console/actions/", "/console/actions/", "/console/", "/console/actions/?state=pending")
RATE = 4  # changes a second
DRAINED_WITHIN = 20.0  # seconds
OF_USER = 20  # sockets: the default of SMARTOPS_SOCKETS_PER_USER
CHROMIUM = shutil.which("chromium")
# As a reconciler moves an action: the trigger writes its timeline and notifies.
CHANGE = "UPDATE orchestrator_action SET message = %s, updated_at = clock_timestamp() WHERE id = %s"
OBSERVE = """
    window.seen = {};
    new MutationObserver(() => {
        const found = document.querySelector("#live")?.innerText.match(/change \\d+/g) ?? [];
        for (const one of found) window.seen[one] ??= Date.now();
    }).observe(document, { subtree: true, childList: true, characterData: true });
"""


@dataclass
class Run:
    """`sent`: when each change was committed; `took`: seconds from then to each page; `visible`: in a browser."""

    sent: dict[int, float] = field(default_factory=dict)
    took: list[float] = field(default_factory=list)
    missed: int = 0
    messages: int = 0
    seconds: float = 0.0
    cpu: float = 0.0
    visible: list[float] = field(default_factory=list)


def consoles(servers: Servers, quick: bool = False) -> Iterator[Figure]:
    number, changes = (20, 10) if quick else (500, 120)
    actions, sessions = _actions(50), _sessions(number + 1)
    web = servers.web()
    alone = asyncio.run(_measure(servers.database_url, web, sessions[:1], actions, changes, quick=quick))
    all_ = asyncio.run(_measure(servers.database_url, web, sessions[:number], actions, changes, quick=quick))
    for share, name, target in ((0.5, "p50", None), (0.99, "p99", Target("value", "≤", 250))):
        value, baseline = (1000 * percentile(run.took, share) for run in (all_, alone))
        yield Figure(
            f"commit → message, {number} consoles, {name}", value, "ms", "1 console", baseline, value / baseline, target
        )
    if all_.visible and alone.visible:
        value, baseline = (1000 * percentile(run.visible, 0.99) for run in (all_, alone))
        what = f"commit → visible in chromium, {number} consoles, p99"
        yield Figure(what, value, "ms", "1 console", baseline, value / baseline, Target("value", "≤", 250))
    yield Figure("changes that did not arrive", all_.missed, "", target=Target("value", "≤", 0))
    yield Figure("memory of the web process", resident_megabytes(web.pid), "MB", target=Target("value", "≤", 262))
    yield Figure("messages", all_.messages / all_.seconds, "/s", "1 console", alone.messages / alone.seconds)
    cpu, baseline = (100 * run.cpu / run.seconds for run in (all_, alone))
    yield Figure("CPU of the web process", cpu, "%", "1 console", baseline)


async def _measure(
    url: str, web: Web, sessions: Sequence[str], actions: Sequence[UUID], changes: int, *, quick: bool
) -> Run:
    """So many changes a second, evenly over the actions."""
    run = Run()
    expected = 0
    sockets = []
    for place, session in enumerate(sessions):
        sockets.append(Socket(partial(_received, run)))
        await sockets[-1].open(web.address, PAGES[place % len(PAGES)], session)
        expected += "actions" in PAGES[place % len(PAGES)]
    connecting = psycopg.AsyncConnection.connect(url, autocommit=True)
    async with _browser(web, sessions[-1], quick=quick) as page, await connecting as database:
        await asyncio.sleep(1 if quick else 5)
        run.took.clear()
        run.messages, cpu, began = 0, cpu_seconds(web.pid), time.perf_counter()
        for number in range(changes):
            key = 10_000 * len(sessions) + number
            run.sent[key] = time.time()
            await database.execute(CHANGE, [f"change {key} of the benchmark", actions[number % len(actions)]])
            await asyncio.sleep(max(0.0, began + (number + 1) / RATE - time.perf_counter()))
        run.seconds, run.cpu = time.perf_counter() - began, cpu_seconds(web.pid) - cpu
        deadline = time.perf_counter() + DRAINED_WITHIN
        while len(run.took) < expected * changes and time.perf_counter() < deadline:
            await asyncio.sleep(0.1)
        if page is not None:
            seen = await page.evaluate("window.seen")
            run.visible = [seen[f"change {key}"] / 1000 - at for key, at in run.sent.items() if f"change {key}" in seen]
    run.missed = expected * changes - len(run.took)
    for one in sockets:
        await one.close()
    return run


def _received(run: Run, payload: bytes) -> None:
    run.messages += 1
    now, at = time.time(), payload.find(b"change ")
    while at >= 0:
        key = int(payload[at + 7 : payload.find(b" ", at + 7)])
        if key in run.sent:
            run.took.append(now - run.sent[key])
        at = payload.find(b"change ", at + 7)


class _browser:  # noqa: N801 - used as a function
    """One real browser that shows the list; None where there is no chromium."""

    def __init__(self, web: Web, session: str, *, quick: bool) -> None:
        self._web, self._session = web, session
        self._playwright: Any = None
        self._has_one = CHROMIUM is not None and not quick

    async def __aenter__(self) -> Any:
        if not self._has_one:
            return None
        from playwright.async_api import async_playwright

        self._playwright = await async_playwright().start()
        browser = await self._playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        url = f"http://{self._web.address[0]}:{self._web.address[1]}"
        context = await browser.new_context()
        await context.add_cookies([{"name": "sessionid", "value": self._session, "url": url}])
        page = await context.new_page()
        await page.add_init_script(OBSERVE)
        await page.goto(f"{url}/console/actions/")
        return page

    async def __aexit__(self, *_: object) -> None:
        if self._playwright is not None:
            await self._playwright.stop()


def _actions(number: int) -> list[UUID]:
    """Pending ones, each of a workload of its own."""
    from orchestrator.models import Action, Workload
    from signals import actors
    from signals.types import ActionType, Origin, Proposal

    created = []
    for place in range(number):
        name = f"console-{place}"
        workload, _ = Workload.objects.get_or_create(
            cluster="default", namespace="smartops-dev", kind="Deployment", name=name
        )
        by = actors.token("benchmark")
        proposal = Proposal(ActionType.RESTART, workload.target, Origin.DIRECT, {}, requested_by=by)
        created.append(Action.new(proposal, workload))
        created[-1].save(force_insert=True)
    return [one.pk for one in created]


def _sessions(number: int) -> list[str]:
    """Of as many people as it takes."""
    from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY
    from django.contrib.auth.models import User
    from django.contrib.sessions.backends.db import SessionStore

    keys: list[str] = []
    for place in range(-(-number // OF_USER)):
        user, _ = User.objects.get_or_create(username=f"console-{place}", is_superuser=True, is_staff=True)
        for _ in range(min(OF_USER, number - len(keys))):
            store = SessionStore()
            store[SESSION_KEY], store[HASH_SESSION_KEY] = str(user.pk), user.get_session_auth_hash()
            store[BACKEND_SESSION_KEY] = "django.contrib.auth.backends.ModelBackend"
            store.create()
            keys.append(str(store.session_key))
    return keys
