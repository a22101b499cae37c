"""A client that posts much, about many workloads, or with many tokens, does not delay the others."""

from collections import Counter
from uuid import uuid4

import pytest

from signals import actors
from signals.ingest import ingest
from signals.models import Signal
from signals.types import Kind, Observation, Source, Target
from tests.kit.signals import delayed

pytestmark = pytest.mark.django_db


def post(name: str, namespace: str, workload: str, many: int = 1, kind: Kind = Kind.DEPLOYMENT) -> None:
    """`many` problems of one workload."""
    target = Target("default", namespace, workload, kind)
    ingest([Observation(Source.RCA, target, uuid4().hex, "w", True, {}) for _ in range(many)], actors.token(name))


def taken(limit: int) -> list[tuple[str, str, str]]:
    return [(actors.parse(one.posted_by)[1], one.namespace, one.workload) for one in Signal.due("default", limit)]


def test_a_flood_of_one_token_and_namespace_does_not_delay_another() -> None:
    for number in range(60):
        post("loud", "a", f"w{number}")
    post("quiet", "b", "payments", many=3)

    assert Counter(token for token, *_ in taken(6)) == {"loud": 3, "quiet": 3}
    assert len(taken(100)) == 63


def test_a_token_with_many_namespaces_does_not_delay_another() -> None:
    for number in range(60):
        post("loud", f"a{number}", "w")
    post("quiet", "b", "payments", many=3)

    assert Counter(token for token, *_ in taken(6)) == {"loud": 3, "quiet": 3}


def test_a_namespace_with_many_tokens_does_not_delay_another() -> None:
    for number in range(60):
        post(f"loud-{number}", "a", "w")
    post("quiet", "b", "payments", many=3)

    assert Counter(namespace for _, namespace, _ in taken(6)) == {"a": 3, "b": 3}


def test_a_token_that_floods_one_of_its_namespaces_does_not_delay_its_others() -> None:
    post("detector", "a", "w", many=60)
    post("detector", "b", "payments")

    assert ("detector", "b", "payments") in taken(2)


def test_a_token_that_floods_a_namespace_does_not_delay_the_other_tokens_of_it() -> None:
    post("loud", "a", "w", many=60)
    post("quiet", "a", "payments")

    assert ("quiet", "a", "payments") in taken(2)


def test_a_workload_with_many_signals_does_not_delay_the_others_of_its_flow() -> None:
    post("detector", "a", "loud", many=60)
    for name in ("quiet", "still"):
        post("detector", "a", name)

    assert Counter(name for *_, name in taken(4)) == {"loud": 2, "quiet": 1, "still": 1}


def test_a_token_that_makes_up_namespaces_is_bounded_and_all_of_its_signals_are_taken() -> None:
    for number in range(250):
        post("loud", f"a{number}", "w")
    post("quiet", "b", "payments")

    first = Signal.due("default", 1000)
    assert len(first) == 201
    Signal.objects.filter(pk__in=[one.pk for one in first]).update(state="ignored", closed_at="2026-01-01T00:00Z")
    assert len(Signal.due("default", 1000)) == 50


def test_a_delayed_namespace_does_not_hold_up_the_others() -> None:
    post("detector", "a", "w")
    post("detector", "b", "w")

    assert [one.namespace for one in Signal.due("default", 9, delays=delayed(a=60.0))] == ["b"]
    assert [one.namespace for one in Signal.due("default", 9, delays=delayed(everywhere=60.0, a=0.0))] == ["a"]


def test_a_delayed_kind_does_not_hold_up_the_others_of_its_namespace() -> None:
    for kind in Kind:
        post("detector", "a", "w", kind=kind)
    later = {("a", Kind.STATEFUL_SET): 60.0, ("*", Kind.DAEMON_SET): 60.0}

    assert [one.kind for one in Signal.due("default", 9, delays=later)] == [Kind.DEPLOYMENT]
    later = delayed(a=60.0) | {("a", Kind.DAEMON_SET): 0.0}
    assert [one.kind for one in Signal.due("default", 9, delays=later)] == [Kind.DAEMON_SET]


def test_nothing_is_taken_twice() -> None:
    post("detector", "a", "w", many=5)
    [first, *_] = Signal.due("default", 1)

    others = Signal.due("default", 9, without=[first.pk])
    assert len({one.pk for one in others} | {first.pk}) == 5
