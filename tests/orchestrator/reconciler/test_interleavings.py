"""The heart of acting at most once, against every interleaving of a small world."""

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cache
from typing import NamedTuple

import pytest

from orchestrator.k8s.types import WorkloadObject
from orchestrator.reconciler.next_step import NextStep, Plan, next_step
from tests.kit.deployments import live


class Target(NamedTuple):
    """The Deployment; `marked` says that it carries the action's annotation."""

    uid: int = 1
    version: int = 1
    generation: int = 1
    marked: bool = False


class Intent(NamedTuple):
    uid: int = 0
    version: int = 0
    generation: int = 0
    ambiguous: bool = False

    def of(self, target: Target) -> "Intent":
        return self._replace(uid=target.uid, version=target.version, generation=target.generation)


class Row(NamedTuple):
    state: str = "pending"
    epoch: int = 0
    intent: Intent = Intent()


class Worker(NamedTuple):
    """One process, at its next instruction: idle, read, resolve, write or record. Each of them is one atomic step."""

    at: str = "idle"
    epoch: int = 0
    intent: Intent = Intent()
    seen: Target = Target()


IDLE = Worker()


class Luck(NamedTuple):
    """How often each mishap may still happen."""

    crashes: int = 1
    takeovers: int = 2
    refusals: int = 1
    status_changes: int = 1
    spec_changes: int = 1
    annotations_stripped: int = 1
    replacements: int = 1


class World(NamedTuple):
    target: Target = Target()
    row: Row = Row()
    workers: tuple[Worker, ...] = (IDLE, IDLE)
    copies: tuple[tuple[int, int], ...] = ()  # (uid, version) of requests that may still arrive
    luck: Luck = Luck()
    effects: int = 0


Resolve = Callable[[Plan, WorkloadObject], NextStep]
Successors = Iterator[tuple[str, World]]


class Protocol:
    """What two processes do with one action; the switches leave out one of its guards each."""

    def __init__(self, resolve: Resolve = next_step, *, checks_version: bool = True, checks_epoch: bool = True) -> None:
        self.checks_version, self.checks_epoch = checks_version, checks_epoch

        @cache
        def step(intent: Intent, seen: Target) -> NextStep:
            plan = Plan(
                "a1", str(intent.uid or ""), str(intent.version or ""), intent.generation or None, intent.ambiguous
            )
            return resolve(plan, live(str(seen.uid), str(seen.version), seen.generation, "a1" if seen.marked else ""))

        self.step = step

    def successors(self, world: World) -> Successors:
        yield from self._others(world)
        for copy in set(world.copies):
            rest = list(world.copies)
            rest.remove(copy)
            on_its_way = world._replace(copies=tuple(rest))
            yield "a late copy is lost", on_its_way
            if self._wins(world, *copy):
                yield "a late copy is applied", self._applied(on_its_way)
        for index, worker in enumerate(world.workers):
            yield from self._acts(world, index, worker)
            if worker.at != "idle" and world.luck.crashes:
                yield f"{index} is killed", self._with(_spend(world, "crashes"), index, IDLE)

    def _others(self, world: World) -> Successors:
        target, luck = world.target, world.luck
        newer = target._replace(version=target.version + 1)
        newest = newer._replace(generation=target.generation + 1)
        if luck.status_changes:
            yield "the status changes", _spend(world, "status_changes")._replace(target=newer)
        if luck.spec_changes:
            yield "the spec is changed", _spend(world, "spec_changes")._replace(target=newest)
        if luck.annotations_stripped and target.marked:
            bare = newest._replace(marked=False)
            yield "our annotation is stripped", _spend(world, "annotations_stripped")._replace(target=bare)
        if luck.replacements:
            other = Target(uid=target.uid + 1, version=target.version + 1)
            yield "the target is replaced", _spend(world, "replacements")._replace(target=other)

    def _acts(self, world: World, index: int, worker: Worker) -> Successors:
        row = world.row
        match worker.at:
            case "idle" if row.state == "pending":
                claimed = row._replace(state="applying", epoch=row.epoch + 1)
                yield f"{index} claims", self._with(world, index, Worker("read", claimed.epoch, row.intent), claimed)
                if not row.epoch:  # an older view is one that others have outrun since
                    planned = claimed._replace(intent=row.intent.of(world.target))
                    writer = Worker("write", planned.epoch, planned.intent)
                    yield f"{index} admits and plans", self._with(world, index, writer, planned)
            case "idle" if row.state == "applying" and world.luck.takeovers:  # a lease may end at the worst moment
                intent = row.intent._replace(ambiguous=row.intent.ambiguous or bool(row.intent.version))
                taken = Row("applying", row.epoch + 1, intent)
                yield (
                    f"{index} takes over",
                    self._with(_spend(world, "takeovers"), index, Worker("read", taken.epoch, intent), taken),
                )
            case "read":
                yield f"{index} reads", self._with(world, index, worker._replace(at="resolve", seen=world.target))
            case "resolve":
                step = self.step(worker.intent, worker.seen)
                yield f"{index}: {step.name}", self._resolves(world, index, worker, step)
            case "write":
                yield from self._writes(world, index, worker)
            case "record":
                yield f"{index} records", self._moves(world, index, worker, "verifying", IDLE)

    def _resolves(self, world: World, index: int, worker: Worker, step: NextStep) -> World:
        match step:
            case NextStep.PLAN | NextStep.REFRESH:
                planned = worker._replace(at="write", intent=worker.intent.of(worker.seen))
                return self._moves(world, index, worker, "applying", planned)
            case NextStep.RESEND:
                return self._with(world, index, worker._replace(at="write"))
            case NextStep.APPLIED:
                return self._with(world, index, worker._replace(at="record"))
            case NextStep.REPLACED:
                return self._moves(world, index, worker, "cancelled", IDLE)
            case NextStep.REVIEW:
                return self._moves(world, index, worker, "needs_review", IDLE)
            case _:
                raise AssertionError(f"the target is never away for long: {step}")

    def _writes(self, world: World, index: int, worker: Worker) -> Successors:
        copy = (worker.intent.uid, worker.intent.version)
        doubtful = worker._replace(at="read", intent=worker.intent._replace(ambiguous=True))
        yield f"{index}'s write is lost", self._with(world, index, doubtful)
        if len(world.copies) < 2:
            under_way = self._with(world._replace(copies=tuple(sorted((*world.copies, copy)))), index, doubtful)
            yield f"{index}'s write is under way", under_way
        if world.luck.refusals:
            intent = worker.intent if worker.intent.ambiguous else Intent()
            refused = _spend(world, "refusals")
            yield f"{index} is throttled", self._moves(refused, index, worker._replace(intent=intent), "pending", IDLE)
        if self._wins(world, *copy):
            applied = self._applied(world)
            yield f"{index} writes", self._with(applied, index, worker._replace(at="record"))
            yield f"{index} writes, unanswered", self._with(applied, index, doubtful)
        else:
            yield f"{index} conflicts", self._with(world, index, worker._replace(at="read"))

    def _wins(self, world: World, uid: int, version: int) -> bool:
        return uid == world.target.uid and (version == world.target.version or not self.checks_version)

    def _applied(self, world: World) -> World:
        uid, version, generation, _ = world.target
        return world._replace(target=Target(uid, version + 1, generation + 1, True), effects=world.effects + 1)

    def _moves(self, world: World, index: int, worker: Worker, to: str, then: Worker) -> World:
        """The compare-and-set: a process that lost the action changes nothing."""
        if world.row.state != "applying" or (self.checks_epoch and world.row.epoch != worker.epoch):
            return self._with(world, index, IDLE)
        intent = then.intent if then.at == "write" else worker.intent
        return self._with(world, index, then, world.row._replace(state=to, intent=intent))

    @staticmethod
    def _with(world: World, index: int, worker: Worker, row: Row | None = None) -> World:
        # Called a million times: `_replace` would take three times as long.
        workers = tuple(sorted((*world.workers[:index], worker, *world.workers[index + 1 :])))
        return World(world.target, row or world.row, workers, world.copies, world.luck, world.effects)


