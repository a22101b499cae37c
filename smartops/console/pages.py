"""What all pages of the console have in common: who may open them, and what they say to others.

CONTRIBUTING.md, "Add a screen to the console", describes how these parts are used.
"""

from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any

from csp.decorators import csp_update
from django.conf import settings
from django.contrib.auth.views import redirect_to_login
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import render
from django.utils.functional import SimpleLazyObject
from django.views.decorators.http import require_http_methods, require_safe

from guardrails.models import Freeze
from signals.types import Target
from smartops.console.freshness import Freshness, freshness, visible_to
from smartops.console.navigation import shown_to
from smartops.people.access import Access, Right, access_of

DIALOG = "dialog#act"  # the target of a request that the page's dialog makes, as htmx writes it


class ConsoleRequest(HttpRequest):
    """`access`: what the person may see and do. Filter each query with `access.visible(...)`. `freshness`: the time of
    the page, and every reconciler. `freezes`: those in force that affect what the person may see, newest first. Both
    are read at their first use, in two queries and one."""

    access: Access
    freshness: Freshness
    freezes: Sequence[Freeze]


View = Callable[..., HttpResponseBase]


def page(view: View) -> View:
    """A page for everybody who may read something. It answers GET and HEAD."""
    return require_safe(_for(Right.READ, view))


def act(right: Right) -> Callable[[View], View]:
    """Something that a person does: GET shows the form, POST does it (smartops/console/acts.py). `right`: what the
    person must have somewhere. The view checks it for the object with `require`."""

    def decorate(view: View) -> View:
        return require_http_methods(["GET", "HEAD", "POST"])(_for(right, view))

    return decorate


def own(view: View) -> View:
    """A form about the own account, for everybody who is signed in."""
    return require_http_methods(["GET", "HEAD", "POST"])(_for(None, view))


def personal(view: View) -> View:
    """A form about the own account, which the view gets as well, for everybody who is signed in and has a password."""

    @wraps(view)
    def of_account(request: ConsoleRequest, **which: Any) -> HttpResponseBase:
        if request.user.is_anonymous or not request.user.has_usable_password():
            raise Http404  # it signs in by a provider
        return view(request, request.user, **which)

    return own(of_account)


def require(request: ConsoleRequest, right: Right, target: Target) -> None:
    """Raises PermissionDenied: the answer is the page 403."""
    if not request.access.may_change(right, target):
        raise PermissionDenied(f"Your account has no right to {right} in {target.namespace} of {target.cluster}.")


def freezes_in_force(access: Access) -> list[Freeze]:
    return list(Freeze.in_force().filter(access.affecting()).order_by("-pk"))


def in_dialog(request: HttpRequest) -> bool:
    return request.headers.get("HX-Target") == DIALOG


def _for(right: Right | None, view: View) -> View:
    @csp_update({"require-trusted-types-for": ["'script'"], "trusted-types": ["smartops"]})
    @wraps(view)
    def wrapped(request: Any, **where: Any) -> HttpResponseBase:
        if not request.user.is_authenticated:
            return _signed_out(request)
        request.access, request.freshness = access_of(request.user), SimpleLazyObject(freshness)
        request.freezes = SimpleLazyObject(lambda: freezes_in_force(request.access))
        try:
            if right is not None and not request.access.has(right):
                raise PermissionDenied(f"Your account has no right to {right} anywhere.")
            return view(request, **where)
        except PermissionDenied as error:
            return _refused(request, str(error), 403)
        except Http404:
            # The same for what does not exist and for what this person may not see.
            return _refused(request, "There is nothing here, or your account may not see it.", 404)

    checked: View = wrapped
    return checked


def _signed_out(request: HttpRequest) -> HttpResponseBase:
    """To the sign-in page. A request of htmx cannot follow a redirect to it; it gets the address in a header."""
    login = redirect_to_login(request.get_full_path())
    if "HX-Request" in request.headers:
        return HttpResponse(status=401, headers={"HX-Redirect": login.url})
    return login


def _refused(request: ConsoleRequest, message: str, status: int) -> HttpResponseBase:
    if "HX-Request" in request.headers and not in_dialog(request):
        # The page refreshes itself. It must not go on to show what its reader may not see any more.
        return HttpResponse(status=status, headers={"HX-Redirect": request.get_full_path()})
    return render(request, "console/refused.html", {"message": message, "status": status}, status=status)


def frame(request: HttpRequest) -> dict[str, Any]:
    """A context processor: what the frame of every page shows."""
    access: Access = getattr(request, "access", Access())
    now: Any = getattr(request, "freshness", SimpleLazyObject(freshness))
    return {
        "cluster": settings.SMARTOPS_CLUSTER,
        "cluster_note": settings.SMARTOPS_CLUSTER_NOTE,
        "screens": list(shown_to(access, request.path)),
        "frame": "console/dialog.html" if in_dialog(request) else "console/base.html",
        "freshness": SimpleLazyObject(lambda: visible_to(access, now)),
    }
