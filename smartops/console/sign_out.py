"""The act that ends all sessions of the own account."""

from typing import Any

from django import forms
from django.http.response import HttpResponseBase
from django.urls import reverse

from smartops.console.acts import Confirmation, Elsewhere, posted, respond, way_back
from smartops.console.pages import ConsoleRequest, own
from smartops.web.sign_ins import signed_out_everywhere


@own
def sign_out_everywhere(request: ConsoleRequest) -> HttpResponseBase:
    asked = Confirmation(
        "Sign out everywhere",
        "Sign out everywhere",
        "All sessions of your account end, this one, too. Pages that are open elsewhere close within 30 seconds.",
        way_back(request, reverse("console:overview")),
    )

    def perform(_: dict[str, Any]) -> Elsewhere:
        signed_out_everywhere(request, request.user)
        request.session.flush()
        return Elsewhere("All sessions of your account have ended.", reverse("admin:login"))

    return respond(request, forms.Form(posted(request)), asked, perform)
