"""The form behind each button: what it will do to which objects, why the person does it, and the answer.

An act is a function below the console that checks everything again and changes rows. It raises ValidationError to
refuse; its `code` may be a Reason. CONTRIBUTING.md, "Add an act", has an example.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Any

from django import forms
from django.contrib import messages
from django.core.exceptions import ValidationError
from django.db import transaction
from django.http import HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.http import url_has_allowed_host_and_scheme

from orchestrator.acts import Done, NotDone, Outcome
from signals import actors
from signals.actors import Actor
from signals.lib.acting import give_reason
from smartops.console.pages import ConsoleRequest

MAX_REASON = 1000  # characters


class ActForm(forms.Form):
    """Fields of the act come before the reason. No choice has an initial value: the person decides."""

    reason_required = False
    reason = forms.CharField(
        max_length=MAX_REASON, required=False, widget=forms.Textarea(attrs={"rows": 3}), label="Reason"
    )

    def __init__(self, data: Any = None, **more: Any) -> None:
        super().__init__(data, label_suffix="", **more)
        self.fields["reason"].required = self.reason_required
        self.order_fields([*(name for name in self.fields if name != "reason"), "reason"])


class ReasonedForm(ActForm):
    """For acts that need a reason: reject, freeze, settle, and loosening a limit."""

    reason_required = True


@dataclass(frozen=True, slots=True)
class Confirmation:
    """What a person reads before the act. `button`: the text of the button, and the name of the act. `targets`: the
    objects, resolved. `back`: where the answer leads, and the way out. `details`: a template for more, within the
    form. `danger`: the button is red. `windows`: the form has a button for a preview of them, which is optional."""

    button: str
    title: str
    consequence: str
    back: str
    targets: Sequence[Any] = ()
    danger: bool = False
    details: str = ""
    windows: Mapping[str, Any] = field(default_factory=dict)


def person(request: ConsoleRequest) -> Actor:
    """Under whose name an act is done."""
    return actors.user(request.user.get_username())


def way_back(request: ConsoleRequest, otherwise: str) -> str:
    """The page of the console from which a person came to the act."""
    back = request.GET.get("back", "")
    own = url_has_allowed_host_and_scheme(back, allowed_hosts=None) and back.startswith(reverse("console:overview"))
    return back if own and back.isprintable() else otherwise


def posted(request: ConsoleRequest) -> Any:
    """The data of a form; None for a GET. A post may have no field but the token against forgery."""
    return request.POST if request.method == "POST" else None


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """It is done, and the answer leads to another page than the way out."""

    message: str
    to: str


def respond(
    request: ConsoleRequest,
    form: forms.Form,
    confirmation: Confirmation,
    perform: Callable[[dict[str, Any]], "str | Outcome | Elsewhere | HttpResponse"],
    *,
    own_transaction: bool = False,
    **context: Any,
) -> HttpResponseBase:
    """GET: the form. POST: `perform(cleaned_data)` in one transaction, with the reason for the history. It returns the
    message of success, an outcome of orchestrator/acts, or the page that answers, if that has something which is shown
    once. A refusal, also a ValidationError, is the form again, with the reason, in 422. `own_transaction`: it has one
    itself, because it asks the network before, or because the record of a refusal stays."""
    if request.method == "POST" and form.is_valid():
        give_reason(form.cleaned_data.get("reason", ""))
        try:
            with nullcontext() if own_transaction else transaction.atomic():
                found = perform(form.cleaned_data)
        except ValidationError as error:
            form.add_error(None, error)
        else:
            match found:
                case NotDone(message=message):
                    form.add_error(None, message)
                case HttpResponse():
                    return found
                case Elsewhere(message=message, to=to):
                    messages.success(request, message)
                    return _leave(request, to)
                case Done(message=message) | str(message):
                    messages.success(request, message)
                    return _leave(request, confirmation.back)
    context |= {"form": form, "confirmation": confirmation}
    return render(request, "console/act.html", context, status=422 if form.errors else 200)


def _leave(request: ConsoleRequest, to: str) -> HttpResponseBase:
    """A request of htmx would put the page behind a redirect into the dialog. It gets the address in a header."""
    if "HX-Request" in request.headers:
        return HttpResponse(status=204, headers={"HX-Redirect": to})
    return redirect(to)
