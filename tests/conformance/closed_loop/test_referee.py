"""The judge is judged by forged logs: it finds each kind of wrong, and nothing where nothing is wrong."""

import ast
import sys
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.conformance.closed_loop import referee
from tests.conformance.closed_loop.referee import Claim, Limits, violations, writes
from tests.kit.client import Object

NAMESPACE = "shop"
BEGAN = datetime(2026, 3, 1, 12, tzinfo=UTC)
SMARTOPS = "fieldManager=smartops"


def event(verb: str, asked: Any = None, at: float = 0, *, query: str = "", code: int = 200, **reference: str) -> Object:
    """`at`: seconds since it began. Without a further word about `cart`, a Deployment."""
    place = {"resource": "deployments", "namespace": NAMESPACE, "name": "cart", "apiGroup": "apps"} | reference
    path = "/".join(place[part] for part in ("resource", "name", "subresource") if part in place)
    return {
        "stage": "ResponseComplete",
        "verb": verb,
        "requestURI": f"/apis/apps/v1/namespaces/{NAMESPACE}/{path}" + (f"?{query}" if query else ""),
        "userAgent": "somebody/1.0",
        "objectRef": place,
        "requestObject": asked,
        "responseStatus": {"code": code},
        "requestReceivedTimestamp": time(at),
        "stageTimestamp": time(at + 0.001),
    }


def time(at: float) -> str:
    return (BEGAN + timedelta(seconds=at)).isoformat(timespec="microseconds").replace("+00:00", "Z")


def created(replicas: int | None = 1, **reference: str) -> Object:
    spec = {} if replicas is None else {"replicas": replicas}
    return event("create", {"metadata": {"name": "cart"}, "spec": spec}, at=-1, code=201, **reference)


def patched(
    action: str, at: float, spec: Object, *, query: str = SMARTOPS, code: int = 200, **reference: str
) -> Object:
    metadata = {"uid": "u", "resourceVersion": "7", "annotations": {"smartops.io/action": action}}
    return event("patch", {"metadata": metadata, "spec": spec}, at, query=query, code=code, **reference)


def scaled(action: str, replicas: int, at: float = 0, **how: Any) -> Object:
    return patched(action, at, {"replicas": replicas}, **how)


def restarted(action: str, at: float = 0, **how: Any) -> Object:
    mark = {"metadata": {"annotations": {"smartops.io/restart": action}}}
    return patched(action, at, {"template": mark}, **how)


def scale(action: str, applied: bool = True, direct: bool = False, workload: str = "cart") -> Claim:
    return Claim(action, "SCALE", (NAMESPACE, workload), applied, direct)


def restart(action: str, applied: bool = True, direct: bool = False) -> Claim:
    return Claim(action, "RESTART", (NAMESPACE, "cart"), applied, direct)


def without(change: Object, field: str) -> Object:
    del change["requestObject"]["metadata"][field]
    return change


def bodiless(change: Object) -> Object:
    del change["requestObject"]
    return change


WITHIN_LIMITS: dict[str, tuple[Sequence[Object], Sequence[Claim]]] = {
    "nothing at all": ([], []),
    "one write of each applied action": (
        [created(), scaled("a", 2), restarted("b", 1)],
        [scale("a"), restart("b")],
    ),
    "a copy that was refused": ([created(), scaled("a", 2, code=409), scaled("a", 2, 1)], [scale("a")]),
    "an action that was refused": ([created(), scaled("a", 2, code=422)], [scale("a", applied=False)]),
    "a write whose author died while it was under way": ([created(), scaled("a", 2, code=504)], [scale("a")]),
    "a write whose author died while it sent it": (
        [created(), bodiless(scaled("a", 2, code=400)), scaled("a", 2, 30)],
        [scale("a")],
    ),
    "another that was sent again": ([created(), scaled("a", 2, code=504), scaled("a", 2, 30)], [scale("a")]),
    "another that a person has to look at": ([created(), scaled("a", 2, code=504)], [scale("a", applied=False)]),
    "a dry run": ([created(), scaled("a", 2, query=f"{SMARTOPS}&dryRun=All")], [scale("a", applied=False)]),
    "a patch of replicas alone": ([created(), scaled("a", 2)], [Claim("a", "PATCH", (NAMESPACE, "cart"), True)]),
    "the cooldown just over": ([created(), scaled("a", 2), scaled("b", 3, 300)], [scale("a"), scale("b")]),
    "a cooldown of the other type": ([created(), scaled("a", 2), restarted("b", 1)], [scale("a"), restart("b")]),
    "direct actions, which only count": (
        [created(), *(scaled(f"a{n}", n % 8, n) for n in range(9))],
        [scale(f"a{n}", direct=True) for n in range(9)],
    ),
    "six within an hour, and one after it": (
        [created(), *(restarted(f"a{n}", n * 600.0) for n in range(7))],
        [restart(f"a{n}") for n in range(7)],
    ),
    "three more within 15 minutes, and one after it": (
        [created(), *(scaled(f"a{n}", 2 + n, n * 300.0) for n in range(4))],
        [scale(f"a{n}") for n in range(4)],
    ),
    "what others do": (
        [created(), event("patch", {"spec": {"replicas": 50}}), event("delete", at=1), created()],
        [],
    ),
    "Events on the target, and questions about rights": (
        [
            event("create", {}, resource="events", name="e", query=SMARTOPS, code=201),
            event("create", {}, resource="selfsubjectaccessreviews", name="r", query=SMARTOPS, code=201),
        ],
        [],
    ),
}


