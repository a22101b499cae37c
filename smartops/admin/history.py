"""The history of settings and of sign-ins: read-only lists that load no payloads."""
# ruff: noqa: ARG002 - the signatures are ModelAdmin's

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pgtrigger
from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString

from signals.lib import columns
from signals.lib.triggers import Recorded
from signals.models import SettingChange
from smartops.admin.placed import PlacedHistoryAdmin, Row
from smartops.models import SignIn

MONTHS = 24


def recorded_tables() -> dict[str, str]:
    """Of each recorded table, what its rows are called."""
    models = [model for model, trigger in pgtrigger.registered() if isinstance(trigger, Recorded)]
    concrete = [one._meta.concrete_model or one for one in models]
    return {one._meta.db_table: str(one._meta.verbose_name_plural) for one in sorted(concrete, key=str)}


class TableFilter(admin.SimpleListFilter):
    title, parameter_name = "table", "table_name"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return list(recorded_tables().items())

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return queryset.filter(table_name=self.value()) if self.value() else queryset


class MonthFilter(admin.SimpleListFilter):
    title, parameter_name = "month", "month"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(f"{month:%Y-%m}", f"{month:%B %Y}") for month in _months()]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        if not self.value():
            return queryset
        try:
            first = datetime.strptime(str(self.value()), "%Y-%m").replace(tzinfo=UTC)
            following = (first + timedelta(days=32)).replace(day=1)
        except (ValueError, OverflowError):
            return queryset.none()
        return queryset.filter(at__gte=first, at__lt=following)


def _months() -> Iterator[datetime]:
    month = timezone.now()
    for _ in range(MONTHS):
        yield month
        month = month.replace(day=1) - timedelta(days=1)


def _only(name: str, description: str) -> Any:
    """A column that leads to the rows with the same value."""

    @admin.display(description=description)
    def shown(row: Any) -> SafeString | str:
        value = getattr(row, name)
        return format_html('<a href="{}"><bdi>{}</bdi></a>', f"?q={value}", value) if value else "-"

    return shown


class ActorHistoryAdmin(PlacedHistoryAdmin[Row]):
    """A search finds the rows of an actor, or those with the value in the column `searched`."""

    searched: str
    ordering = ["-id"]

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Row], search_term: str
    ) -> tuple[QuerySet[Row], bool]:
        if term := search_term.strip():
            queryset = queryset.filter(**{"actor" if ":" in term else self.searched: term})
        return queryset, False


@admin.register(SettingChange)
class SettingChangeAdmin(ActorHistoryAdmin[SettingChange]):
    list_display = ["at", "operation", "table", _only("key", "key"), _only("actor", "actor"), "address", "reason"]
    list_filter = [TableFilter, MonthFilter]
    large = ("before", "after")
    search_help_text = "The key of a row, or an actor: user:NAME, token:NAME, rule:NAME, reconciler:NAME, system:NAME."
    searched = "key"

    @admin.display(description="table")
    def table(self, row: SettingChange) -> str:
        return columns.noun(row.table_name)


@admin.register(SignIn)
class SignInAdmin(ActorHistoryAdmin[SignIn]):
    list_display = ["at", "event", _only("actor", "actor"), "address", "reason", "count"]
    list_filter = [MonthFilter]
    search_help_text = "An actor, as user:NAME, or an event, as sign-in failed."
    searched = "event"
