"""The ASGI application that daphne serves: HTTP by Django, and the console's websocket for authenticated users."""

import gc
import os

import django

from signals.lib import tracing

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "smartops.settings")
if tracing.start("web"):  # before the handler reads MIDDLEWARE
    from smartops.web.tracing import Instrumentor, without_query

    Instrumentor().instrument(request_hook=without_query)
django.setup(set_prefix=False)  # loads the apps: what follows imports models

from smartops.checks import require_valid_settings  # noqa: E402

require_valid_settings()

from channels.auth import AuthMiddlewareStack  # noqa: E402
from channels.routing import ProtocolTypeRouter, URLRouter  # noqa: E402
from channels.security.websocket import AllowedHostsOriginValidator  # noqa: E402
from django.urls import path  # noqa: E402

from smartops.console.consumers import ChangesConsumer  # noqa: E402
from smartops.web.handler import Handler  # noqa: E402

websocket = URLRouter([path("console/changes", ChangesConsumer.as_asgi())])  # type: ignore[arg-type, list-item]
application = ProtocolTypeRouter(
    {"http": Handler(), "websocket": AllowedHostsOriginValidator(AuthMiddlewareStack(websocket))}
)
gc.freeze()  # the modules stay: the garbage collector need not scan them during each large batch