@pytest.mark.parametrize(("events", "claims"), WITHIN_LIMITS.values(), ids=WITHIN_LIMITS)
def test_the_referee_finds_nothing_in_a_correct_log(events: Sequence[Object], claims: Sequence[Claim]) -> None:
    assert violations(events, claims) == []


WRONG: dict[str, tuple[Sequence[Object], Sequence[Claim], str]] = {
    "an applied action without a write": ([created()], [scale("a")], "applied, but not written"),
    "only a refused write": ([created(), scaled("a", 2, code=409)], [scale("a")], "applied, but not written"),
    "only a dry run": ([created(), scaled("a", 2, query=f"{SMARTOPS}&dryRun=All")], [scale("a")], "not written"),
    "two writes of one action": ([created(), scaled("a", 2), scaled("a", 2, 400)], [scale("a")], "2 times"),
    "two writes of one action, one of unknown outcome before them": (
        [created(), scaled("a", 2, code=504), scaled("a", 2, 1), scaled("a", 2, 400)],
        [scale("a")],
        "2 times",
    ),
    "too much in a write of unknown outcome": ([created(8), scaled("a", 9, code=504)], [scale("a")], "more than 8"),
    "two writes of one action, on two targets": (
        [created(), created(name="frontend"), scaled("a", 2), scaled("a", 2, 1, name="frontend")],
        [scale("a")],
        "2 times",
    ),
    "a write of a cancelled action": ([created(), scaled("a", 2)], [scale("a", applied=False)], "is not applied"),
    "a write of no action": ([created(), scaled("", 2)], [], "of no action"),
    "a write of an action that nobody knows": ([created(), scaled("a", 2), scaled("b", 3, 400)], [scale("a")], "of no"),
    "another target than the action's": ([created(), scaled("a", 2)], [scale("a", workload="frontend")], "not what"),
    "another change than the action's": ([created(), restarted("a")], [scale("a")], "not what its action says"),
    "more than it calls itself": (
        [created(), patched("a", 0, {"replicas": 2, "paused": True})],
        [scale("a")],
        "not what its action says",
    ),
    "no uid": ([created(), without(scaled("a", 2), "uid")], [scale("a")], "without uid and resourceVersion"),
    "no resourceVersion": ([created(), without(scaled("a", 2), "resourceVersion")], [scale("a")], "without uid"),
    "a refused write without a uid": ([without(scaled("a", 2, code=409), "uid")], [scale("a", False)], "without uid"),
    "too many replicas": ([created(8), scaled("a", 9)], [scale("a")], "more than 8 replicas"),
    "too many replicas, directly": ([created(8), scaled("a", 9)], [scale("a", direct=True)], "more than 8 replicas"),
    "too many replicas, by a patch": (
        [created(8), patched("a", 0, {"replicas": 9, "paused": True})],
        [Claim("a", "PATCH", (NAMESPACE, "cart"), True, True)],
        "more than 8 replicas",
    ),
    "a cooldown cut short": ([created(), scaled("a", 2), scaled("b", 3, 299)], [scale("a"), scale("b")], "within 300"),
    "a cooldown after a direct action": (
        [created(), restarted("a"), restarted("b", 299)],
        [restart("a", direct=True), restart("b")],
        "within 300 s of the last",
    ),
    "the seventh within an hour": (
        [created(), *(restarted(f"a{n}", n * 599.0) for n in range(7))],
        [restart(f"a{n}") for n in range(7)],
        "more than 6 within an hour",
    ),
    "four more within 15 minutes": (
        [created(), *(scaled(f"a{n}", 3 + 2 * n, n * 400.0) for n in range(2))],
        [scale(f"a{n}") for n in range(2)],
        "more than +3 replicas within 15 minutes",
    ),
    "four more at once, where the manifest says nothing": (
        [created(None), scaled("a", 5)],
        [scale("a")],
        "more than +3 replicas",
    ),
    "four more, down and up again": (
        [created(3), scaled("a", 6), scaled("b", 5, 300), scaled("c", 6, 600)],
        [scale("a"), scale("b"), scale("c")],
        "more than +3 replicas",
    ),
    "four more, after somebody else scaled down": (
        [created(6), event("patch", {"spec": {"replicas": 1}}, subresource="scale"), scaled("a", 5, 1)],
        [scale("a")],
        "more than +3 replicas",
    ),
    "four more, after somebody replaced the whole": (
        [created(6), event("update", {"metadata": {"name": "cart"}, "spec": {}}), scaled("a", 5, 1)],
        [scale("a")],
        "more than +3 replicas",
    ),
    "four more, after a JSON patch": (
        [created(6), event("patch", [{"op": "add", "path": "/spec/replicas", "value": 1}]), scaled("a", 5, 1)],
        [scale("a")],
        "more than +3 replicas",
    ),
    "a deletion": ([created(), event("delete", query=SMARTOPS)], [], "no write of an action"),
    "a scale that cannot carry the action's id": (
        [created(), event("patch", {"spec": {"replicas": 2}}, query=SMARTOPS, subresource="scale")],
        [],
        "no write of an action",
    ),
    "an Event taken away": (
        [event("delete", query=SMARTOPS, resource="events", name="e")],
        [],
        "no write of an action",
    ),
    "another resource": ([event("patch", {}, query=SMARTOPS, resource="secrets")], [], "no write of an action"),
    "a write under another name": (
        [{**event("update", {"spec": {}}), "userAgent": "smartops-orchestrator"}],
        [],
        "no write of an action",
    ),
}


