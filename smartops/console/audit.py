"""The audit: everything that happened in one list (smartops/audit), and its export."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from django import forms
from django.contrib.auth import get_user_model
from django.http import HttpResponse, QueryDict, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.text import Truncator

from orchestrator.models import DecisionRecord
from signals import actors
from signals.lib import columns
from smartops.audit import export as exports
from smartops.audit.entries import EPOCH, Entry, Kind, Position, Way
from smartops.audit.files import FORMATS
from smartops.audit.merge import SCANNED, page_above, read
from smartops.audit.merge import page as page_of
from smartops.audit.search import Search
from smartops.audit.sources import Decisions, parse_position
from smartops.console.acts import person
from smartops.console.filters import POSITION, FilterForm
from smartops.console.listing import Around
from smartops.console.pages import ConsoleRequest, act, page
from smartops.people.access import Access, Right, access_of
from smartops.web.peers import peer_of

LIST = "console:audit"
MAX_VALUE = 120  # characters of a setting
UNSAID = ("id", "lookup", "created_at")


def _moment(label: str) -> forms.DateTimeField:
    widget = forms.DateTimeInput({"type": "datetime-local", "step": 1}, "%Y-%m-%dT%H:%M:%S")
    return forms.DateTimeField(required=False, label=label, widget=widget)


class AuditForm(FilterForm):
    """`place`: where the page ends or begins, the position of an entry as the links have it, and `way` from there."""

    q = forms.CharField(
        required=False,
        label="Object",
        max_length=400,
        widget=forms.TextInput({"type": "search", "placeholder": "namespace/name, an id, or a table of settings"}),
    )
    kind = forms.ChoiceField(required=False, label="What", choices=[("", "Everything"), *((k, k) for k in Kind)])
    actor = forms.CharField(required=False, label="Actor", max_length=actors.MAX_LENGTH)
    reason = forms.CharField(required=False, label="Reason", max_length=100)
    since = _moment("From, UTC")
    until = _moment("Until, UTC")

    place: Position | None = None
    way = Way.OLDER

    def clean(self) -> None:
        super().clean()
        given = {name: text for name in POSITION if (text := self.data.get(name, ""))}
        if len(given) > 1:
            self.add_error(None, "A page has either “before” or “after”.")
        for name, text in given.items():
            self.way = Way.NEWER if name == "after" else Way.OLDER
            try:
                self.place = parse_position(text)
            except ValueError:
                self.add_error(None, f"“{name}” is not the position of an entry.")
        since, until = self.cleaned_data.get("since"), self.cleaned_data.get("until")
        for name, moment in (("since", since), ("until", until)):
            if moment and moment < EPOCH:
                self.add_error(name, "Nothing happened before 1970.")
        if since and until and until <= since:
            self.add_error("until", "It must be later than the beginning.")

    @property
    def search(self) -> Search:
        given = self.cleaned_data
        return Search(
            since=given["since"],
            until=given["until"],
            kinds=frozenset({Kind(given["kind"])} if given["kind"] else Kind),
            actor=given["actor"],
            about=given["q"],
            reason=given["reason"],
        )


@dataclass(frozen=True, slots=True)
class Chosen:
    """The filter, as the templates of lists have it."""

    form: AuditForm

    @property
    def chosen(self) -> bool:
        return bool(_given(self.form.data))


@dataclass(frozen=True, slots=True)
class Row:
    """`query`: the filter, which the page of a decision has in its address."""

    entry: Entry
    query: str

    @property
    def href(self) -> str:
        """The address of the object; empty if it has no page."""
        if self.entry.decision:
            return reverse("console:decision", args=[self.entry.decision]) + self.query
        return reverse("console:action", args=[self.entry.action]) if self.entry.action else ""

    @property
    def row_name(self) -> str:
        """Of a setting: “guardrail setting 12”."""
        return f"{columns.noun(self.entry.table)} {self.entry.key}"

    @property
    def changes(self) -> Iterator[tuple[str, str]]:
        """Of a setting: what was set, and what it was before, if there was anything."""
        if not self.entry.table:
            return
        for name, change in self.entry.details.items():
            before, after = (_short(self.entry.table, name, change[when]) for when in ("before", "after"))
            if name in UNSAID or before == after:  # it was created without it
                continue
            yield columns.label(self.entry.table, name), after if change["before"] is None else f"{before} → {after}"


@dataclass(frozen=True, slots=True)
class Listing:
    """One page. `newest`, `newer` and `older`: addresses, or empty. `unsearched`: as in smartops/audit/merge.py."""

    filter: Chosen
    rows: list[Row]
    newest: str = ""
    newer: str = ""
    older: str = ""
    unsearched: Way | None = None
    query: str = ""


@page
def audit(request: ConsoleRequest) -> HttpResponse:
    return _list(request)


def _list(request: ConsoleRequest) -> HttpResponse:
    form = AuditForm(request.GET)
    if not form.is_valid():
        return _shown(request, Listing(Chosen(form), []))
    query = _query(request.GET)
    if form.place and form.way is Way.NEWER:
        found = page_above(request.access, form.search, form.place)
    else:
        found = page_of(request.access, form.search, form.place)
    newer = _query(request.GET, after=str(found.newer)) if found.newer else ""
    older = _query(request.GET, before=str(found.older)) if found.older else ""
    newest = f"{reverse(LIST)}{query}" if form.place and (newer or not found.entries) else ""
    rows = [Row(one, query) for one in found.entries]
    return _shown(request, Listing(Chosen(form), rows, newest, newer, older, found.unsearched, query))


def around(request: ConsoleRequest, row: DecisionRecord) -> Around:
    """The list in which the entry of a decision is, and the decisions before and after it there: two queries each."""
    form = AuditForm(request.GET)
    if not _given(request.GET) or not form.is_valid():
        return Around(f"{reverse(LIST)}?q={row.pk}", "", "")
    source, query = Decisions(), _query(request.GET)
    search = replace(form.search, kinds=form.search.kinds & set(source.kinds))
    place = source.position(row)
    batches = (read(source, request.access, search, place, 1, SCANNED, way=way) for way in (Way.NEWER, Way.OLDER))
    return Around(reverse(LIST) + query, *(Row(one.entries[0], query).href if one.entries else "" for one in batches))


@act(Right.READ)
def export(request: ConsoleRequest) -> HttpResponseBase:
    """What the filter in the address finds, as a file. The form is on the page of the audit."""
    if request.method != "POST":
        return _list(request)
    form, form_of_file = AuditForm(request.GET), FORMATS.get(request.POST.get("format", ""))
    if form_of_file is None or not form.is_valid():
        return redirect(f"{reverse(LIST)}{_query(request.GET)}")
    try:
        begun = exports.begin(person(request), peer_of(request), form_of_file.name, _given(request.GET))
    except exports.TooMany as refusal:
        context = {"message": str(refusal), "status": 429}
        return render(request, "console/refused.html", context, status=429)
    pieces = exports.Pieces(begun, request.access, form.search, partial(_access_now, request.user))
    name = f"smartops-audit-{begun.at:%Y%m%dT%H%M%SZ}.{form_of_file.name}"
    headers = {"Content-Disposition": f'attachment; filename="{name}"', "Cache-Control": "no-store"}
    headers["X-Accel-Buffering"] = "no"  # a proxy sends it on as it comes
    return StreamingHttpResponse(exports.sent(pieces), content_type=form_of_file.content_type, headers=headers)


def _access_now(user: Any) -> Access:
    return access_of(get_user_model().objects.filter(pk=user.pk).first())


def _short(table: str, column: str, value: Any) -> str:
    return Truncator(columns.display(table, column, value)).chars(MAX_VALUE)


def _shown(request: ConsoleRequest, found: Listing) -> HttpResponse:
    context = {"listing": found, "export": f"{reverse('console:audit-export')}{found.query}"}
    return render(request, "console/audit.html", context)


def _given(parameters: QueryDict) -> dict[str, str]:
    return {name: str(value) for name, value in parameters.items() if value and name not in POSITION}


def _query(parameters: QueryDict, **position: Any) -> str:
    query = QueryDict(mutable=True)
    query.update(_given(parameters) | position)
    return f"?{query.urlencode()}" if query else ""
