"""The limits: their rows by scope, the effective ones of a target, one row with its versions, and its form."""

from typing import Any

from django import forms
from django.db.models import Q, QuerySet
from django.http import HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import render

from guardrails.models import LIMIT_FIELDS, Freeze, GuardrailSetting, Scope, effective_limits, merge_limits, scope_name
from guardrails.words import WORDS, budgets, in_words, inherited
from orchestrator.decide.history import Wanted, load_history
from orchestrator.models import Workload
from signals.names import name_problems
from signals.types import ActionType, Kind, Target
from smartops.admin.limits import LimitsForm
from smartops.console import deletions, filters, listing, tuning, versions
from smartops.console.pages import ConsoleRequest, act, page
from smartops.console.tuned import Tuned
from smartops.people.access import Access, Right

SCOPE = ("cluster", "kind", "namespace", "workload")


def show_inherited(request: ConsoleRequest, form: Any) -> str:
    """In each empty limit of the form, what the scope inherits, if the person may read it."""
    given = {name: str(form[name].value() or "").strip() for name in SCOPE}
    kind = given.pop("kind")
    if name_problems(**given) or kind not in ("", *Kind):
        return ""
    if not request.access.sees(given["cluster"], given["namespace"]):
        return ""
    target: Any = Target(given["cluster"], given["namespace"], given["workload"], kind)  # type: ignore[arg-type]
    limits = merge_limits(GuardrailSetting.objects.filter(Scope.covering(target)).exclude(pk=form.instance.pk).values())
    for name in LIMIT_FIELDS:
        words, field = inherited(getattr(limits, name), limits.sources[name]), form.fields[name]
        if hasattr(field, "choices"):
            field.choices = [("", words), *field.choices[1:]]
        else:
            field.widget.attrs["placeholder"] = words
    return f"An empty limit is inherited. The values are those for {scope_name(kind=kind, **given)}."


LIMITS = Tuned(
    model=GuardrailSetting,
    form=LimitsForm,
    fields=(*SCOPE, *LIMIT_FIELDS),
    name="guardrail",
    screen="guardrails",
    deletion_needs_reason=True,
    words=WORDS,
    prepare=show_inherited,
)


class LimitFilter(filters.Filter):
    q = filters.search()
    cluster = filters.cluster()
    namespace = filters.namespace()
    kind = filters.choice("kind", "All kinds", [(one.value, one.value) for one in Kind], label="Kind")

    def search(self, rows: "QuerySet[GuardrailSetting]", _: str, text: str) -> "QuerySet[GuardrailSetting]":
        """A part of a name in the scope."""
        names = ("cluster", "namespace", "workload")
        return rows.filter(*[Q(*((f"{name}__icontains", text) for name in names), _connector=Q.OR)])


class TargetForm(forms.Form):
    """The target whose effective limits are shown. Without a workload, those of a namespace or of everything."""

    of_cluster = forms.CharField(required=False, max_length=63, label="Cluster")
    of_kind = forms.ChoiceField(required=False, choices=[(one.value, one.value) for one in Kind], label="Kind")
    of_namespace = forms.CharField(required=False, max_length=63, label="Namespace")
    of_workload = forms.CharField(required=False, max_length=253, label="Workload")

    def __init__(self, data: Any, access: Access) -> None:
        super().__init__(data, label_suffix="")
        self.access = access

    def clean(self) -> None:
        given = {name: self.cleaned_data.get(f"of_{name}", "") for name in ("cluster", "namespace", "workload")}
        for name, problem in name_problems(**given).items():
            self.add_error(f"of_{name}", problem)
        if given["workload"] and not given["namespace"]:
            self.add_error("of_namespace", "A workload is named within its namespace.")
        if not self.access.sees(given["cluster"], given["namespace"]):
            self.add_error(None, "Your account may read nothing of this target.")

    @property
    def target(self) -> Target:
        given = self.cleaned_data
        kind = Kind(given["of_kind"]) if given["of_kind"] else Kind.DEPLOYMENT
        return Target(given["of_cluster"], given["of_namespace"], given["of_workload"], kind)


@page
def guardrails(request: ConsoleRequest) -> HttpResponse:
    given = request.GET.copy()
    chosen = TargetForm({name: given.pop(name, [""])[-1] for name in TargetForm.base_fields}, request.access)
    rows = GuardrailSetting.objects.filter(LIMITS.visible(request.access))
    found = listing.named(request, LimitFilter, rows, SCOPE, given)
    context: dict[str, Any] = {
        "listing": found,
        "chosen": chosen,
        "rows": [(row, _own(row)) for row in found.rows],
        "may_tune": request.access.has(Right.TUNE),
    }
    if chosen.is_valid():
        context |= _effective(request, chosen.target)
    return render(request, "console/guardrails.html", context)


def _own(row: GuardrailSetting) -> list[str]:
    return [in_words(name, value) for name in LIMIT_FIELDS if (value := getattr(row, name)) is not None]


def _effective(request: ConsoleRequest, target: Target) -> dict[str, Any]:
    """Each limit in words with its source; what is left of the budgets of a workload that is known and visible."""
    limits = effective_limits(target)
    scopes = {row.scope: row for row in GuardrailSetting.objects.filter(LIMITS.visible(request.access))}
    effective = [
        (name, in_words(name, getattr(limits, name)), limits.sources[name], scopes.get(limits.sources[name]))
        for name in LIMIT_FIELDS
    ]
    context: dict[str, Any] = {"target": target, "effective": effective, "freezes": list(Freeze.in_force(target))}
    names = {"cluster": target.cluster, "namespace": target.namespace, "name": target.name, "kind": target.kind}
    where = {name: value for name, value in names.items() if value}
    if target.name:
        known = Workload.objects.filter(request.access.visible(), **where).order_by("cluster").first()
        if known is not None:
            [history] = load_history([Wanted(known.target, known.pk, ActionType.SCALE)])
            context["budgets"] = budgets(history.limits, history.recent, history.now)
    return context


@page
def guardrail(request: ConsoleRequest, pk: int) -> HttpResponse:
    row = LIMITS.find(request, pk)
    context = {
        "row": row,
        "around": LIMITS.around(request, LimitFilter, row, SCOPE),
        "own": _own(row),
        "versions": versions.newest(request, LIMITS, row),
        "may_tune": LIMITS.may_tune(request.access, row),
    }
    return render(request, "console/guardrail.html", context)


@act(Right.TUNE)
def add(request: ConsoleRequest) -> HttpResponseBase:
    names = {name: request.GET.get(name, "") for name in SCOPE}
    return tuning.edit(request, LIMITS, initial={name: value for name, value in names.items() if value})


@act(Right.TUNE)
def change(request: ConsoleRequest, pk: int) -> HttpResponseBase:
    return tuning.edit(request, LIMITS, pk)


@act(Right.TUNE)
def delete(request: ConsoleRequest, pk: int) -> HttpResponseBase:
    return versions.delete(request, LIMITS, pk)


@page
def deleted(request: ConsoleRequest) -> HttpResponse:
    return deletions.deleted(request, LIMITS)


@act(Right.TUNE)
def restore(request: ConsoleRequest, change: int) -> HttpResponseBase:
    return deletions.restore(request, LIMITS, change)


@act(Right.TUNE)
def revert(request: ConsoleRequest, pk: int, change: int) -> HttpResponseBase:
    return versions.revert(request, LIMITS, pk, change)
