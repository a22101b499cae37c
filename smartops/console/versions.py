"""The versions of what people tune: each with its difference, and the acts that make the next one without a form."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django.core.exceptions import ValidationError
from django.db.models import Model
from django.http.response import HttpResponseBase
from django.shortcuts import get_object_or_404
from django.urls import reverse

from signals.lib.edited_admin import LOADED, last_change, version_of
from signals.setting_changes import SettingChange, changes_of
from smartops.console.acts import Confirmation, posted, respond
from smartops.console.differences import Line, column_values
from smartops.console.pages import ConsoleRequest
from smartops.console.tuned import LoadedForm, LoadedReasonedForm, Tuned, as_data, effect, require, settable, valid

MAX_VERSIONS = 50


@dataclass(frozen=True, slots=True)
class Version:
    """A row as it was after a change. `revert`: the address of the form that makes it so again; empty for the current
    version, and for those who may not."""

    change: SettingChange
    lines: Sequence[Line]
    revert: str = ""


def newest(request: ConsoleRequest, tuned: Tuned, row: Model) -> list[Version]:
    """At most MAX_VERSIONS, the newest first."""
    may = tuned.may_tune(request.access, row)
    found = []
    for place, change in enumerate(changes_of(row).filter(table_name=row._meta.db_table)[:MAX_VERSIONS]):
        reverts = may and place and change.after is not None
        revert = reverse(f"console:{tuned.name}-revert", args=[row.pk, change.pk]) if reverts else ""
        found.append(Version(change, tuned.difference(change.before, change.after), revert))
    return found


def revert(request: ConsoleRequest, tuned: Tuned, pk: int, change: int) -> HttpResponseBase:
    """A new change that makes the row what it was after an earlier one."""
    row = tuned.find(request, pk)
    version = get_object_or_404(changes_of(row).filter(after__isnull=False), pk=change, table_name=row._meta.db_table)
    when = f"{version.at:%Y-%m-%d %H:%M:%S} UTC"
    says = f"It becomes what it was after the change of {when} by {version.actor}."
    return _change(request, tuned, row, column_values(row) | (version.after or {}), "Revert", says, reason=True)


def switch(request: ConsoleRequest, tuned: Tuned, pk: int, *, on: bool) -> HttpResponseBase:
    """Enables or disables the row."""
    row = tuned.find(request, pk)
    says = "It is tried from now on." if on else "It has no effect until it is enabled again."
    return _change(request, tuned, row, column_values(row) | {"enabled": on}, "Enable" if on else "Disable", says)


def _change(
    request: ConsoleRequest, tuned: Tuned, row: Any, wanted: Mapping[str, Any], button: str, says: str,
    reason: bool = False,
) -> HttpResponseBase:  # fmt: skip
    """The form of the model checks the wanted columns, and refuses them if somebody has changed the row since."""
    require(request, tuned, row)
    target = tuned.model(**{**column_values(row), **settable(tuned, wanted)})

    def perform(given: dict[str, Any]) -> str:
        form = valid(request, tuned, as_data(tuned, wanted, given), tuned.find(request, row.pk, lock=True))
        return f"{button}: {form.save()}. Done."

    asked = Confirmation(
        button,
        f"{button} the {tuned.noun} “{row}”",
        says,
        back=tuned.address(row),
        targets=[row],
        details="console/tune_change.html",
    )
    made = LoadedReasonedForm if reason else LoadedForm
    form = made(posted(request), initial={LOADED: version_of(row)})
    return respond(request, form, asked, perform, **effect(request, tuned, row, target))


def delete(request: ConsoleRequest, tuned: Tuned, pk: int) -> HttpResponseBase:
    row = tuned.find(request, pk)
    require(request, tuned, row)

    def perform(given: dict[str, Any]) -> str:
        current = tuned.find(request, pk, lock=True)
        if version_of(current) != given[LOADED]:
            name = tuned.noun
            raise ValidationError(f"Nothing was deleted: this {name} has changed since.{last_change(current)}")
        current.delete()
        return f"Deleted: {row}."

    asked = Confirmation(
        "Delete",
        f"Delete the {tuned.noun} “{row}”",
        "It has no effect any more. Its versions stay in the history of settings.",
        back=reverse(f"console:{tuned.screen}"),
        targets=[row],
        danger=True,
        details="console/tune_change.html",
    )
    made = LoadedReasonedForm if tuned.deletion_needs_reason else LoadedForm
    form = made(posted(request), initial={LOADED: version_of(row)})
    return respond(request, form, asked, perform, **effect(request, tuned, row, None))
