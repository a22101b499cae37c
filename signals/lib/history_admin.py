"""Pages of the admin for rows that only the software writes. The tables have millions of rows, and a row may have a
payload of a megabyte: lists load no payloads, count to a limit, and run only queries that an index answers."""
# ruff: noqa: ARG002 - the signatures are ModelAdmin's

import json
import re
from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Any, TypeVar
from uuid import UUID

from django.conf import settings
from django.contrib import admin
from django.core.paginator import Paginator
from django.db.models import Model, Q, QuerySet, TextField
from django.db.models.functions import Cast, Left
from django.http import HttpRequest
from django.utils.html import format_html
from django.utils.safestring import SafeString

from signals.types import Kind

Row = TypeVar("Row", bound=Model)
MAX_COUNTED = 10_000  # rows; older ones are found by search
MAX_SHOWN = 16_384  # characters of a JSON column
WORKLOAD = re.compile(
    rf"(?:(?P<cluster>[^:/\s]+):)?(?:(?P<kind>{'|'.join(Kind)}) )?(?P<namespace>[^:/\s]+)/(?P<name>[^:/\s]*)"
)


class BoundedPaginator(Paginator[Any]):
    @cached_property
    def count(self) -> int:
        rows: Any = self.object_list
        return int(rows.order_by()[:MAX_COUNTED].count())


class HistoryAdmin(admin.ModelAdmin[Row]):
    """`large`: the JSON columns, which no list loads, and of which the page of a row shows the beginning;
    `large_related`: those of related rows. `ids`: the columns that a search for an id compares."""

    large: tuple[str, ...] = ()
    large_related: tuple[str, ...] = ()
    ids: tuple[str, ...] = ("pk",)
    show_full_result_count = False
    sortable_by = ()
    paginator = BoundedPaginator
    list_per_page = 50
    list_max_show_all = 0
    search_fields = ["pk"]  # shows the field; `get_search_results` reads it
    search_help_text = (
        "An id, or namespace/workload, or namespace/. With a kind in front, for this kind alone: “StatefulSet "
        "namespace/workload”. With “cluster:” in front, for another cluster."
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[Row]:
        rows = super().get_queryset(request)
        related: Any = self.list_select_related
        if related:
            rows = rows.select_related(*related)
        return rows.defer(*self.large, *self.large_related)

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Row], search_term: str
    ) -> tuple[QuerySet[Row], bool]:
        term = search_term.strip()
        if not term:
            return queryset, False
        if found := WORKLOAD.fullmatch(term):
            scope = {"cluster": settings.SMARTOPS_CLUSTER} | {k: v for k, v in found.groupdict().items() if v}
            return queryset.filter(self.of_workload(scope)), False
        try:
            wanted = UUID(term)
        except ValueError:
            return queryset.none(), False
        return queryset.filter(Q.create([(name, wanted) for name in self.ids], connector=Q.OR)), False

    def of_workload(self, scope: Mapping[str, str]) -> Q:
        """The rows of the workloads with this `cluster` and `namespace`, and with the `kind` and the `name` if it has
        them."""
        raise NotImplementedError

    def get_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        return [beginning_of(name) if name in self.large else name for name in super().get_fields(request, obj)]

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False


def beginning_of(column: str) -> Callable[[Model], SafeString]:
    """A field of the admin: the JSON column, cut by the database."""

    def shown(row: Model) -> SafeString:
        text = Left(Cast(column, TextField()), MAX_SHOWN + 1)
        value = type(row)._base_manager.filter(pk=row.pk).values_list(text, flat=True).get()
        if value is None:
            return SafeString("-")
        if len(value) > MAX_SHOWN:
            return format_html("<pre>{}…</pre><p>The first {} characters.</p>", value[:MAX_SHOWN], MAX_SHOWN)
        return format_html("<pre>{}</pre>", json.dumps(json.loads(value), indent=2, ensure_ascii=False))

    shown.__name__ = column
    shown.short_description = column.capitalize()  # type: ignore[attr-defined]
    return shown
