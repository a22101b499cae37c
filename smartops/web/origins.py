"""Which web pages may open a websocket: those that may post forms."""

from typing import Any

from channels.security.websocket import WebsocketDenier
from django.http import HttpRequest, HttpResponse
from django.middleware.csrf import CsrfViewMiddleware

from smartops.web import access_log
from smartops.web.peers import peer_of_socket


class TrustedOrigins:
    """Compares the header Origin as Django does it for forms, with scheme and port: with the host of the request, if it
    is in ALLOWED_HOSTS, and with CSRF_TRUSTED_ORIGINS. A proxy may send another host than its client did."""

    def __init__(self, application: Any) -> None:
        self._application: Any = application
        self._denier: Any = WebsocketDenier.as_asgi()
        self._csrf = CsrfViewMiddleware(lambda _: HttpResponse())

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        request = HttpRequest()
        request.META["SERVER_NAME"], request.META["SERVER_PORT"] = scope.get("server") or ("", 0)
        for name, value in scope["headers"]:
            request.META[f"HTTP_{name.decode('latin-1').upper().replace('-', '_')}"] = value.decode("latin-1")
        trusted = "HTTP_ORIGIN" in request.META and self._csrf._origin_verified(request)  # type: ignore[attr-defined]
        if not trusted:
            origin = request.META.get("HTTP_ORIGIN", "")
            access_log.record(
                "websocket refused",
                reason=f"the origin {origin!r} is not trusted"[: access_log.MAX_PATH],
                path=f"WEBSOCKET {scope['path']}",
                peer=peer_of_socket(scope),
            )
        await (self._application if trusted else self._denier)(scope, receive, send)