@pytest.mark.parametrize(("events", "claims", "found"), WRONG.values(), ids=WRONG)
def test_the_referee_finds_each_violation_and_nothing_else(
    events: Sequence[Object], claims: Sequence[Claim], found: str
) -> None:
    [only] = violations(events, claims)
    assert found in only


def test_the_referee_applies_the_limits_that_were_set() -> None:
    done = [created(), *(scaled(f"a{n}", 2 + n, n * 10.0) for n in range(3))]
    claims = [scale(f"a{n}") for n in range(3)]

    assert violations(done, claims, Limits(cooldown=10)) == []
    assert len(violations(done, claims, Limits(cooldown=11))) == 2
    assert len(violations(done, claims, Limits(cooldown=10, an_hour=2))) == 1
    assert len(violations(done, claims, Limits(cooldown=10, added_in_a_quarter=2))) == 1
    assert len(violations(done, claims, Limits(cooldown=10, replicas=3))) == 1


def test_the_order_is_that_of_the_answers() -> None:
    [first, second] = writes([scaled("b", 3, 10), created(), scaled("a", 2, 5)])

    assert [(write.action, write.before, write.replicas) for write in (first, second)] == [("a", 1, 2), ("b", 2, 3)]


def test_other_stages_than_the_answer_do_not_count() -> None:
    twice = scaled("a", 2)

    assert violations([created(), {**twice, "stage": "RequestReceived"}, twice], [scale("a")]) == []


def test_the_judge_knows_nothing_of_what_it_judges() -> None:
    tree = ast.parse(Path(referee.__file__).read_text())
    imported = {name.name for node in ast.walk(tree) if isinstance(node, ast.Import) for name in node.names}
    imported |= {str(node.module) for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}

    assert {name.partition(".")[0] for name in imported} <= sys.stdlib_module_names
