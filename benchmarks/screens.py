"""How long each screen of the console takes on the server, and how many queries, beside a long history."""

import time
from collections.abc import Iterator
from statistics import median
from typing import Any

from benchmarks.figures import Figure, Target
from benchmarks.growth import history
from benchmarks.servers import Servers

SAMPLES = 11
OF_SECOND_FACTORS = ("second-factor-app-remove", "recovery-codes")  # the reader has none
Measured = dict[str, tuple[float, int]]


def screens(servers: Servers, quick: bool = False) -> Iterator[Figure]:
    few, many = (100, 1000) if quick else (10_000, 3_000_000)
    with history(servers, few) as small, history(servers, many) as large:
        baseline, found = small.submit(measure).result(), large.submit(measure).result()
    for path, (seconds, queries) in found.items():
        before, _ = baseline[path]
        against, limit = f"{few:,} actions", Target("value", "≤", 150)
        yield Figure(path, 1000 * seconds, "ms", against, 1000 * before, seconds / before, limit)
        yield Figure(f"{path}, queries more", queries - baseline[path][1], "", target=Target("value", "≤", 0))


def measure() -> Measured:
    """By the path: the median of the seconds, and the number of queries, of each screen that answers."""
    from django.contrib.auth.models import User
    from django.db import connection
    from django.test import Client
    from django.test.utils import CaptureQueriesContext

    user, _ = User.objects.get_or_create(username="reader", is_staff=True, is_superuser=True)
    client = Client(headers={"Host": "localhost"})
    client.force_login(user)
    found: Measured = {}
    for shown, path in paths():
        taken = []
        for _ in range(SAMPLES):
            began = time.perf_counter()
            answer = client.get(path)
            taken.append(time.perf_counter() - began)
        if answer.status_code != 200:
            raise RuntimeError(f"{path} answered {answer.status_code}")
        counts = []
        for _ in range(3):  # some requests also read what the process then knows for ten seconds
            with CaptureQueriesContext(connection) as queries:
                client.get(path)
            counts.append(len(queries))
        found[shown] = median(taken), min(counts)
    return found


def paths() -> Iterator[tuple[str, str]]:
    """Each screen with how it is shown: those of one row with the latest row that has one."""
    from django.urls import URLPattern, reverse

    from smartops.console.urls import urlpatterns

    for pattern in urlpatterns:
        assert isinstance(pattern, URLPattern)
        name, shown = f"console:{pattern.name}", f"/console/{pattern.pattern}"
        if pattern.name in OF_SECOND_FACTORS:
            continue
        if not pattern.pattern.converters:
            yield shown, reverse(name)
        elif (row := _latest(str(pattern.name))) is not None:
            yield shown, reverse(name, kwargs=row)


def _latest(name: str) -> dict[str, Any] | None:
    """The arguments of the page of one row."""
    from orchestrator.models import Action, DecisionRecord
    from signals.models import Rule, Signal

    models: dict[str, Any] = {"action": Action, "signal": Signal, "decision": DecisionRecord, "rule": Rule}
    row = models[name].objects.order_by("-pk").first() if name in models else None
    return None if row is None else {"pk": row.pk}
