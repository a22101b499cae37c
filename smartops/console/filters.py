"""The filters of lists: their fields, from the URL, and how the rows that pass are found."""

from collections.abc import Iterable, Mapping
from datetime import timedelta
from functools import cached_property
from typing import Any, ClassVar
from uuid import UUID

from django import forms
from django.core.validators import RegexValidator
from django.db.models import QuerySet
from django.http import QueryDict
from django.utils import timezone
from django_filters import CharFilter, ChoiceFilter, FilterSet, ModelChoiceFilter

from guardrails.models import Freeze
from orchestrator.acts.freezes import waits_for
from orchestrator.models import ObservedWorkload, Workload
from signals.lib.partitions import first_id
from smartops.console.places import places
from smartops.scan import Index, Places, Scan, scan_of

SUGGESTED = 500
NAMES = ("q", "kind", "cluster", "namespace", "name")  # the filters that name workloads
BY_LINK = {"name", "origin", "freeze"}
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


class HistoryFilter(Filter):
    """Filters of a table that grows with time, whose ids are UUIDv7. It has the filters `q`, of an id or a part of the
    name of a workload, `since`, `kind`, `cluster`, `namespace` and `name`. The form has those of BY_LINK only where a
    link has brought them."""

    workload: ClassVar[str] = ""  # the prefix of the columns of a target, without the cluster
    freeze = ModelChoiceFilter(
        label="Freeze",
        empty_label="All",
        queryset=lambda request: Freeze.in_force().filter(request.access.affecting()).order_by("-pk"),
        method="held_by",
    )

    def __init__(self, data: Any, *args: Any, **more: Any) -> None:
        super().__init__(data, *args, **more)
        for name in BY_LINK.intersection(self.filters):
            if not data.get(name):
                del self.filters[name]

    def held_by(self, rows: "QuerySet[Any]", _: str, freeze: Freeze) -> "QuerySet[Any]":
        """The rows that wait for this freeze alone."""
        return rows.filter(waits_for(freeze, self.workload))

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


def name(column: str) -> CharFilter:
    """The whole name of a workload."""
    return CharFilter(column, label="Workload", max_length=253)


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
