"""How long a change takes from its commit to the open pages of the console, and what the pages cost the web process."""

import asyncio
import re
import shutil
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import psycopg
from asgiref.sync import sync_to_async

from benchmarks.figures import Figure, Target, percentile
from benchmarks.processes import cpu_seconds, resident_megabytes
from benchmarks.servers import Servers, Web
from benchmarks.sockets import Socket

LIST, PENDING, OVERVIEW = "/console/actions/", "/console/actions/?state=pending", "/console/"
PAGES = (LIST, LIST, OVERVIEW, PENDING)
RATE = 4  # changes a second
FREEZES = 5  # each lasts for LASTS seconds
LASTS = 3.0
DRAINED_WITHIN = 20.0  # seconds
SETTLED_WITHIN = 60.0  # seconds until a page that connects has fetched itself, after all others
BY = "user:console-0"
OF_USER = 20  # sockets: the default of SMARTOPS_SOCKETS_PER_USER
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-headless-shell")  # rather what people have
# As a reconciler moves an action: the trigger writes its timeline and notifies.
CHANGE = "UPDATE orchestrator_action SET message = %s, updated_at = clock_timestamp() WHERE id = %s"
NAMED = re.compile(rb"(?:change|freeze) \d+ ")
ROW = re.compile(rb"action-[0-9a-f-]{36}")
OBSERVE = """
    window.seen = {};
    new MutationObserver(() => {
        const found = document.querySelector("#live")?.innerText.match(/(change|freeze) \\d+/g) ?? [];
        for (const one of found) window.seen[one] ??= Date.now();
    }).observe(document, { subtree: true, childList: true, characterData: true });
"""
SETTLED = "html:not([data-connection=connecting])"


@dataclass
class Run:
    """`sent`: when each change was committed, by its name. `took`: the seconds from then until the message, for each
    page; `seen`: in a browser. `of_rows`: the last change of each row. `asked`: pages that were to fetch themselves."""

    sent: dict[str, float] = field(default_factory=dict)
    of_rows: dict[bytes, str] = field(default_factory=dict)
    took: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    seen: dict[str, float] = field(default_factory=dict)
    messages: int = 0
    asked: int = 0
    cpu: float = 0.0
    seconds: float = 0.0

    def visible(self, kind: str) -> list[float]:
        return [self.seen[name] - at for name, at in self.sent.items() if name.startswith(kind) and name in self.seen]


class Reader:
    """An open page. An overview does not show the message of an action: there, a change has arrived with the next
    message that names its row."""

    def __init__(self, run: Run, page: str) -> None:
        self.run, self.page = run, page
        self._arrived: set[str] = set()
        self.socket = Socket(self.received)

    def received(self, payload: bytes) -> None:
        now, run = time.time(), self.run
        run.messages += 1
        run.asked += b'"refresh"' in payload
        names = {one.decode().strip() for one in NAMED.findall(payload)}
        if self.page == OVERVIEW:
            head = payload.partition(b"]")[0]
            names |= {name for row in ROW.findall(head) if (name := run.of_rows.get(row)) is not None}
        for name in names & run.sent.keys() - self._arrived:
            self._arrived.add(name)
            kind = name.partition(" ")[0]
            run.took[f"{kind} of {'an overview' if self.page == OVERVIEW else 'a list'}"].append(now - run.sent[name])


