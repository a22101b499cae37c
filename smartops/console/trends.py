"""Twenty-four hours as bars: how many signals and actions there were in each hour, and what became of them.

The ids of both are UUIDv7, so the rows of a day are a range of the primary key. One statement counts them by hour and
outcome for each table.
"""

import xml.etree.ElementTree as ElementTree
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlencode

from django.db.models import Count, QuerySet
from django.db.models.functions import TruncHour
from django.urls import reverse
from django.utils.safestring import SafeString, mark_safe
from leather import Linear, Ordinal, Series
from leather.shapes import Columns

from orchestrator.models import Action, VerificationStatus
from signals.lib.partitions import first_id
from signals.models import Signal, SignalState
from smartops.people.access import Access

HOURS = 24
MAX_REASONS = 5
WIDTH, HEIGHT = 240, 32  # of the picture, in units that CSS scales


@dataclass(frozen=True, slots=True)
class Trend:
    """`hours`: the numbers of the last 24 hours, oldest first. `screen` and `query`: the list of the rows counted."""

    label: str
    hours: tuple[int, ...]
    screen: str
    query: Mapping[str, str]
    tone: str = ""

    @property
    def total(self) -> int:
        return sum(self.hours)

    @property
    def href(self) -> str:
        return f"{reverse(self.screen)}?{urlencode(self.query)}"

    @property
    def bars(self) -> SafeString:
        return bars(self.hours)


@dataclass(frozen=True, slots=True)
class Trends:
    """`hours`: when each of them begins. `groups`: a title and its trends."""

    hours: tuple[datetime, ...]
    groups: tuple[tuple[str, tuple[Trend, ...]], ...]

    @property
    def results(self) -> tuple[Trend, ...]:
        """Those of the verifications: what was done."""
        return self.groups[-1][1]

    @property
    def rows(self) -> list[tuple[datetime, list[int]]]:
        """The same numbers as a table, newest first."""
        found = [trend for _, trends in self.groups for trend in trends]
        rows = [(hour, [trend.hours[place] for trend in found]) for place, hour in enumerate(self.hours)]
        return rows[::-1]


def trends(access: Access, now: datetime) -> Trends:
    """Two queries."""
    begin = now - timedelta(hours=HOURS)
    visible = access.visible(cluster="cluster", namespace="workload__namespace")
    actions = Action.objects.filter(visible, pk__gte=first_id(begin))
    signals = Signal.objects.filter(access.visible(), pk__gte=first_id(begin))
    return compose(
        now,
        by_hour(signals, "first_seen_at", "state", "reason"),
        by_hour(actions, "created_at", "verification__status"),
    )


def by_hour(rows: "QuerySet[Any]", moment: str, *columns: str) -> list[tuple[Any, ...]]:
    """(hour, *columns, number)"""
    found = rows.annotate(hour=TruncHour(moment, tzinfo=UTC)).order_by().values_list("hour", *columns)
    return list(found.annotate(number=Count("pk")))


def compose(now: datetime, signals: Iterable[tuple[Any, ...]], actions: Iterable[tuple[Any, ...]]) -> Trends:
    """`signals`: (hour, state, reason, number); `actions`: (hour, status of the verification, number)."""
    hours = tuple(
        now.replace(minute=0, second=0, microsecond=0) - timedelta(hours=n) for n in reversed(range(HOURS + 1))
    )
    signals, actions = list(signals), list(actions)
    refused: dict[str, int] = {}
    for _, state, reason, number in signals:
        if state == SignalState.DENIED:
            refused[reason] = refused.get(reason, 0) + number
    frequent = sorted(refused, key=lambda reason: (-refused[reason], reason))[:MAX_REASONS]

    def spread(rows: Iterable[tuple[datetime, int]]) -> tuple[int, ...]:
        numbers = dict.fromkeys(hours, 0)
        for hour, number in rows:
            # A clock that differs from the database's must not lose a row that is counted.
            numbers[min(max(hour, hours[0]), hours[-1])] += number
        return tuple(numbers.values())

    day = {"since": "day"}
    return Trends(
        hours,
        (
            ("Signals", (Trend("received", spread((row[0], row[-1]) for row in signals), "console:signals", day),)),
            (
                "Refused signals, by reason",
                tuple(
                    Trend(
                        reason,
                        spread((row[0], row[-1]) for row in signals if row[1:3] == (SignalState.DENIED, reason)),
                        "console:signals",
                        day | {"state": SignalState.DENIED, "reason": reason},
                        "bad",
                    )
                    for reason in frequent
                ),
            ),
            ("Actions", (Trend("requested", spread((row[0], row[-1]) for row in actions), "console:actions", day),)),
            (
                "Verification",
                tuple(
                    Trend(
                        label,
                        spread((row[0], row[-1]) for row in actions if row[1] == status),
                        "console:actions",
                        day | {"verification": status},
                        tone,
                    )
                    for status, label, tone in (
                        (VerificationStatus.SUCCESS, "succeeded", "good"),
                        (VerificationStatus.FAILED, "failed", "bad"),
                        (VerificationStatus.TIMED_OUT, "timed out", "warn"),
                    )
                ),
            ),
        ),
    )


def bars(numbers: Iterable[int]) -> SafeString:
    """An inline picture without a style of its own: CSS gives the colour. Its words are in the table beside it."""
    rows = [(str(place), number) for place, number in enumerate(numbers)]
    series = Series([(place, number) for place, number in rows])
    x, y = Ordinal([place for place, _ in rows]), Linear(0, max([1, *(number for _, number in rows)]))
    group = Columns("currentColor").to_svg(WIDTH, HEIGHT, x, y, series, iter(()))
    picture = ElementTree.Element(
        "svg",
        {"class": "bars", "viewBox": f"0 0 {WIDTH} {HEIGHT}", "preserveAspectRatio": "none", "aria-hidden": "true"},
    )
    picture.append(group)
    return mark_safe(ElementTree.tostring(picture, encoding="unicode"))  # noqa: S308 - of numbers
