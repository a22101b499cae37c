"""What people tune: guardrail settings, rules and aliases, each with the form, the checks and the words of its model.

The forms are those of the admin: the models' own `clean`, a reason where it is required, and no lost updates.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

from django import forms
from django.core.exceptions import PermissionDenied, ValidationError
from django.db.models import Model, Q
from django.forms import modelform_factory
from django.http import QueryDict
from django.shortcuts import get_object_or_404
from django.urls import reverse

from orchestrator.what_if.draft import edit_of
from signals.lib.edited_admin import LOADED, REASON, EditedForm
from smartops.console.acts import ActForm, ReasonedForm
from smartops.console.differences import Columns, Line, Words, column_values, difference
from smartops.console.filters import Filter
from smartops.console.listing import Around, around
from smartops.console.pages import ConsoleRequest
from smartops.console.previews import begun
from smartops.people.access import Access
from smartops.people.scopes import SCOPES

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


class LoadedForm(ActForm):
    """`loaded`: the version of the row that the person has seen."""

    loaded = forms.CharField(widget=forms.HiddenInput)


class LoadedReasonedForm(LoadedForm, ReasonedForm):
    pass


def check(request: ConsoleRequest, tuned: Tuned, form: Any) -> None:
    """Who may not tune the scope learns nothing else about it."""
    form.is_valid()
    given = {name: form.cleaned_data.get(name, getattr(form.instance, name)) for name in tuned.fields}
    if not tuned.may_tune(request.access, SimpleNamespace(**given)):
        form.errors.clear()
        form.add_error(None, NOT_YOURS)


def require(request: ConsoleRequest, tuned: Tuned, row: Model) -> None:
    if not tuned.may_tune(request.access, row):
        raise PermissionDenied(NOT_YOURS)


def valid(request: ConsoleRequest, tuned: Tuned, data: QueryDict, row: Model | None) -> Any:
    """The form of the model. Raises ValidationError with what it refuses."""
    form = tuned.bound(data, row)
    check(request, tuned, form)
    if form.errors:
        raise ValidationError(
            [
                f"{form[name].label}: {message}" if name in form.fields else message
                for name, texts in form.errors.items()
                for message in texts
            ]
        )
    return form


def effect(request: ConsoleRequest, tuned: Tuned, before: Model | None, after: Model | None) -> dict[str, Any]:
    """What the act changes, as the context of its form: the lines that differ, and a preview of decisions."""
    was, becomes = (None if row is None else column_values(row) for row in (before, after))
    shown: dict[str, Any] = {"lines": tuned.difference(was, becomes)}
    if tuned.decides and request.method == "GET":
        shown |= begun(request, [edit_of(before, after)], "")
    return shown


def settable(tuned: Tuned, version: Mapping[str, Any]) -> dict[str, Any]:
    """Of a version the columns that a person sets. One that the version does not have stays as it is."""
    return {name: version[name] for name in tuned.fields if name in version}


def as_data(tuned: Tuned, version: Mapping[str, Any], given: Mapping[str, Any]) -> QueryDict:
    """As a browser would send the form of the model."""
    data = QueryDict(mutable=True)
    for name in tuned.fields:
        value = version.get(name)
        data[name] = json.dumps(value) if isinstance(value, dict | list) else "" if value is None else str(value)
    data.update({LOADED: given.get(LOADED, ""), REASON: given["reason"], "everything": "on"})
    return data