def _spend(world: World, mishap: str) -> World:
    return world._replace(luck=_once_less(world.luck, mishap))


@cache
def _once_less(luck: Luck, mishap: str) -> Luck:
    return luck._replace(**{mishap: getattr(luck, mishap) - 1})


def wrong(world: World) -> bool:
    return world.effects > 1 or (world.row.state == "verifying" and not world.effects)


def explore(protocol: Protocol, luck: Luck) -> tuple[list[str], set[str]]:
    """The shortest path that ends wrong (empty: there is none), and the states in which the action was seen."""
    first = World(luck=luck)
    came_from: dict[World, tuple[World, str] | None] = {first: None}
    waiting, states = deque([first]), set()
    while waiting:
        world = waiting.popleft()
        states.add(world.row.state)
        if wrong(world):
            path = []
            while before := came_from[world]:
                world, event = before
                path.append(event)
            return path[::-1], states
        for event, after in protocol.successors(world):
            if after not in came_from:
                came_from[after] = (world, event)
                waiting.append(after)
    return [], states


@pytest.mark.parametrize(
    "luck",
    [
        Luck(crashes=0, takeovers=2, refusals=0, replacements=0),
        Luck(crashes=1, takeovers=1, refusals=1, annotations_stripped=0),
        Luck(crashes=2, takeovers=2, refusals=1, status_changes=0, spec_changes=0, replacements=0),
    ],
)
def test_no_interleaving_doubles_an_effect_or_verifies_without_one(luck: Luck) -> None:
    path, states = explore(Protocol(), luck)

    assert path == []
    assert {"verifying", "needs_review"} <= states


def refreshes_whatever_changed(plan: Plan, deployment: WorkloadObject) -> NextStep:
    step = next_step(plan, deployment)
    return NextStep.REFRESH if step is NextStep.REVIEW else step


def plans_although_ambiguous(plan: Plan, deployment: WorkloadObject) -> NextStep:
    return next_step(replace(plan, ambiguous=False), deployment)


def never_reads_its_annotation(plan: Plan, deployment: WorkloadObject) -> NextStep:
    return next_step(plan, replace(deployment, annotations={}))


@pytest.mark.parametrize(
    "weakened",
    [
        Protocol(checks_version=False),
        Protocol(checks_epoch=False),
        Protocol(refreshes_whatever_changed),
        Protocol(plans_although_ambiguous),
    ],
    ids=["no version in the write", "no epoch in the compare-and-set", "refresh after a spec change", "plan in doubt"],
)
def test_each_guard_left_out_doubles_an_effect(weakened: Protocol) -> None:
    path, _ = explore(weakened, Luck())

    assert path


def test_an_applied_write_is_not_verified_if_nobody_reads_its_annotation() -> None:
    _, seen = explore(Protocol(never_reads_its_annotation), Luck(0, 0, 0, 0, 0, 0, 0))

    assert "needs_review" in seen
    assert "needs_review" not in explore(Protocol(), Luck(0, 0, 0, 0, 0, 0, 0))[1]
