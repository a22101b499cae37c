"""Twenty-four hours as bars: how many signals and actions there were in each hour, and what became of them.

The ids of both are UUIDv7, so the rows of an hour are a range of the primary key. One statement counts them by hour
and outcome for each table. An hour in which everything has ended is counted once: the overview is made anew after each
change.
"""

import xml.etree.ElementTree as ElementTree
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlencode

from django.db.models import Case, Count, FilteredRelation, IntegerField, Q, QuerySet, Value, When
from django.urls import reverse
from django.utils.safestring import SafeString, mark_safe
from leather import Linear, Ordinal, Series
from leather.shapes import Columns

from orchestrator.models import ACTIVE, Action, VerificationStatus
from signals.lib.partitions import first_id
from signals.models import Signal, SignalState
from smartops.people.access import Access

HOURS = 24
HOUR = timedelta(hours=1)
STORED_WITHIN = timedelta(minutes=10)  # of its id: clocks differ, and a transaction takes its time
MAX_KNOWN = 100  # accesses whose closed hours are kept
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


class Closed:
    """The numbers of hours in which everything has ended, as `by_hour` found them: by access, and by hour. Without it,
    each change would read all rows of a day."""

    def __init__(self) -> None:
        self._known: dict[Access, dict[datetime, list[tuple[Any, ...]]]] = {}

    def of(self, access: Access, begin: datetime) -> dict[datetime, list[tuple[Any, ...]]]:
        """Those that begin then or later. What is added is kept."""
        kept = {hour: rows for hour, rows in self._known.pop(access, {}).items() if hour >= begin}
        if len(self._known) >= MAX_KNOWN:
            del self._known[next(iter(self._known))]
        self._known[access] = kept
        return kept

    def forget(self) -> None:
        self._known.clear()


CLOSED_SIGNALS, CLOSED_ACTIONS = Closed(), Closed()


def trends(access: Access, now: datetime) -> Trends:
    """Two queries."""
    visible = access.visible(cluster="cluster", namespace="workload__namespace")
    begin = now - timedelta(hours=HOURS)
    # Without the condition, PostgreSQL reads the verifications of all months.
    of_the_day = FilteredRelation("verification", condition=Q(verification__pk__gte=first_id(begin)))
    signals = by_hour(
        Signal.objects.filter(access.visible()), ("state", "reason"), Q(state=SignalState.PENDING), now,
        CLOSED_SIGNALS.of(access, begin),
    )  # fmt: skip
    actions = by_hour(
        Action.objects.filter(visible).annotate(result=of_the_day), ("result__status",), Q(state__in=ACTIVE), now,
        CLOSED_ACTIONS.of(access, begin),
    )  # fmt: skip
    return compose(now, signals, actions)


def by_hour(
    rows: "QuerySet[Any]", columns: tuple[str, ...], active: Q, now: datetime,
    closed: dict[datetime, list[tuple[Any, ...]]],
) -> list[tuple[Any, ...]]:  # fmt: skip
    """(hour, *columns, number) of the last 24 hours. `active`: of rows that will change. `closed`: the hours that are
    known. Those are added in which nothing changes any more."""
    begin, hours = now - timedelta(hours=HOURS), hours_until(now)
    open_ = [hour for hour in hours if hour not in closed]
    place = Case(
        *(When(pk__lt=first_id(hour + HOUR), then=Value(place)) for place, hour in enumerate(open_[:-1])),
        default=Value(len(open_) - 1),
        output_field=IntegerField(),
    )
    found = rows.filter(_within(open_, begin)).annotate(place=place).order_by().values_list("place", *columns)
    counted: dict[datetime, list[tuple[Any, ...]]] = {hour: [] for hour in open_}
    changing = set()
    for at, *values, number, unended in found.annotate(number=Count("pk"), unended=Count("pk", filter=active)):
        counted[open_[at]].append((*values, number))
        if unended:
            changing.add(open_[at])
    result = [(hour, *row) for known in (closed, counted) for hour, numbers in known.items() for row in numbers]
    for hour in open_:
        if hour >= begin and hour + HOUR + STORED_WITHIN <= now and hour not in changing:
            closed[hour] = counted[hour]
    return result


def _within(hours: list[datetime], begin: datetime) -> Q:
    """The rows of these hours from `begin` on: consecutive hours are one range. The last one has no end: the clock of
    the process that makes an id may differ."""
    found, first = Q(), begin
    for hour in hours:
        if hour - HOUR not in hours:
            first = max(hour, begin)
        if hour == hours[-1]:
            found |= Q(pk__gte=first_id(first))
        elif hour + HOUR not in hours:
            found |= Q(pk__gte=first_id(first), pk__lt=first_id(hour + HOUR))
    return found


def hours_until(now: datetime) -> list[datetime]:
    """When the hours of the bars begin. A part of the first one is older than a day."""
    last = now.astimezone(UTC).replace(minute=0, second=0, microsecond=0)
    return [last - n * HOUR for n in reversed(range(HOURS + 1))]


def compose(now: datetime, signals: Iterable[tuple[Any, ...]], actions: Iterable[tuple[Any, ...]]) -> Trends:
    """`signals`: (hour, state, reason, number); `actions`: (hour, status of the verification, number)."""
    hours = tuple(hours_until(now))
    signals, actions = list(signals), list(actions)
    refused: dict[str, int] = {}
    for _, state, reason, number in signals:
        if state == SignalState.DENIED:
            refused[reason] = refused.get(reason, 0) + number
    frequent = sorted(refused, key=lambda reason: (-refused[reason], reason))[:MAX_REASONS]

    def spread(rows: Iterable[tuple[datetime, int]]) -> tuple[int, ...]:
        numbers = dict.fromkeys(hours, 0)
        for hour, number in rows:
            numbers[hour] += number
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
