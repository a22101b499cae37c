"""Forms with a scope: an empty one needs a confirmation, and what is saved says which known workloads it covers."""

from collections.abc import Sequence
from difflib import get_close_matches
from typing import Any, TypeVar

from django import forms
from django.contrib import messages
from django.db.models import Model, QuerySet
from django.http import HttpRequest

from orchestrator.models import Workload
from smartops.admin.placed import PlacedAdmin, PlacedForm
from smartops.people.access import Access, access_in

Row = TypeVar("Row", bound=Model)
SHOWN = 5  # names of workloads in a message
COMPARED = 2000  # names, to find a similar one


class ScopedForm(PlacedForm[Row]):
    """`scope`: the fields of which one must be set, or `everything` ticked."""

    scope: tuple[str, ...] = ("cluster", "kind", "namespace", "workload")
    everything = forms.BooleanField(
        required=False, label="Everything, on purpose", help_text="Required if all fields of the scope are empty."
    )

    def clean(self) -> Any:
        cleaned = super().clean()
        is_set = any(self.cleaned_data.get(name) for name in self.scope) or bool(self.errors.keys() & {*self.scope})
        touched = self.adding or bool({*self.scope} & {*self.changed_data})
        if touched and not is_set and not self.cleaned_data.get("everything"):
            names = " or ".join(f"“{self[name].label}”" for name in self.scope)
            self.add_error("everything", f"It would cover everything. Confirm that here, or fill in {names}.")
        return cleaned


class ScopedAdmin(PlacedAdmin[Row]):
    form: Any = ScopedForm

    def workloads(self, row: Row) -> QuerySet[Workload]:
        """The known workloads that the row covers. A workload is known from the first decision about it."""
        scope = {name: getattr(row, name, "") for name in ("cluster", "kind", "namespace")}
        scope["name"] = getattr(row, "workload", "")
        return Workload.objects.filter(**{name: value for name, value in scope.items() if value})

    def save_model(self, request: HttpRequest, obj: Row, form: Any, change: bool) -> None:
        super().save_model(request, obj, form, change)
        self.say_what_is_covered(request, obj)

    def say_what_is_covered(self, request: HttpRequest, row: Row) -> None:
        access = access_in(request)
        text, names = coverage(self.workloads(row).filter(access.visible())), ("namespace", "workload")
        hint = similar(access, *(getattr(row, name, "") for name in names)) if text.startswith("0 ") else ""
        level = messages.WARNING if text.startswith("0 ") else messages.INFO
        self.message_user(request, f"The {self.opts.verbose_name} “{row}” covers {text}{hint}", level)


def coverage(rows: QuerySet[Workload]) -> str:
    """“3 known workloads: shop/api, shop/cart, shop/web.”"""
    count, first = rows.count(), list(rows.order_by("namespace", "name", "kind", "pk")[:SHOWN])
    if not count:
        return "0 known workloads. Check the names. SmartOps knows a workload after the first decision about it."
    return f"{count} known workload{'s' if count > 1 else ''}: {first_of(first, count)}."


def first_of(names: Sequence[object], count: int) -> str:
    """“shop/api, shop/cart and 3 more”. `names`: the first ones of so many."""
    return ", ".join(map(str, names)) + (f" and {count - len(names)} more" if count > len(names) else "")


def similar(access: Access, namespace: str, workload: str) -> str:
    """A hint at names that a person may have meant, of those that the person may see."""
    field = "name" if workload else "namespace"
    known = Workload.objects.filter(access.visible()).order_by(field).values_list(field, flat=True).distinct()
    found = get_close_matches(workload or namespace, known[:COMPARED], n=3)
    return f" Similar: {', '.join(found)}." if found else ""
