"""What people tuned and deleted: its last version, and the act that restores it."""

from types import SimpleNamespace
from typing import Any

from django.core.exceptions import ValidationError
from django.db import connection
from django.db.models import Exists, OuterRef, QuerySet
from django.http import HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import get_object_or_404, render
from django.urls import reverse

from signals.setting_changes import SettingChange
from smartops.console.acts import Confirmation, Elsewhere, ReasonedForm, posted, respond
from smartops.console.pages import ConsoleRequest
from smartops.console.tuned import Tuned, as_data, effect, require, settable, valid
from smartops.console.versions import MAX_VERSIONS, Version
from smartops.people.scopes import SCOPES


def deleted(request: ConsoleRequest, tuned: Tuned) -> HttpResponse:
    """The newest deletions of rows that do not exist again, each with the form that restores the row."""
    found = []
    for change in _deletions(request, tuned)[:MAX_VERSIONS]:
        row = SimpleNamespace(**(change.before or {}))
        may = tuned.may_tune(request.access, row)
        restore = reverse(f"console:{tuned.name}-restore", args=[change.pk]) if may else ""
        found.append(Version(change, tuned.difference(change.before, None), restore))
    return render(request, "console/deleted.html", {"tuned": tuned, "deletions": found})


def _deletions(request: ConsoleRequest, tuned: Tuned) -> QuerySet[SettingChange]:
    """The last change of each row that was deleted, the newest first."""
    ours = SettingChange.objects.filter(table_name=tuned.model._meta.db_table)
    later = ours.filter(key=OuterRef("key"), pk__gt=OuterRef("pk"))
    return ours.filter(SCOPES[SettingChange].visible(request.access), ~Exists(later), after__isnull=True).order_by(
        "-pk"
    )


def restore(request: ConsoleRequest, tuned: Tuned, change: int) -> HttpResponseBase:
    """A new change that makes a deleted row what it was, with its id: so its history goes on."""
    version = get_object_or_404(_deletions(request, tuned), pk=change)
    before = version.before or {}
    row = tuned.model(pk=before["id"], **settable(tuned, before))
    require(request, tuned, row)

    def perform(given: dict[str, Any]) -> Elsewhere:
        # Of two persons who restore it at once, one waits here for the other.
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_xact_lock(hashtext(%s))", [f"restore {row._meta.db_table} {row.pk}"])
        if not _deletions(request, tuned).filter(pk=change).exists():
            raise ValidationError(f"Nothing was restored: somebody has restored this {tuned.noun} since.")
        form = valid(request, tuned, as_data(tuned, before, given), None)
        form.instance.pk = row.pk
        if "version" in before:  # decisions name the version that they were made by
            form.instance.version = before["version"] + 1
        return Elsewhere(f"Restored: {form.save()}.", tuned.address(row))

    asked = Confirmation(
        "Restore",
        f"Restore the {tuned.noun} “{row}”",
        f"It becomes what it was before {version.actor} deleted it at {version.at:%Y-%m-%d %H:%M:%S} UTC.",
        back=reverse(f"console:{tuned.name}-deleted"),
        targets=[row],
        details="console/tune_change.html",
    )
    form = ReasonedForm(posted(request))
    return respond(request, form, asked, perform, **effect(request, tuned, None, row))