def consoles(servers: Servers, quick: bool = False) -> Iterator[Figure]:
    number, changes, freezes = (20, 10, 2) if quick else (500, 120, FREEZES)
    actions, sessions = _actions(50), _sessions(number)
    visitor = _sessions(1, "visitor")[0]  # a person of their own: the sockets of one are bounded
    web = servers.web()
    url = servers.database_url
    alone = asyncio.run(_measure(url, web, sessions[:1], visitor, actions, changes, freezes, quick=quick))
    all_ = asyncio.run(_measure(url, web, sessions, visitor, actions, changes, freezes, quick=quick))

    def figures(what: str, took: Sequence[float], alone: Sequence[float]) -> Iterator[Figure]:
        for share, name, target in ((0.5, "p50", None), (0.99, "p99", Target("value", "≤", 250))):
            value = 1000 * percentile(took, share)
            baseline = 1000 * percentile(alone, share) if alone else None
            ratio = value / baseline if baseline else None
            yield Figure(f"{what}, {number} consoles, {name}", value, "ms", "1 console", baseline, ratio, target)

    for what in sorted(all_.took):
        yield from figures(f"commit → message, {what}", all_.took[what], alone.took[what])
    for kind in ("change", "freeze"):
        if seen := all_.visible(kind):
            yield from figures(f"commit → visible in chromium, {kind}", seen, alone.visible(kind))
            unseen = sum(name.startswith(kind) for name in all_.sent) - len(seen)
            yield Figure(f"not seen in chromium, {kind}", unseen, "", target=Target("value", "≤", 0))
    missed = number * len(all_.sent) - sum(map(len, all_.took.values()))
    for what, found in (
        ("changes that did not arrive", missed),
        ("pages that were asked to fetch themselves", all_.asked),
    ):
        yield Figure(what, found, "", target=Target("value", "≤", 0))
    yield Figure("memory of the web process", resident_megabytes(web.pid), "MB", target=Target("value", "≤", 262))
    yield Figure("messages", all_.messages / all_.seconds, "/s", "1 console", alone.messages / alone.seconds)
    cpu, baseline = (100 * run.cpu / run.seconds for run in (all_, alone))
    yield Figure("CPU of the web process", cpu, "%", "1 console", baseline)


async def _measure(
    url: str, web: Web, sessions: Sequence[str], visitor: str, actions: Sequence[UUID], changes: int, freezes: int, *,
    quick: bool,
) -> Run:  # fmt: skip
    """So many changes a second, evenly over the actions; then freezes."""
    from guardrails.models import Freeze

    run = Run()
    readers = [Reader(run, PAGES[place % len(PAGES)]) for place in range(len(sessions))]
    for reader, session in zip(readers, sessions, strict=True):
        await reader.socket.open(web.address, reader.page, session)
    connecting = psycopg.AsyncConnection.connect(url, autocommit=True)
    async with _browser(web, visitor, quick=quick) as page, await connecting as database:
        if page is not None:
            await page.wait_for_selector(SETTLED, state="attached", timeout=1000 * SETTLED_WITHIN)
        await asyncio.sleep(1 if quick else 5)
        run.messages, cpu, began = 0, cpu_seconds(web.pid), time.perf_counter()
        run.asked = 0

        async def change(number: int) -> None:
            name, action = f"change {10_000 * len(sessions) + number}", actions[number % len(actions)]
            run.sent[name] = time.time()
            run.of_rows[f"action-{action}".encode()] = name
            await database.execute(CHANGE, [f"{name} of the benchmark", action])

        async def freeze(number: int) -> None:
            name = f"freeze {10_000 * len(sessions) + number}"
            run.sent[name] = time.time()
            row = await Freeze.objects.acreate(namespace="elsewhere", reason=f"{name} of the benchmark", by=BY)
            await asyncio.sleep(LASTS)
            await sync_to_async(row.lift)(BY, "the next one follows")

        await _paced(change, changes, RATE)
        run.seconds, run.cpu = time.perf_counter() - began, cpu_seconds(web.pid) - cpu
        await _paced(freeze, freezes, 1 / (LASTS + 1))
        deadline = time.perf_counter() + DRAINED_WITHIN
        while sum(map(len, run.took.values())) < len(readers) * len(run.sent) and time.perf_counter() < deadline:
            await asyncio.sleep(0.1)
        if page is not None:
            run.seen = {name: at / 1000 for name, at in (await page.evaluate("window.seen")).items()}
    for reader in readers:
        reader.socket.close()
    return run


async def _paced(do: Callable[[int], Awaitable[None]], times: int, rate: float) -> None:
    began = time.perf_counter()
    for number in range(times):
        await do(number)
        await asyncio.sleep(max(0.0, began + (number + 1) / rate - time.perf_counter()))


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


def _sessions(number: int, name: str = "console") -> list[str]:
    """Of as many people as it takes."""
    from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY
    from django.contrib.auth.models import User

    from smartops.people.sessions import SessionStore

    keys: list[str] = []
    for place in range(-(-number // OF_USER)):
        user, _ = User.objects.get_or_create(username=f"{name}-{place}", is_superuser=True, is_staff=True)
        for _ in range(min(OF_USER, number - len(keys))):
            store = SessionStore()
            store[SESSION_KEY], store[HASH_SESSION_KEY] = str(user.pk), user.get_session_auth_hash()
            store[BACKEND_SESSION_KEY] = "django.contrib.auth.backends.ModelBackend"
            store.create()
            keys.append(str(store.session_key))
    return keys
