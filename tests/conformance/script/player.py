"""Plays a scene against a cluster."""

import json
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from time import monotonic, sleep
from typing import Any

from tests.conformance.script.answers import Memory, compared
from tests.conformance.script.scene import OBJECTS, Step, edited, member, resolved, steps
from tests.kit.client import Client, Object
from tests.kit.patience import PATIENCE

CONTROLLED = ("Deployment", "ReplicaSet", "Scale", "PodDisruptionBudget")


def play(scene: Path, client: Client, namespace: str) -> Iterator[tuple[Step, Object]]:
    """Each step with what is compared of its answer."""
    memory = Memory()
    answers = {"namespace": namespace, **resolved(OBJECTS, {"namespace": namespace})}
    for step in steps(scene):
        status, answer = _ask(step, client, answers)
        deadline = monotonic() + PATIENCE
        while any(member(answer, path) != value for path, value in step.until.items()):
            assert monotonic() < deadline, f"{step.do}: waited for {dict(step.until)}, but there is still {answer}"
            sleep(0.02)
            status, answer = _ask(step, client, answers)
        yield step, compared(status, answer, step.show, memory)
        answers[step.keep] = answer
        if isinstance(answer, dict) and "dryRun" not in step.path:
            for item in answer.get("items", [answer]):
                memory.see({"kind": answer.get("kind", "").removesuffix("List"), **item})
        _settle(step, answer, client, memory)


def _ask(step: Step, client: Client, answers: dict[str, Any]) -> tuple[int, Any]:
    path, body = resolved(step.path, answers), edited(resolved(step.body, answers), resolved(step.edit, answers))
    if step.events:  # the client takes no watch but one that begins with 200
        return 200, list(islice(client.watch(path, timeoutSeconds=f"{PATIENCE:.0f}"), step.events))
    raw = body.encode() if isinstance(body, str) else body
    response = client.raw(step.method, path, raw, step.content_type)
    try:
        return response.status, json.loads(response.data)
    except ValueError:
        return response.status, response.data.decode()


def _settle(step: Step, answer: Any, client: Client, memory: Memory) -> None:
    """Waits until the controller has seen what was written: its write of the status then moves no version any more."""
    if step.method == "GET" or not isinstance(answer, dict) or answer.get("kind") not in CONTROLLED:
        return None
    path = f"{step.path.partition('/')[0].partition('?')[0]}/{answer['metadata']['name']}"
    deadline = monotonic() + PATIENCE
    while True:
        status, found = client.send("GET", path)
        if status == 404:
            return None
        if found.get("status", {}).get("observedGeneration") == found["metadata"]["generation"]:
            return memory.see(found)
        assert monotonic() < deadline, f"nobody looks after {path}: {found}"
        sleep(0.01)
