"""The two example signals: an agent posts each and follows it through the API until its action has ended."""

import asyncio
import time
from collections.abc import AsyncIterator
from datetime import datetime
from typing import Any

import aiohttp

from signals.types import workload_name
from smartops.dev.demo.cluster import Cluster, Counts
from smartops.dev.demo.screen import GREEN, RED, YELLOW, Screen
from smartops.dev.demo.state import DemoError
from smartops.dev.demo.wording import change_of, clock, request_of, timeline_of_write, verdict_lines
from smartops.dev.demo.workloads import HERO

ANOMALY = {"service": HERO, "isAnomaly": True, "score": 0.95, "type": "resource", "metadata": {"cpu": 96.3}}
RCA = {"rankedCauses": [{"svc": HERO, "cause": "memory_leak", "probability": 0.93}], "confidence": 0.93}
DECIDED_WITHIN = 30.0  # seconds
SHORT_WAIT = 5.0  # seconds: the demo does not wait for an action that is postponed for longer
ONE_MOMENT = 0.02  # seconds: of several changes within this time, only the last is shown

Json = dict[str, Any]


async def run(agent: aiohttp.ClientSession, cluster: Cluster, screen: Screen) -> None:
    """Post both signals. `agent` is a session with an agent's token."""
    window = f"win-{datetime.now():%Y%m%d-%H%M%S}"  # a new window each time: an equal post would be a duplicate
    story = Story(agent, cluster, screen)
    screen.heading(f"An anomaly detector reports that {HERO} runs out of CPU.")
    await story.report("anomaly", {"windowId": window, **ANOMALY})
    screen.heading(f"An RCA engine reports a memory leak in {HERO}.")
    await story.report("rca", {"windowId": window, **RCA})


class Story:
    """Shows one signal after the other. Times are those of the rows and of the API server, relative to the post."""

    def __init__(self, agent: aiohttp.ClientSession, cluster: Cluster, screen: Screen) -> None:
        self._agent, self._cluster, self._screen = agent, cluster, screen
        self._posted = 0.0

    async def report(self, kind: str, body: Json) -> None:
        async with self._cluster.watching(HERO) as changes:
            before = await anext(changes, None)
            if before is None:
                raise DemoError("kubectl cannot watch the cluster. See kubectl.log")
            self._screen.quote(f"POST /v1/signals/{kind}", body)
            self._posted = time.time()
            receipt = await self._ask("POST", f"/v1/signals/{kind}", body)
            signal = await self._decided(receipt["id"])
            if signal["actions"]:
                await self._follow(signal["actions"][-1]["id"], changes, before)

    async def _decided(self, signal_id: str) -> Json:
        """Wait for the decision and show it. A deferral is a decision, too."""
        while True:
            signal = await self._ask("GET", f"/v1/signals/{signal_id}")
            if signal["state"] != "pending" or (signal["reason"] and _time(signal["not_before"]) > time.time()):
                break
            if time.time() > self._posted + DECIDED_WITHIN:
                raise DemoError(f"The reconciler has not decided signal {signal_id}. See reconciler.log")
            await asyncio.sleep(0.02)
        again = f", reported {signal['count']} times so far" if signal["count"] > 1 else ""
        where = workload_name(signal["kind"], signal["namespace"], signal["workload"])
        self._event(signal["last_seen_at"], "stored", f"{signal['source']} {signal['symptom']} of {where}{again}")
        self._show_decision(signal)
        return signal

    def _show_decision(self, signal: Json) -> None:
        decisions = [one for one in signal["decisions"] if one["phase"] == "admit"]
        if not decisions:
            self._event(time.time(), signal["state"], f"{signal['reason']}: {signal['message']}", YELLOW)
            return
        decision = decisions[-1]
        action = signal["actions"][-1] if signal["actions"] else None
        what = f"{action['type']}, for {action['justification']}" if action else decision["reason"]
        colour = GREEN if decision["outcome"] == "allow" else YELLOW
        self._event(decision["created_at"], "decided", f"{decision['outcome']}: {what}", colour)
        for label, text in verdict_lines(decision["verdicts"]):
            self._screen.detail(label, text)
        if signal["state"] == "pending":
            left = f"{_time(signal['not_before']) - time.time():.0f} s left"
            text = f"until {clock(signal['not_before'])}, {left} ({signal['reason']}); then it is decided again"
            self._event(time.time(), "deferred", text, YELLOW)

    async def _follow(self, action_id: str, changes: AsyncIterator[Counts], before: Counts) -> None:
        seen: list[tuple[float, Counts]] = []
        reading = asyncio.create_task(_collect(changes, seen))
        applied, shown = False, before
        try:
            while True:
                action = await self._ask("GET", f"/v1/actions/{action_id}")
                if action["applied_at"] and not applied:
                    applied = True
                    await self._show_patch(action)
                while applied and seen:
                    at, counts = seen.pop(0)
                    if counts != shown:
                        shown = counts
                        self._event(at, "rollout", str(counts))
                if action["finished_at"] or action["state"] == "needs_review" or _is_postponed(action):
                    break
                await asyncio.sleep(0.03)
        finally:
            reading.cancel()
        self._show_end(action)

    async def _show_patch(self, action: Json) -> None:
        """Show the request as the sandbox recorded it. Another cluster has no such record, so show the timeline there,
        from the commit of the plan on."""
        if request := await self._received(action["id"]):
            at, details = request["time"], request_of(request)
        else:
            at, details = timeline_of_write(action)
        self._event(at, "PATCH", change_of(action))
        for label, text in details:
            self._screen.detail(label, text)

    async def _received(self, action_id: str) -> Json | None:
        if self._cluster.url is None:
            return None
        async with aiohttp.request("GET", f"{self._cluster.url}/sandbox/requests") as response:
            requests: list[Json] = await response.json()
        return next((one for one in requests if one["method"] == "PATCH" and action_id in one["body"]), None)

    def _show_end(self, action: Json) -> None:
        verification = action["verification"]
        at = action["finished_at"] or action["updated_at"]
        if verification is None:
            self._event(at, action["state"], f"{action['reason'] or ''}: {action['message'] or ''}", YELLOW)
            return
        names = ("desired", "ready", "available")
        counts = ", ".join(f"{name} {verification[f'{name}_replicas']}" for name in names)
        colour = GREEN if verification["status"] == "SUCCESS" else RED
        self._event(at, verification["status"] or action["state"], f"{counts}: {verification['message']}", colour)

    def _event(self, at: str | float, what: str, text: str, colour: str = "") -> None:
        moment = at if isinstance(at, float) else _time(at)
        self._screen.event(moment - self._posted, what, text, colour)

    async def _ask(self, method: str, path: str, body: Json | None = None) -> Json:
        try:
            async with self._agent.request(method, path, json=body) as response:
                if not response.ok:
                    raise DemoError(f"{method} {path} answered {response.status}: {(await response.text())[:500]}")
                answer: Json = await response.json()
                return answer
        except aiohttp.ClientError as error:
            raise DemoError(f"{method} {path}: {error}") from error


async def _collect(changes: AsyncIterator[Counts], seen: list[tuple[float, Counts]]) -> None:
    async for counts in changes:
        now = time.time()
        if seen and now - seen[-1][0] < ONE_MOMENT:
            seen.pop()
        seen.append((now, counts))


def _is_postponed(action: Json) -> bool:
    return bool(action["state"] == "pending" and _time(action["not_before"]) > time.time() + SHORT_WAIT)


def _time(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()
