"""What the admin does for every model that people edit: it refuses lost updates, and says before a bulk action what the
action will do.

A form, a page that confirms, and each row of a bulk action carry the version of the row that was shown. A write on top
of a newer version is refused, and both versions are shown. The row is locked from the comparison to the commit.
"""

import json
from collections.abc import Callable, Iterable, Sequence
from hashlib import sha256
from typing import Any, TypeVar

from django import forms
from django.contrib import admin, messages
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.contrib.admin.utils import unquote
from django.core.exceptions import ValidationError
from django.db import connection, transaction
from django.db.models import Model, QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse

from signals.lib import columns, triggers
from signals.lib.acting import give_reason
from signals.setting_changes import SettingChange, changes_of

Row = TypeVar("Row", bound=Model)
LOADED = "loaded"
MAX_ROWS = 100  # of one bulk action
REASON = "change_reason"
MAX_REASON = 256  # characters
REASON_MISSING = "Enter a reason: it is part of the history."


def version_of(row: Model) -> str:
    """Of what people see and edit. Secrets are neither: an account that gets another password every second could not
    be deactivated."""
    unseen = triggers.volatile(type(row)) | triggers.secrets(type(row))
    values = {f.attname: f.value_to_string(row) for f in row._meta.concrete_fields if f.attname not in unseen}
    related = {f.name: sorted(str(one.pk) for one in getattr(row, f.name).all()) for f in row._meta.many_to_many}
    return sha256(json.dumps([values, related], sort_keys=True).encode()).hexdigest()[:32]


def last_change(row: Model) -> str:
    """Who changed it last, when and why."""
    last = changes_of(row).first()
    if last is None:
        return ""
    why = f", because “{last.reason}”" if last.reason else ""
    return f" The last change is by {last.actor}, at {last.at:%H:%M:%S} UTC{why}."


def posted_reason(request: HttpRequest) -> str:
    """Of a page without a form. PostgreSQL stores no NUL."""
    return request.POST.get(REASON, "").replace("\0", "").strip()[:MAX_REASON]


def locked(rows: QuerySet[Row]) -> QuerySet[Row]:
    return rows.select_for_update(of=("self",))


