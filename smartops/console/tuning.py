"""What the screens of limits, rules and aliases have in common: forms with a preview, versions, deletion and revert.

The forms are those of the admin: the models' own `clean`, a reason where it is required, and no lost updates.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

from django import forms
from django.contrib import messages
from django.core.exceptions import PermissionDenied, ValidationError
from django.db import connection, transaction
from django.db.models import Exists, Model, OuterRef, Q, QuerySet
from django.forms import modelform_factory
from django.http import HttpResponse, QueryDict
from django.http.response import HttpResponseBase
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse

from orchestrator.decide.draft import edit_of
from signals.lib.acting import give_reason
from signals.lib.edited_admin import LOADED, REASON, EditedForm, last_change, version_of
from signals.setting_changes import SettingChange, changes_of
from smartops.console.acts import ActForm, Confirmation, Elsewhere, ReasonedForm, posted, respond
from smartops.console.differences import Columns, Line, Words, columns, difference
from smartops.console.listing import Around, Filter, around
from smartops.console.pages import ConsoleRequest
from smartops.console.previews import WINDOWS, begun
from smartops.people.access import Access
from smartops.people.scopes import SCOPES

MAX_VERSIONS = 50
NOT_YOURS = "Your account has no right to tune all of this scope."


@dataclass(frozen=True, slots=True)
class Tuned:
    """One of the models that people tune. `screen`: the URL name of its list; its pages are named after `name`.
    `decides`: whether stored decisions depend on it. `facts`: more for the preview of a row that is not saved.
    `words`: by column, a value as a sentence. `prepare` completes a form before it is shown; it returns a sentence for
    the page."""

    model: type[Model]
    form: type[EditedForm[Any]]
    fields: Sequence[str]
    name: str
    screen: str
    deletion_needs_reason: bool = False
    decides: bool = True
    facts: Callable[[ConsoleRequest, Any], Mapping[str, Any]] = lambda _request, _row: {}
    words: Words = field(default_factory=dict)
    prepare: Callable[[ConsoleRequest, Any], str] = lambda _request, _form: ""

    def address(self, row: Model) -> str:
        return reverse(f"console:{self.name}", args=[row.pk])

    @property
    def noun(self) -> str:
        return str(self.model._meta.verbose_name)

    @property
    def nouns(self) -> str:
        return str(self.model._meta.verbose_name_plural)

    @property
    def list(self) -> str:
        return f"console:{self.screen}"

    def may_tune(self, access: Access, row: Any) -> bool:
        return SCOPES[self.model].may_change(access, row)

    def visible(self, access: Access) -> Q:
        return SCOPES[self.model].visible(access)

    def around(self, request: ConsoleRequest, filters: type[Filter], row: Any, by: Sequence[str]) -> Around:
        rows = self.model._default_manager.filter(self.visible(request.access))
        return around(request, filters, rows, row, f"console:{self.screen}", self.address, by)

    def find(self, request: ConsoleRequest, pk: int, lock: bool = False) -> Any:
        rows = self.model._default_manager.filter(self.visible(request.access))
        return get_object_or_404(rows.select_for_update() if lock else rows, pk=pk)

    def difference(self, before: Columns | None, after: Columns | None) -> Sequence[Line]:
        return difference(self.model, self.words, before, after)

    def bound(self, data: Any, row: Model | None) -> Any:
        made = modelform_factory(self.model, form=self.form, fields=[*self.fields])
        return made(data, instance=row, label_suffix="")


# --- Forms -----------------------------------------------------------------------------------------------------------


def edit(request: ConsoleRequest, tuned: Tuned, pk: int | None = None, initial: Any = None) -> HttpResponseBase:
    """GET: the form. POST: the preview of what was entered; the form again (`again`); or, with `save`, the change."""
    with transaction.atomic():
        row = None if pk is None else tuned.find(request, pk, lock=request.method == "POST")
        if row is not None:
            _require(request, tuned, row)
        if request.method != "POST":
            form = tuned.bound(None, row)
            form.initial |= initial or {}
            return _form(request, tuned, form, pk)
        before = None if pk is None else tuned.find(request, pk)
        form = tuned.bound(request.POST, row)
        _check(request, tuned, form)
        if form.errors or "again" in request.POST:
            return _form(request, tuned, form, pk, status=422 if form.errors else 200)
        if "save" in request.POST:
            give_reason(form.reason)
            saved = form.save()
            messages.success(request, f"Saved: {saved}.")
            return redirect(tuned.address(saved))
    return _preview(request, tuned, form, before)


def _check(request: ConsoleRequest, tuned: Tuned, form: Any) -> None:
    """Who may not tune the scope learns nothing else about it."""
    form.is_valid()
    given = {name: form.cleaned_data.get(name, getattr(form.instance, name)) for name in tuned.fields}
    if not tuned.may_tune(request.access, SimpleNamespace(**given)):
        form.errors.clear()
        form.add_error(None, NOT_YOURS)


def _require(request: ConsoleRequest, tuned: Tuned, row: Model) -> None:
    if not tuned.may_tune(request.access, row):
        raise PermissionDenied(NOT_YOURS)


def _form(request: ConsoleRequest, tuned: Tuned, form: Any, pk: int | None, status: int = 200) -> HttpResponseBase:
    back = reverse(f"console:{tuned.screen}") if pk is None else reverse(f"console:{tuned.name}", args=[pk])
    title = f"Add {_article(tuned.noun)}" if pk is None else f"Change the {tuned.noun} “{form.instance}”"
    context = {"form": form, "title": title, "back": back, "tuned": tuned, "note": tuned.prepare(request, form)}
    return render(request, "console/tune.html", context, status=status)


def _preview(request: ConsoleRequest, tuned: Tuned, form: Any, before: Model | None) -> HttpResponseBase:
    after = form.instance
    context = {
        "form": form,
        "title": f"{after}",
        "tuned": tuned,
        "lines": tuned.difference(None if before is None else columns(before), columns(after)),
        **tuned.facts(request, after),
    }
    if tuned.decides:
        window = request.POST.get("window", "")
        context |= begun(request, [edit_of(before, after)], window) | {"windows": WINDOWS}
    return render(request, "console/tune_preview.html", context)


def _article(noun: str) -> str:
    return f"{'an' if noun[0] in 'aeiou' else 'a'} {noun}"


# --- Versions --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Version:
    """A row as it was after a change. `revert`: the address of the form that makes it so again; empty for the current
    version, and for those who may not."""

    change: SettingChange
    lines: Sequence[Line]
    revert: str = ""


def versions(request: ConsoleRequest, tuned: Tuned, row: Model) -> list[Version]:
    """The newest first."""
    may = tuned.may_tune(request.access, row)
    found = []
    for place, change in enumerate(changes_of(row).filter(table_name=row._meta.db_table)[:MAX_VERSIONS]):
        reverts = may and place and change.after is not None
        revert = reverse(f"console:{tuned.name}-revert", args=[row.pk, change.pk]) if reverts else ""
        found.append(Version(change, tuned.difference(change.before, change.after), revert))
    return found


class LoadedForm(ActForm):
    """`loaded`: the version of the row that the person has seen."""

    loaded = forms.CharField(widget=forms.HiddenInput)


class LoadedReasonedForm(LoadedForm, ReasonedForm):
    pass


def revert(request: ConsoleRequest, tuned: Tuned, pk: int, change: int) -> HttpResponseBase:
    """A new change that makes the row what it was after an earlier one."""
    row = tuned.find(request, pk)
    version = get_object_or_404(changes_of(row).filter(after__isnull=False), pk=change, table_name=row._meta.db_table)
    when = f"{version.at:%Y-%m-%d %H:%M:%S} UTC"
    says = f"It becomes what it was after the change of {when} by {version.actor}."
    return _change(request, tuned, row, columns(row) | (version.after or {}), "Revert", says, reason=True)


def switch(request: ConsoleRequest, tuned: Tuned, pk: int, *, on: bool) -> HttpResponseBase:
    """Enables or disables the row."""
    row = tuned.find(request, pk)
    says = "It is tried from now on." if on else "It has no effect until it is enabled again."
    return _change(request, tuned, row, columns(row) | {"enabled": on}, "Enable" if on else "Disable", says)


def _change(
    request: ConsoleRequest, tuned: Tuned, row: Any, wanted: Mapping[str, Any], button: str, says: str,
    reason: bool = False,
) -> HttpResponseBase:  # fmt: skip
    """The form of the model checks the wanted columns, and refuses them if somebody has changed the row since."""
    _require(request, tuned, row)
    target = tuned.model(**{**columns(row), **_settable(tuned, wanted)})

    def perform(given: dict[str, Any]) -> str:
        form = _valid(request, tuned, _as_data(tuned, wanted, given), tuned.find(request, row.pk, lock=True))
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
    return respond(request, form, asked, perform, **_effect(request, tuned, row, target))


def _valid(request: ConsoleRequest, tuned: Tuned, data: QueryDict, row: Model | None) -> Any:
    """The form of the model. Raises ValidationError with what it refuses."""
    form = tuned.bound(data, row)
    _check(request, tuned, form)
    if form.errors:
        raise ValidationError([message for texts in form.errors.values() for message in texts])
    return form


def _effect(request: ConsoleRequest, tuned: Tuned, before: Model | None, after: Model | None) -> dict[str, Any]:
    """What the act changes, as the context of its form: the lines that differ, and a preview of decisions."""
    was, becomes = (None if row is None else columns(row) for row in (before, after))
    shown: dict[str, Any] = {"lines": tuned.difference(was, becomes)}
    if tuned.decides and request.method == "GET":
        shown |= begun(request, [edit_of(before, after)], "")
    return shown


def _settable(tuned: Tuned, version: Mapping[str, Any]) -> dict[str, Any]:
    """Of a version the columns that a person sets. One that the version does not have stays as it is."""
    return {name: version[name] for name in tuned.fields if name in version}


def _as_data(tuned: Tuned, version: Mapping[str, Any], given: Mapping[str, Any]) -> QueryDict:
    """As a browser would send the form of the model."""
    data = QueryDict(mutable=True)
    for name in tuned.fields:
        value = version.get(name)
        data[name] = json.dumps(value) if isinstance(value, dict | list) else "" if value is None else str(value)
    data.update({LOADED: given.get(LOADED, ""), REASON: given["reason"], "everything": "on"})
    return data


def delete(request: ConsoleRequest, tuned: Tuned, pk: int) -> HttpResponseBase:
    row = tuned.find(request, pk)
    _require(request, tuned, row)

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
    return respond(request, form, asked, perform, **_effect(request, tuned, row, None))


# --- Deleted rows ----------------------------------------------------------------------------------------------------


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
    row = tuned.model(pk=before["id"], **_settable(tuned, before))
    _require(request, tuned, row)

    def perform(given: dict[str, Any]) -> Elsewhere:
        # Of two persons who restore it at once, one waits here for the other.
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_xact_lock(hashtext(%s))", [f"restore {row._meta.db_table} {row.pk}"])
        if not _deletions(request, tuned).filter(pk=change).exists():
            raise ValidationError(f"Nothing was restored: somebody has restored this {tuned.noun} since.")
        form = _valid(request, tuned, _as_data(tuned, before, given), None)
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
    return respond(request, form, asked, perform, **_effect(request, tuned, None, row))
