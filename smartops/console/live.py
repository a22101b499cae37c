"""What each screen makes of changed rows: the content of the messages that its open pages get.

A screen of rows sends each changed row as HTML. A screen that is the same for everybody with the same access sends what
it shows of them. Any other page is asked to fetch itself again. (docs/adr/0053-the-socket-sends-what-changed.md)
"""

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Protocol
from uuid import UUID

from django.conf import settings
from django.db.models import QuerySet, prefetch_related_objects
from django.http import QueryDict
from django.template.loader import render_to_string
from django.urls import Resolver404, get_script_prefix, resolve
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString, mark_safe

from guardrails.models import Freeze
from orchestrator.models import ACTIVE, Action
from orchestrator.models.keys import ACTIVE_IDS
from signals.models import Signal
from smartops import queries
from smartops.console.freezes import in_force
from smartops.console.freshness import freshness
from smartops.console.held_back import PageState, page_state
from smartops.console.listing import filter_query
from smartops.console.pages import freezes_in_force
from smartops.people.access import Access, Right
from smartops.web.notifications import Row

MAX_ROWS = 100  # in one message; after a larger burst, the pages fetch themselves


@dataclass(frozen=True, slots=True)
class Page:
    """An open page. `address`: its path within the site, and the query. `name`: of its URL. `where`: the values in its
    path. `query`: the filter."""

    address: str
    name: str
    where: tuple[tuple[str, str], ...] = ()
    query: str = ""

    @classmethod
    def at(cls, address: str) -> "Page | None":
        """None if the console has no such page."""
        path, _, query = address.partition("?")
        try:
            found = resolve(path)
        except Resolver404:
            return None
        if found.namespace != "console":
            return None
        return cls(
            address, found.url_name or "", tuple((name, str(value)) for name, value in found.kwargs.items()), query
        )


@dataclass(frozen=True, slots=True)
class Update:
    """A message to an open page. `content`: HTML that htmx puts in its places. `refresh`: the page has to fetch itself.
    `rows`: the changed rows that the page is about, as ids of HTML elements. `listed`: they belong to its list.

    A refresh with content: the content is shown at once."""

    content: str = ""
    refresh: bool = False
    rows: tuple[str, ...] = ()
    listed: bool = False


@dataclass(frozen=True)
class Changed:
    """The changed rows of a burst, each read once for all pages. `rows` is None if every row may have changed."""

    rows: Collection[Row] | None
    rendered: dict[tuple[str, UUID, str], SafeString] = field(default_factory=dict)

    def are_many(self, *models: str) -> bool:
        """Whether the changed rows of these models are unknown, or too many for a message."""
        if self.rows is None:
            return True
        pks = [pk for model, pk in self.rows if model in models]
        return len(pks) > MAX_ROWS or "" in pks

    @cached_property
    def page_state(self) -> PageState:
        return page_state(Freeze.in_force(), freshness())

    def freezes(self, page: Page, access: Access) -> SafeString:
        """The freezes, which every page shows, if one has begun or ended."""
        if self.rows is None or ("setting", "guardrails_freeze") not in self.rows:
            return SafeString()
        address = f"{get_script_prefix().removesuffix('/')}{page.address}"
        return partial(
            "freezes", render_to_string("console/freezes.html", in_force(access, address, freezes_in_force(access)))
        )

    def names(self, *models: str) -> bool:
        return self.rows is None or any(model in models for model, _ in self.rows)

    def ids(self, model: str) -> list[UUID]:
        return [UUID(pk) for name, pk in self.rows or () if name == model and pk]

    @cached_property
    def actions(self) -> list[Action]:
        rows = queries.shown_actions().defer("details", "change")
        return list(rows.filter(pk__in=self.ids("action")).order_by("-pk"))

    @cached_property
    def signals(self) -> list[Signal]:
        return _with_actions(Signal.objects.filter(pk__in=self.ids("signal")))

    @cached_property
    def active_actions(self) -> list[Action]:
        """At least one more than fits into a message, if there are so many."""
        rows = queries.shown_actions().defer("details", "change")
        return list(rows.filter(pk__range=ACTIVE_IDS(), state__in=ACTIVE).order_by("-pk")[: MAX_ROWS + 1])

    @cached_property
    def pending_signals(self) -> list[Signal]:
        return _with_actions(Signal.pending(), MAX_ROWS + 1)

    def visible_to(self, access: Access, models: Collection[str]) -> tuple[str, ...]:
        """The rows of these models that the person may see."""
        actions = [f"action-{one.pk}" for one in self.actions if sees(access, one.workload)]
        signals = [f"signal-{one.pk}" for one in self.signals if sees(access, one)]
        return tuple(one for one in (*actions, *signals) if one.partition("-")[0] in models)