class EditedForm(forms.ModelForm[Row]):
    """`own_reason`: the field of a new row that says why it is made; without one, `change_reason` is asked for, too."""

    own_reason = ""
    loaded = forms.CharField(required=False, widget=forms.HiddenInput)
    change_reason = forms.CharField(
        required=False,
        max_length=MAX_REASON,
        label="Reason for the change",
        help_text="For the history. Required if a limit is loosened or a freeze is changed.",
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.adding: bool = self.instance._state.adding
        self.current = "" if self.adding else version_of(self.instance)  # before the data changes the instance
        self.initial[LOADED] = self.current

    def clean(self) -> Any:
        cleaned = super().clean()
        if not self.adding and self.data.get(self.add_prefix(LOADED)) != self.current:
            differences = list(self._differences())
            said = "These fields differ:" if differences else "Your form has the same values."
            raise ValidationError([f"{self._conflict()} {said}", *differences])
        if not self.reason and (needed := self.needs_reason()):
            self.add_error(REASON, f"Enter a reason: {needed}")
        return cleaned

    @property
    def reason(self) -> str:
        field = self.own_reason if self.adding and self.own_reason else REASON
        return str(self.cleaned_data.get(field) or "").strip()

    def needs_reason(self) -> str:
        """Why this change is not saved without a reason; "" if it is."""
        return ""

    def _conflict(self) -> str:
        name = self._meta.model._meta.verbose_name
        return (
            f"Nothing was saved: this {name} has changed since you opened it.{last_change(self.instance)} "
            "Open the page again to edit the current version."
        )

    def _differences(self) -> Iterable[str]:
        table = self._meta.model._meta.db_table
        own = {field.name for field in self._meta.model._meta.get_fields()}
        for name in self.changed_data:
            values = (self.initial.get(name), self.cleaned_data.get(name, self[name].value()))
            stored, yours = (columns.display(table, name, value) for value in values)
            if name in own and stored != yours:
                yield f"{self[name].label}: now “{stored}”, in your form “{yours}”."


class EditedAdmin(admin.ModelAdmin[Row]):
    """A subclass with a form of its own derives it from EditedForm."""

    form: Any = EditedForm
    object_history_template = "admin/setting_history.html"
    actions = ["delete_chosen"]
    deletion_needs_reason = False
    deletes_any_version = False  # also one that the person has not seen
    deletion_note = ""  # what a person reads before they confirm it

    def get_fieldsets(self, request: HttpRequest, obj: Row | None = None) -> Any:
        """With the hidden field in the first group. Who may only view has no form, and none of its own fields."""
        groups = super().get_fieldsets(request, obj)
        if obj is not None and not self.has_change_permission(request, obj):
            own = self.form.declared_fields.keys() - {field.name for field in self.opts.get_fields()}
            return [
                (title, {**how, "fields": [name for name in how["fields"] if name not in own]}) for title, how in groups
            ]
        own = [LOADED] if obj is None and self.form.own_reason else [LOADED, REASON]
        rest: list[Any] = [
            (title, {**how, "fields": [one for one in how["fields"] if one not in own]}) for title, how in groups
        ]
        (title, how), *others = rest
        reason: list[Any] = [(None, {"fields": [REASON]})] if REASON in own else []
        return [(title, {**how, "fields": [*how["fields"], LOADED]}), *others, *reason]

    def save_form(self, request: HttpRequest, form: Any, change: bool) -> Row:
        give_reason(getattr(form, "reason", ""))
        row: Row = super().save_form(request, form, change)
        return row

    def history_view(self, request: HttpRequest, object_id: str, extra_context: Any = None) -> HttpResponse:
        row = self.get_object(request, unquote(object_id))
        changes = [] if row is None else self.changes(request, row)[:MAX_ROWS]
        return super().history_view(request, object_id, {**(extra_context or {}), "changes": changes})

    def changes(self, request: HttpRequest, row: Row) -> QuerySet[SettingChange]:  # noqa: ARG002 - subclasses use it
        return changes_of(row)

    def get_object(self, request: HttpRequest, object_id: str, from_field: str | None = None) -> Row | None:
        found = super().get_object(request, object_id, from_field)
        if found is None or request.method != "POST" or not connection.in_atomic_block:
            return found
        return self.locked(self.model._default_manager.filter(pk=found.pk)).first()

    def locked(self, rows: QuerySet[Row]) -> QuerySet[Row]:
        """Until the end of the transaction. A model whose rows others lock after another row locks that one first."""
        return locked(rows)

    def delete_view(self, request: HttpRequest, object_id: str, extra_context: Any = None) -> HttpResponse:
        with transaction.atomic():
            row = self.get_object(request, unquote(object_id))
            current = "" if row is None else version_of(row)
            is_current = self.deletes_any_version or request.POST.get(LOADED) == current
            if row is not None and request.method == "POST" and not is_current:
                name = self.opts.verbose_name
                text = f"Nothing was deleted: this {name} has changed since you opened it.{last_change(row)}"
                self.message_user(request, f"{text} This page shows the current version.", messages.ERROR)
                return HttpResponseRedirect(
                    reverse(f"admin:{self.opts.app_label}_{self.opts.model_name}_change", args=[row.pk])
                )
            reason = posted_reason(request)
            give_reason(reason)
            if request.method == "POST" and self.deletion_needs_reason and not reason:
                self.message_user(request, f"Nothing was deleted. {REASON_MISSING}", messages.ERROR)
                return HttpResponseRedirect(request.path)
            shown = {LOADED: current, "needs_reason": self.deletion_needs_reason, "note": self.deletion_note}
            return super().delete_view(request, object_id, {**(extra_context or {}), **shown})

    def get_actions(self, request: HttpRequest) -> Any:
        return {name: found for name, found in super().get_actions(request).items() if name != "delete_selected"}

    @admin.action(description="Delete, after a confirmation", permissions=["delete"])
    def delete_chosen(self, request: HttpRequest, chosen: QuerySet[Row]) -> HttpResponse | None:
        with transaction.atomic():
            effect: Callable[[Row], str] = lambda _: f"is deleted. {self.deletion_note}".strip()  # noqa: E731
            rows = confirmed(
                self, request, chosen, "delete_chosen", "Delete", effect, self.deletion_needs_reason,
                lock=self.locked, any_version=self.deletes_any_version,
            )  # fmt: skip
            if isinstance(rows, HttpResponse):
                return rows
            if rows:
                self.log_deletions(request, self.model._default_manager.filter(pk__in=[row.pk for row in rows]))
            for row in rows:
                text = f"{self.opts.verbose_name} {row}"
                self.delete_model(request, row)
                self.message_user(request, f"Deleted: {text}.", messages.SUCCESS)
        return None


def confirmed(
    model_admin: admin.ModelAdmin[Row],
    request: HttpRequest,
    chosen: QuerySet[Row],
    action: str,
    title: str,
    effect: Callable[[Row], str],
    needs_reason: bool = False,
    *,
    lock: Callable[[QuerySet[Row]], QuerySet[Row]] | None = locked,
    any_version: bool = False,
) -> list[Row] | HttpResponse:
    """The rows that a person has confirmed on a page that shows the `effect` on each; until then, that page. The rows
    are locked, unless `lock` is None. Those that have changed since are left out, with a message; with `any_version`
    they are not, so that nobody prevents the act by changing the row. The page asks for a reason, for the history of
    settings."""
    shown = dict(one.partition(":")[::2] for one in request.POST.getlist(LOADED))
    wanted = [*shown] or request.POST.getlist(ACTION_CHECKBOX_NAME)
    if len(wanted) > MAX_ROWS or (not shown and request.POST.get("select_across") == "1"):
        model_admin.message_user(request, f"Choose at most {MAX_ROWS} rows, one page of the list.", messages.ERROR)
        return []
    keys = list(chosen.values_list("pk", flat=True))
    found = model_admin.model._default_manager.filter(pk__in=keys).order_by("pk")
    rows = list(lock(found) if lock else found)
    reason = posted_reason(request)
    give_reason(reason)
    if not shown or (needs_reason and not reason):
        if shown:
            model_admin.message_user(request, f"Nothing was done. {REASON_MISSING}", messages.ERROR)
        effects = [(row, effect(row), f"{row.pk}:{version_of(row)}") for row in rows]
        return _page(model_admin, request, action, title, effects, needs_reason)
    same = [row for row in rows if (seen := shown.get(str(row.pk))) and (any_version or seen == version_of(row))]
    for row in rows:
        if row not in same:
            text = f"Nothing was done to {row}: it has changed since the page was shown.{last_change(row)}"
            model_admin.message_user(request, text, messages.ERROR)
    if missing := shown.keys() - {str(row.pk) for row in rows}:
        model_admin.message_user(
            request, f"{len(missing)} of the rows have been deleted by somebody else.", messages.ERROR
        )
    return same


def _page(
    model_admin: admin.ModelAdmin[Row],
    request: HttpRequest,
    action: str,
    title: str,
    effects: Sequence[Any],
    needs_reason: bool,
) -> TemplateResponse:
    context = {
        **model_admin.admin_site.each_context(request),
        "title": f"{title}?",
        "opts": model_admin.opts,
        "action": action,
        "button": title,
        "effects": effects,
        "needs_reason": needs_reason,
        "checkbox": ACTION_CHECKBOX_NAME,
    }
    return TemplateResponse(request, "admin/confirm.html", context)
