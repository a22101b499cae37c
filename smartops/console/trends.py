"""Twenty-four hours as bars: how many signals and actions there were in each hour, and what became of them.

The ids of both are UUIDv7, so the rows of some time are a range of the primary key. One statement counts them by time
and outcome for each table. Ten minutes in which everything has ended are counted once: the overview is made anew after
each change.
"""

import xml.etree.ElementTree as ElementTree
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any
from urllib.parse import urlencode

from django.contrib.postgres.fields import ArrayField
from django.db.models import Count, F, FilteredRelation, Func, IntegerField, Q, QuerySet, UUIDField, Value
from django.urls import reverse
from django.utils.safestring import SafeString, mark_safe
from leather import Linear, Ordinal, Series
from leather.shapes import Columns

from orchestrator.models import ACTIVE, Action, VerificationStatus
from signals.lib.partitions import first_id
from signals.models import Signal, SignalState
from smartops.people.access import Access

EPOCH = datetime.fromtimestamp(0, UTC)
HOURS = 24
HOUR = timedelta(hours=1)
PERIOD = timedelta(minutes=10)  # that is counted by itself
STORED_WITHIN = timedelta(minutes=10)  # of its id: clocks differ, and a transaction takes its time
MAX_KNOWN = 100  # accesses whose closed periods are kept
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
    """The numbers of periods in which everything has ended, as `by_hour` found them: by access, and by period.
    Without it, each change would read all rows of a day."""

    def __init__(self) -> None:
        self._known: dict[Access, dict[datetime, list[tuple[Any, ...]]]] = {}

    def of(self, access: Access, begin: datetime) -> dict[datetime, list[tuple[Any, ...]]]:
        """Those that begin then or later. What is added is kept."""
        kept = {period: rows for period, rows in self._known.pop(access, {}).items() if period >= begin}
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
    """(hour, *columns, number) of the last 24 hours. `active`: of rows that will change. `closed`: the periods that are
    known. Those are added in which nothing changes any more."""
    begin = now - timedelta(hours=HOURS)
    periods = (_beginning(begin, PERIOD) + n * PERIOD for n in range(HOURS * HOUR // PERIOD + 1))
    open_ = [period for period in periods if period not in closed]
    found = rows.filter(_within(open_, begin)).annotate(place=_place(open_)).order_by().values_list("place", *columns)
    counted: dict[datetime, list[tuple[Any, ...]]] = {period: [] for period in open_}
    changing = set()
    for place, *values, number, unended in found.annotate(number=Count("pk"), unended=Count("pk", filter=active)):
        counted[open_[place]].append((*values, number))
        if unended:
            changing.add(open_[place])
    numbers = Counter[tuple[Any, ...]]()
    for period, counts in (*closed.items(), *counted.items()):
        for *values, number in counts:
            numbers[_beginning(period, HOUR), *values] += number
    for period in open_:
        if period >= begin and period + PERIOD + STORED_WITHIN <= now and period not in changing:
            closed[period] = counted[period]
    return [(*key, number) for key, number in numbers.items()]


def _place(periods: list[datetime]) -> Func:
    """In which of these periods a row is: from 0, as their index."""
    after_first = Value(list(map(first_id, periods[1:])), ArrayField(UUIDField()))
    return Func(F("pk"), after_first, function="width_bucket", output_field=IntegerField())


def _within(periods: list[datetime], begin: datetime) -> Q:
    """The rows of these periods from `begin` on: consecutive ones are one range. The last one has no end: the clock of
    the process that makes an id may differ."""
    found, first = Q(), max(begin, periods[0])
    for period, following in pairwise(periods):
        if following != period + PERIOD:
            found |= Q(pk__gte=first_id(first), pk__lt=first_id(period + PERIOD))
            first = following
    return found | Q(pk__gte=first_id(first))


def _beginning(moment: datetime, length: timedelta) -> datetime:
    """Of the hour or the period that a moment is in."""
    return moment.astimezone(UTC) - (moment - EPOCH) % length


def hours_until(now: datetime) -> list[datetime]:
    """When the hours of the bars begin. A part of the first one is older than a day."""
    return [_beginning(now, HOUR) - n * HOUR for n in reversed(range(HOURS + 1))]


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