def _with_actions(rows: "QuerySet[Signal]", most: int | None = None) -> list[Signal]:
    found = list(rows.defer("payload").order_by("-pk")[:most])
    prefetch_related_objects(found, queries.of_signals(found))
    return found


def sees(access: Access, place: Any) -> bool:
    """`place`: a workload or a signal."""
    return access.may(Right.READ, place.cluster, place.namespace)


def _sees(access: Access, row: Any) -> bool:
    return sees(access, row.workload if isinstance(row, Action) else row)


class Live(Protocol):
    def update(self, page: Page, access: Access, changed: Changed) -> Update | None:
        """None: nothing of it concerns the page, or the person may not see it."""


@dataclass(frozen=True)
class Rows:
    """A list. A changed row is replaced where it is shown, also if it does not pass the filter any more: nothing
    disappears under the pointer. The page announces those that pass the filter and that it does not show.

    `template` shows one row, by the name `model`; else it depends on the filter alone. `passing`: the rows of the list
    that the person may see and that pass its filter."""

    model: str
    template: str
    passing: Callable[[QueryDict, Access], "QuerySet[Any]"]

    def update(self, page: Page, access: Access, changed: Changed) -> Update | None:
        freezes = changed.freezes(page, access)
        # A freeze holds back rows that have not changed.
        held = (changed.active_actions if self.model == "action" else changed.pending_signals) if freezes else []
        if changed.are_many(self.model) or len(held) > MAX_ROWS:
            return Update(freezes, refresh=True)
        rows = self._rows(changed)
        seen = [one for one in rows if _sees(access, one)]
        again = [one for one in held if one not in seen and _sees(access, one)]
        if not seen and not freezes:
            return None
        passing = self.passing(QueryDict(page.query), access).filter(pk__in=[one.pk for one in seen])
        found = set(passing.values_list("pk", flat=True))
        html = (self._html(one, page.query, changed) for one in (*seen, *again))
        content = freezes + mark_safe("".join(html))  # noqa: S308 - of templates
        return Update(content, rows=tuple(f"{self.model}-{one.pk}" for one in seen if one.pk in found), listed=True)

    def _rows(self, changed: Changed) -> Iterable[Any]:
        return changed.actions if self.model == "action" else changed.signals

    def _html(self, row: Any, query: str, changed: Changed) -> SafeString:
        key = self.template, row.pk, query
        if key not in changed.rendered:
            listing = {"query": filter_query(QueryDict(query))}
            frame = {"cluster": settings.SMARTOPS_CLUSTER, "page_state": changed.page_state}
            html = render_to_string(self.template, {self.model: row, "listing": listing} | frame)
            changed.rendered[key] = partial(f"{self.model}-{row.pk}", html)
        return changed.rendered[key]


@dataclass(frozen=True)
class Shared:
    """A page that shows the same to everybody with the same access. `parts`: its elements, as HTML by their ids."""

    models: tuple[str, ...]
    parts: Callable[[Access], Mapping[str, str]]

    def update(self, page: Page, access: Access, changed: Changed) -> Update | None:
        if changed.rows is None:
            return Update(refresh=True)
        if not changed.names(*self.models):
            return None
        are_many = changed.are_many(*self.models)
        rows = () if are_many else changed.visible_to(access, self.models)
        if not rows and not are_many and not changed.names("setting"):
            return None
        parts = format_html_join("", "{}", ((partial(name, html),) for name, html in self.parts(access).items()))
        return Update(changed.freezes(page, access) + parts, rows=rows)


@dataclass(frozen=True)
class Fetched:
    """Any other page. `of`: the parameter of its path that is the id of a row of the first model; a change of another
    such row does not concern it."""

    models: tuple[str, ...]
    of: str = ""

    def update(self, page: Page, access: Access, changed: Changed) -> Update | None:
        if not changed.names(*self.models):
            return None
        freezes = changed.freezes(page, access)
        if changed.are_many(*self.models):
            return Update(freezes, refresh=True)
        rows: tuple[str, ...] = changed.visible_to(access, self.models)
        if self.of:
            own = f"{self.models[0]}-{dict(page.where)[self.of]}"
            others = tuple(one for one in rows if not one.startswith(f"{self.models[0]}-"))
            rows = (own,) if own in rows else others
        if not rows and not changed.names("setting"):
            return None
        return Update(freezes, refresh=True, rows=rows)


def partial(name: str, html: str) -> SafeString:
    """What htmx takes for the new element of that id. Morphing keeps what has not changed: focus, selection, inputs."""
    return format_html('<hx-partial hx-target="#{}" hx-swap="outerMorph">{}</hx-partial>', name, html)
