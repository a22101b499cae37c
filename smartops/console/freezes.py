"""Freeze and Lift, on every page."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any
from urllib.parse import urlencode

from django import forms
from django.conf import settings
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import get_object_or_404, render
from django.urls import reverse
from django.utils.functional import SimpleLazyObject
from django.utils.html import format_html
from django.utils.timezone import now

from guardrails.models import Freeze
from guardrails.words import counted
from orchestrator.acts import Outcome
from orchestrator.acts import freezes as acts
from orchestrator.acts.freezes import ENDS, Effect, FreezeScope
from orchestrator.models import ObservedWorkload, Workload
from orchestrator.what_if.draft import edit_of
from signals.reasons import Reason
from signals.types import Kind, Origin
from smartops.console.acts import Confirmation, ReasonedForm, person, posted, respond, way_back
from smartops.console.pages import ConsoleRequest, act, page
from smartops.console.places import places
from smartops.console.previews import WINDOWS, begun
from smartops.people.access import Access, Right

SHOWN = 20  # rows of an effect
NAMED = 3  # freezes in the line of every page
SUGGESTED = 500
SCOPE = ("cluster", "kind", "namespace", "workload")
# Of a field of the scope: a change fetches what a freeze of it would hold.
FOLLOWED = {
    "hx-include": ", ".join(f"#act [name={name}], main .act [name={name}]" for name in SCOPE),
    "hx-trigger": "change",
    "hx-target": "#held",
    "hx-swap": "innerHTML",
}


class FreezeForm(ReasonedForm):
    """Its choices are what exists, where the person may freeze. A parameter `typed` has the name of a scope that is
    wide: the part of the form that follows the scope asks for it."""

    cluster = forms.ChoiceField(required=False)
    kind = forms.ChoiceField(required=False, choices=[("", "All kinds"), *((one.value, one.value) for one in Kind)])
    namespace = forms.CharField(required=False, max_length=63, help_text="Empty: all namespaces.")
    workload = forms.CharField(required=False, max_length=253, help_text="Empty: all workloads of the namespace.")
    lasts = forms.ChoiceField(
        label="For how long?",
        choices=[(name, words.capitalize()) for name, (words, _) in ENDS.items()],
        widget=forms.RadioSelect,
    )

    def __init__(self, data: Any, access: Access, **more: Any) -> None:
        super().__init__(data, **more)
        self.access = access
        wide = [("", "All clusters")] if access.may(Right.ACT) or _any_cluster(access) else []
        self.fields["cluster"].choices = [*wide, *((name, name) for name in _clusters(access))]  # type: ignore[attr-defined]
        for name in ("namespace", "workload"):
            self.fields[name].widget.attrs |= {"list": f"{name}s", "autocomplete": "off"}
        for name in SCOPE:
            self.fields[name].widget.attrs |= FOLLOWED | {"hx-get": reverse("console:held")}
        self.fields["reason"].max_length = acts.MAX_REASON  # type: ignore[attr-defined]

    @property
    def scope(self) -> FreezeScope:
        """As it was entered: only a form without errors has one that exists."""
        return FreezeScope(**{name: self._prefilled(name).strip() for name in SCOPE})

    @property
    def typed(self) -> str:
        return self._prefilled("typed")

    @property
    def namespaces(self) -> list[str]:
        of_cluster = self._prefilled("cluster")
        known = places(ObservedWorkload, self.access, Right.ACT)
        return sorted({namespace for cluster, namespace in known if of_cluster in ("", cluster)})[:SUGGESTED]

    @property
    def workloads(self) -> list[str]:
        names = {name: self._prefilled(name) for name in ("cluster", "kind", "namespace")}
        rows = _known(self.access).filter(**_named(**names))
        return list(rows.order_by("name").values_list("name", flat=True).distinct()[:SUGGESTED])

    def clean(self) -> dict[str, Any]:
        given: dict[str, Any] = super().clean() or {}
        scope = FreezeScope(**{name: given.get(name, "") for name in SCOPE})
        if not self.access.may(Right.ACT, scope.cluster, scope.namespace):
            raise PermissionDenied(f"Your account has no right to freeze {scope.name}.")
        if scope.workload and not scope.namespace:
            self.add_error("namespace", "A workload is named within its namespace.")
        elif scope.namespace and not _exists(scope):
            self.add_error("workload" if scope.workload else "namespace", f"There is no {scope.name}.")
        if scope.is_wide and self.data.get("typed", "").strip() != scope.name:
            self.add_error(None, f"This freeze covers more than one namespace. Type “{scope.name}” to confirm it.")
        return given

    def errors_of_scope_only(self) -> None:
        for name in self.errors.keys() - set(SCOPE):
            del self.errors[name]

    def _prefilled(self, name: str) -> str:
        source = self.data if self.is_bound else self.initial
        return str(source.get(name) or "").replace("\0", "")  # a form that has one is refused, and shown again


@act(Right.ACT)
def freeze(request: ConsoleRequest) -> HttpResponseBase:
    def perform(given: dict[str, Any]) -> Outcome:
        return acts.freeze(form.scope, ENDS[given["lasts"]][1], person(request), given["reason"])

    initial = {name: request.GET.get(name, "") for name in SCOPE}
    form = FreezeForm(posted(request), request.access, initial=initial)
    asked = Confirmation(
        "Freeze",
        "Freeze",
        "No action starts in this scope until the freeze ends. Signals and waiting actions of the closed loop wait. "
        "Direct actions are refused. A change that is being written now goes on, and is verified.",
        back=way_back(request, reverse("console:overview")),
        danger=True,
        details="console/freeze_scope.html",
        windows=WINDOWS,
    )
    context: dict[str, Any] = {"held": _held(request, form.scope), "scope": form.scope}
    if window := request.POST.get("window"):
        return _preview(request, form, window, {"confirmation": asked, **context})
    return respond(request, form, asked, perform, **context)


def _preview(request: ConsoleRequest, form: FreezeForm, window: str, context: dict[str, Any]) -> HttpResponse:
    """The form as it was entered, with the preview of a freeze of its scope. It takes no other field, and changes
    nothing."""
    form.is_valid()
    form.errors_of_scope_only()
    if not form.errors:
        lasts = ENDS.get(form.data.get("lasts", ""), ("", None))[1]
        until = None if lasts is None else now() + lasts
        draft = Freeze(**asdict(form.scope), by=person(request), reason="This freeze.", until=until)
        context |= begun(request, [edit_of(None, draft)], window)
    status = 422 if form.errors else 200
    return render(request, "console/act.html", context | {"form": form}, status=status)


@page
def held(request: ConsoleRequest) -> HttpResponse:
    """The part of the form that follows the scope: what a freeze would hold, and what is to be typed."""
    form = FreezeForm(None, request.access, initial={name: request.GET.get(name, "") for name in SCOPE})
    context = {"held": _held(request, form.scope), "scope": form.scope, "form": form}
    return render(request, "console/freeze_held.html", context)


@act(Right.ACT)
def lift(request: ConsoleRequest, pk: int) -> HttpResponseBase:
    row = get_object_or_404(Freeze.objects.filter(request.access.affecting()), pk=pk)
    if not request.access.may(Right.ACT, row.cluster, row.namespace):
        raise PermissionDenied(f"Your account has no right to lift the freeze of {row.scope}.")

    def perform(given: dict[str, Any]) -> Outcome:
        return acts.lift(pk, person(request), given["reason"])

    links = {
        "signals": _list("signals", state="pending", reason=Reason.FROZEN, freeze=pk),
        "waiting": _list("actions", state="pending", freeze=pk),
    }
    starts = _Counted(acts.would_start(row), request.access, links)
    asked = Confirmation(
        "Lift",
        f"Lift the freeze of {row.scope}",
        starts.sentence,
        back=way_back(request, reverse("console:overview")),
        targets=[row.scope],
        details="console/lift.html",
    )
    form = ReasonedForm(posted(request))
    form.fields["reason"].max_length = acts.MAX_REASON  # type: ignore[attr-defined]
    return respond(request, form, asked, perform, freeze=row, starts=starts)


class _Counted:
    """The rows of an effect that the person may see, with their numbers. `links`: the lists that have them."""

    def __init__(self, effect: Effect, access: Access, links: Mapping[str, str]) -> None:
        of_action = access.visible(cluster="cluster", namespace="workload__namespace")
        self.signals = effect.signals.filter(access.visible()).defer("payload")
        self.waiting = effect.waiting.filter(of_action).select_related("workload")
        self.direct = effect.direct.filter(of_action).select_related("workload")
        self.count = {name: getattr(self, name).count() for name in ("signals", "waiting", "direct")}
        self.links = links

    @property
    def rows(self) -> list[Any]:
        found = [*self.waiting[:SHOWN], *self.direct[:SHOWN], *self.signals[:SHOWN]]
        return found[:SHOWN]

    @property
    def more(self) -> int:
        total: int = sum(self.count.values())
        return total - len(self.rows)

    @property
    def sentence(self) -> str:
        signals, waiting = self.count["signals"], self.count["waiting"]
        if not signals and not waiting:
            return "Nothing waits for this freeze alone."
        return format_html(
            '<a href="{}" target="_blank">{}</a> and <a href="{}" target="_blank">{}</a> are decided on at once. '
            "Another guardrail may still refuse them.",
            self.links["signals"],
            counted(signals, "signal"),
            self.links["waiting"],
            counted(waiting, "action"),
        )


def everywhere(request: HttpRequest) -> dict[str, Any]:
    """A context processor: the freezes in force, and the address of the form with the scope of the page."""
    access: Access = getattr(request, "access", Access())
    freeze_here = _freeze_here(request) if access.has(Right.ACT) else ""
    rows = getattr(request, "freezes", ())
    return in_force(access, request.get_full_path(), rows) | {"freeze_here": freeze_here}


def in_force(access: Access, address: str, rows: Sequence[Freeze]) -> dict[str, Any]:
    """What console/freezes.html shows on the page of this address: the same to everybody with this access."""
    return {
        "freezes_in_force": SimpleLazyObject(lambda: _in_force(access, rows)),
        "back_here": f"?{urlencode({'back': address})}",
    }


def _in_force(access: Access, rows: Sequence[Freeze]) -> dict[str, Any]:
    for row in rows:
        row.liftable = access.may(Right.ACT, row.cluster, row.namespace)  # type: ignore[attr-defined]
    return {"first": rows[:NAMED], "more": rows[NAMED:]}


def _freeze_here(request: HttpRequest) -> str:
    """A page of a workload freezes that workload, a list with a filter the namespace that it shows."""
    match = request.resolver_match
    where = {name: str(match.kwargs[name]) for name in SCOPE if match and name in match.kwargs}
    if match and "name" in match.kwargs and where:
        where["workload"] = match.kwargs["name"]
    where = where or {name: request.GET[name] for name in ("cluster", "namespace") if request.GET.get(name)}
    return f"{reverse('console:freeze')}?{urlencode({**where, 'back': request.get_full_path()})}"


def _held(request: ConsoleRequest, scope: FreezeScope) -> _Counted:
    names = {"name" if name == "workload" else name: value for name, value in asdict(scope).items()}
    links = {
        "signals": _list("signals", state="named", **names),
        "waiting": _list("actions", state="waiting", origin=Origin.CLOSED_LOOP, **names),
        "direct": _list("actions", state="waiting", origin=Origin.DIRECT, **names),
    }
    return _Counted(acts.would_hold(scope), request.access, links)


def _list(screen: str, **query: Any) -> str:
    return f"{reverse(f'console:{screen}')}?{urlencode({name: value for name, value in query.items() if value})}"


def _known(access: Access) -> Any:
    return ObservedWorkload.objects.filter(access.where(Right.ACT))


def _clusters(access: Access) -> list[str]:
    known = [*places(ObservedWorkload, access, Right.ACT), *places(Workload, access, Right.ACT)]
    return sorted({cluster for cluster, _ in known} | {settings.SMARTOPS_CLUSTER})


def _any_cluster(access: Access) -> bool:
    return any(not place.cluster for place in access.places.get(Right.ACT, ()))


def _named(**columns: str) -> dict[str, str]:
    return {name: value for name, value in columns.items() if value}


def _exists(scope: FreezeScope) -> bool:
    """Among the workloads of the snapshot, or those that were decided about. Without a snapshot, every name counts."""
    names = asdict(scope)
    wanted = _named(**{("name" if name == "workload" else name): value for name, value in names.items()})
    if ObservedWorkload.objects.filter(**wanted).exists() or Workload.objects.filter(**wanted).exists():
        return True
    return not ObservedWorkload.objects.exists()
