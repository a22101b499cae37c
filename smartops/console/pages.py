"""What all pages of the console have in common: who may read them, and the cluster in their header."""

from collections.abc import Callable
from functools import wraps
from typing import Any

from csp.decorators import csp_update
from django.conf import settings
from django.contrib.auth.views import redirect_to_login
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.views.decorators.http import require_safe

from smartops.console.access import may_read

View = Callable[..., HttpResponseBase]


def reader(view: View) -> View:
    """A page for those who may read. Others are sent to the sign-in page, which says that the account lacks a role. A
    page that refreshes itself (htmx) cannot follow a redirect; it gets the address in a header."""

    @require_safe
    @csp_update({"require-trusted-types-for": ["'script'"], "trusted-types": ["smartops"]})
    @wraps(view)
    def page(request: HttpRequest, **where: Any) -> HttpResponseBase:
        if may_read(request.user):
            return view(request, **where)
        login = redirect_to_login(request.get_full_path())
        if "HX-Request" in request.headers:
            return HttpResponse(status=401, headers={"HX-Redirect": login.url})
        return login

    return page


def cluster(request: HttpRequest) -> dict[str, Any]:  # noqa: ARG001 - the signature of a context processor
    return {"cluster": settings.SMARTOPS_CLUSTER, "cluster_note": settings.SMARTOPS_CLUSTER_NOTE}
