"""Lists: filters and search from the URL, pages by id in both directions, and the rows before and after one row.

A page takes a constant number of queries. It begins after an id and not after a number of rows, so rows that arrive
while somebody pages neither repeat nor hide others. A list of history compares a bounded number of rows for a page
(smartops/scan.py).
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property
from types import SimpleNamespace
from typing import Any, ClassVar, Generic, TypeVar
from uuid import UUID

from django import forms
from django.core.exceptions import ValidationError
from django.core.validators import RegexValidator
from django.db.models import Model, Q, QuerySet
from django.http import QueryDict
from django.urls import reverse
from django.utils import timezone
from django_filters import CharFilter, ChoiceFilter, FilterSet

from orchestrator.models import ObservedWorkload, Workload
from signals.lib.partitions import first_id, time_of
from smartops.console.pages import ConsoleRequest
from smartops.console.places import places
from smartops.people.access import Access
from smartops.scan import Index, Places, Scan, scan_of

PAGE = 50
SUGGESTED = 500
NAMES = ("q", "kind", "cluster", "namespace")  # the filters that name workloads
POSITION = ("before", "after")  # parameters: the id at which a page ends or begins
SINCE = {
    "hour": ("Last hour", timedelta(hours=1)),
    "day": ("Last 24 hours", timedelta(days=1)),
    "week": ("Last 7 days", timedelta(days=7)),
    "month": ("Last 30 days", timedelta(days=30)),
}
A_NAMESPACE, A_CLUSTER = (
    RegexValidator(r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?\Z", f"This is not the name of a {what}.")
    for what in ("namespace", "cluster")
)

Row = TypeVar("Row", bound=Model)


class FilterForm(forms.Form):
    """Also refuses parameters that it does not have: a misspelt filter must not show all rows."""

    data: QueryDict

    def __init__(self, data: QueryDict, **more: Any) -> None:
        super().__init__(data, label_suffix="", **more)

    def clean(self) -> None:
        for name in self.data:
            if name not in self.fields and name not in POSITION:
                self.add_error(None, f"There is no filter “{name}”.")
            elif len(self.data.getlist(name)) > 1 and not isinstance(
                self.fields.get(name), forms.MultipleChoiceField | forms.ModelMultipleChoiceField
            ):
                self.add_error(None, f"“{name}” is given more than once.")


class Filter(FilterSet):  # type: ignore[misc]  # django-filter has no types
    """Declare filters as those of django-filter; `q` with a method `search` is the free text. An invalid parameter is
    an error of the form, and the list has no rows then."""

    suggested: ClassVar[type[Workload] | type[ObservedWorkload]] = Workload  # has had an action

    class Meta:
        form = FilterForm

    @property
    def chosen(self) -> bool:
        """Whether anything is filtered."""
        return any(value for name, value in self.data.items() if name not in POSITION)

    def scan(self) -> Scan[Any]:
        """How the rows that pass are found."""
        return Scan(self.qs, self.qs)

    @property
    def namespaces(self) -> list[str]:
        """What the field of that name suggests: those with rows in `suggested`, where the person may see them."""
        return sorted({namespace for _, namespace in self._places})[:SUGGESTED]

    @property
    def clusters(self) -> list[str]:
        return sorted({cluster for cluster, _ in self._places})[:SUGGESTED]

    @cached_property
    def _places(self) -> list[tuple[str, str]]:
        return places(self.suggested, self.request.access)


class OfHistory(Filter):
    """Filters of a table that grows with time, whose ids are UUIDv7. It has the filters `q`, of an id or a part of the
    name of a workload, `since`, `kind`, `cluster` and `namespace`."""

    def scan(self) -> Scan[Any]:
        given = {name: value for name, value in self.form.cleaned_data.items() if value}
        model = self.queryset.model._default_manager
        if as_id(given.get("q", "")):
            return Scan(self.qs, model.none())
        names = {"name__icontains" if name == "q" else name: given[name] for name in NAMES if name in given}
        among = self.filters["since"].filter(model.all(), given.get("since"))
        conditions = {"name" if name == "q" else name for name in given} - {"since"}
        visible = self.request.access.visible()
        return scan_of(
            self.qs,
            among,
            given=conditions,
            visible=visible,
            index=self.index(given),
            places=self.places(names),
            keys=self.keys(given),
        )

    def places(self, names: Mapping[str, str]) -> Places | None:
        """The few workloads with these names that the person may see (smartops/queries.py)."""
        raise NotImplementedError

    def index(self, given: Mapping[str, Any]) -> Index:
        """All rows that pass are among those that it finds. `given`: the values of the filters."""
        raise NotImplementedError

    def keys(self, given: Mapping[str, Any]) -> tuple[str, ...]:  # noqa: ARG002
        """The ids of `Scan`."""
        return ("pk",)


def search() -> CharFilter:
    """The free text; the filter has a method `search`."""
    return CharFilter(method="search", label="Search", max_length=253, widget=forms.TextInput({"type": "search"}))


def namespace(column: str = "namespace") -> CharFilter:
    widget = forms.TextInput({"list": "namespaces"})
    return CharFilter(column, label="Namespace", max_length=63, validators=[A_NAMESPACE], widget=widget)


def cluster(column: str = "cluster") -> CharFilter:
    widget = forms.TextInput({"list": "clusters"})
    return CharFilter(column, label="Cluster", max_length=63, validators=[A_CLUSTER], widget=widget)


def choice(column: str | None, every: str, choices: Iterable[tuple[str, str]], **more: Any) -> ChoiceFilter:
    """`every`: the choice of all rows."""
    return ChoiceFilter(column, empty_label=every, choices=list(choices), **more)


def since() -> ChoiceFilter:
    """Of rows whose ids are UUIDv7: sorting by id is sorting by time."""

    def created(rows: "QuerySet[Any]", _: str, age: str) -> "QuerySet[Any]":
        return rows.filter(pk__gte=first_id(timezone.now() - SINCE[age][1]))

    return choice(
        None, "At any time", ((name, label) for name, (label, _) in SINCE.items()), label="Since", method=created
    )


def as_id(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None


@dataclass(frozen=True, slots=True)
class Listing(Generic[Row]):
    """One page of rows. `newer` and `older` are the addresses of the pages around it, or empty. `query`: the filter, to
    be appended to the address of a row, so that its page knows the list. `unsearched`: "older" or "newer" if the page
    is not full, and rows on that side were not compared; `reached`: the time of the last one that was."""

    filter: Filter
    rows: list[Row]
    newer: str = ""
    older: str = ""
    query: str = ""
    unsearched: str = ""
    reached: datetime | None = None


@dataclass(frozen=True, slots=True)
class Around:
    """Of one row: the list that it belongs to, and the rows before and after it there; empty if there are none."""

    back: str
    previous: str
    next: str


def named(
    request: ConsoleRequest, filters: type[Filter], rows: "QuerySet[Row]", by: Sequence[str],
    parameters: QueryDict | None = None,
) -> Listing[Row]:  # fmt: skip
    """The rows that pass the filter, in the order of these columns, which are unique together. A page begins after a
    row, or ends before one; if that row has been deleted since, it is the first page. `parameters`: those of the
    filter, if the page has others."""
    chosen, before, after = _asked(filters, rows, request, request.GET if parameters is None else parameters)
    if not chosen.is_valid():
        return Listing(chosen, [])
    at = rows.filter(pk=before or after).values(*by).first() if before or after else None
    first, up, down = chosen.qs.order_by(*by), None, None
    if at is not None and after is not None:
        up = chosen.qs.filter(_beyond(at, by, "lt")).order_by(*(f"-{name}" for name in by))
    elif at is not None:
        down = first.filter(_beyond(at, by, "gt"))
    return _found(chosen, first, up, down, PAGE)


def _beyond(at: Mapping[str, Any], by: Sequence[str], comparison: str) -> Q:
    """The rows after the values `at`, or before them, in the order of the columns."""
    where = Q()
    for name in reversed(by):
        further = Q(**{f"{name}__{comparison}": at[name]})
        where = further | (Q(**{name: at[name]}) & where) if where else further
    return where


def listing(request: ConsoleRequest, filters: type[Filter], rows: "QuerySet[Row]", size: int = PAGE) -> Listing[Row]:
    """The rows that pass the filter, newest first."""
    chosen, before, after = _asked(filters, rows, request, request.GET)
    if not chosen.is_valid():
        return Listing(chosen, [])
    scan: Scan[Row] = chosen.scan()
    if after is not None:
        above = scan.read(size + 1, after, newer=True)
        if len(above.rows) > size:
            return _page(chosen, above.rows[size - 1 :: -1], newer=True, older=True)
        if above.reached is not None:
            return _part(chosen, above.rows[::-1], "newer", above.reached)
    below = scan.read(size + 1, before)
    if len(below.rows) > size or below.reached is None:
        return _page(chosen, below.rows[:size], newer=before is not None, older=len(below.rows) > size)
    return _part(chosen, below.rows, "older", below.reached, is_first=before is None)


def _part(chosen: Filter, rows: list[Row], side: str, reached: UUID, *, is_first: bool = False) -> Listing[Row]:
    """A page that is not full, as the rows on that side of `reached` were not compared."""
    newest, oldest = (rows[0].pk, rows[-1].pk) if rows else (reached, reached)
    newer, older = (newest, reached) if side == "older" else (reached, oldest)
    to_newer, to_older = filter_query(chosen.data, after=str(newer)), filter_query(chosen.data, before=str(older))
    query = filter_query(chosen.data)
    return Listing(chosen, rows, "" if is_first else to_newer, to_older, query, side, time_of(reached))


def _asked(
    filters: type[Filter], rows: "QuerySet[Any]", request: ConsoleRequest, parameters: QueryDict
) -> tuple[Filter, Any, Any]:
    """The filter, and the row before which the page ends or after which it begins."""
    chosen = filters(parameters, rows, request=request)
    before, after = (_position(chosen, rows, name) for name in POSITION)
    if before is not None and after is not None:
        chosen.form.add_error(None, "A page has either “before” or “after”.")
    return chosen, before, after


def _found(
    chosen: Filter, first: "QuerySet[Row]", up: "QuerySet[Row] | None", down: "QuerySet[Row] | None", size: int
) -> Listing[Row]:
    """`first`: the rows from the beginning of the list on. `up`: those that come before a row, the nearest one first;
    if they are fewer than a page, the first page has them. `down`: those that come after a row."""
    if up is not None:
        found = list(up[: size + 1])
        if len(found) > size:
            return _page(chosen, found[size - 1 :: -1], newer=True, older=True)
    found = list((first if down is None else down)[: size + 1])
    return _page(chosen, found[:size], newer=down is not None, older=len(found) > size)


def passing(filters: type[Filter], rows: "QuerySet[Row]", parameters: QueryDict, access: Access) -> "QuerySet[Row]":
    """The rows of all pages of a list: for what counts them, or asks which of some rows belong to it."""
    chosen = filters(parameters, rows, request=SimpleNamespace(access=access))
    found: QuerySet[Row] = chosen.qs if chosen.is_valid() else rows.none()
    return found


def around(
    request: ConsoleRequest,
    filters: type[Filter],
    rows: "QuerySet[Row]",
    row: Row,
    screen: str,
    address: Callable[[Row], str],
    by: Sequence[str] = (),
) -> Around:
    """A constant number of queries. `screen`: the URL name of the list. `address`: of the page of a row. `by`: the
    columns that order the list, as in `named`; without any, it is newest first, and where a row is beyond those that a
    page compares, the list from here on takes its place."""
    chosen, query = filters(request.GET, rows, request=request), filter_query(request.GET)
    back = reverse(screen) + query
    if not chosen.is_valid():
        return Around(back, "", "")
    if not by:
        scan: Scan[Row] = chosen.scan()
        return Around(back, *(_beside(scan, row, back, address, query, newer=way) for way in (True, False)))
    at = {name: getattr(row, name) for name in by}
    above, below = (chosen.qs.filter(_beyond(at, [*at], one)).order_by(*at) for one in ("lt", "gt"))
    beside = (above.reverse().first(), below.first())
    return Around(back, *("" if one is None else address(one) + query for one in beside))


def _beside(
    scan: Scan[Row], row: Row, back: str, address: Callable[[Row], str], query: str, *, newer: bool
) -> str:  # fmt: skip
    part = scan.read(1, row.pk, newer=newer)
    if part.rows:
        return address(part.rows[0]) + query
    position = f"{'after' if newer else 'before'}={row.pk}"
    return f"{back}{'&' if query else '?'}{position}" if part.reached else ""


def _page(chosen: Filter, rows: list[Row], *, newer: bool, older: bool) -> Listing[Row]:
    first = filter_query(chosen.data) or "?"
    to_newer = filter_query(chosen.data, after=str(rows[0].pk)) if rows else first
    to_older = filter_query(chosen.data, before=str(rows[-1].pk)) if rows else first
    return Listing(chosen, rows, to_newer if newer else "", to_older if older else "", filter_query(chosen.data))


def _position(chosen: Filter, rows: "QuerySet[Any]", name: str) -> Any:
    if not (given := chosen.data.get(name)):
        return None
    try:
        return rows.model._meta.pk.clean(given, None)
    except ValidationError:
        chosen.form.add_error(None, f"“{name}” is not the id of a row.")
        return None


def filter_query(parameters: QueryDict, **position: str) -> str:
    """The filter as a query string, without empty parameters."""
    left = QueryDict(mutable=True)
    for name, values in parameters.lists():
        if name not in POSITION and any(values):
            left.setlist(name, values)
    left.update(position)
    return f"?{left.urlencode()}" if left else ""
