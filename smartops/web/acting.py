"""The person behind a request of admin or console, for the history of settings (signals/lib/acting.py)."""

from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.utils.decorators import async_only_middleware

from signals import actors
from signals.lib.acting import Acting, current
from smartops.web.peers import peer_of
from smartops.web.types import GetResponse


@async_only_middleware
def acting_person(get_response: GetResponse) -> GetResponse:
    async def middleware(request: HttpRequest) -> HttpResponseBase:
        def name() -> str:
            return actors.user(request.user.get_username()) if request.user.is_authenticated else ""

        token = current.set(Acting(name, peer_of(request)))
        try:
            return await get_response(request)
        finally:
            current.reset(token)

    return middleware
