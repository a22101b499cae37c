"""The page of a failed action says that somebody has opened it who may act on its workload. A GET changes nothing: the
page posts, by a script."""

from uuid import UUID

from django.http import HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import get_object_or_404, redirect
from django.utils import timezone

from smartops import queries
from smartops.console.actions import visible
from smartops.console.acts import person
from smartops.console.attention import is_unseen, see
from smartops.console.pages import ConsoleRequest, act, require
from smartops.people.access import Right


@act(Right.ACT)
def seen(request: ConsoleRequest, pk: UUID) -> HttpResponseBase:
    action = get_object_or_404(queries.actions().filter(visible(request.access)), pk=pk)
    require(request, Right.ACT, action.workload.target)
    if request.method != "POST":
        return redirect("console:action", pk)
    now = timezone.now()
    if is_unseen(action, now):
        see(action, person(request), now)
    return HttpResponse(status=204)
