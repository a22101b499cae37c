"""The ASGI application of `manage.py serve`: HTTP by Django, and the console's websocket for authenticated users."""

import gc
import os
from typing import Any

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
from channels.security.websocket import WebsocketDenier  # noqa: E402
from django.urls import path, re_path  # noqa: E402

from smartops.console.consumers import ChangesConsumer  # noqa: E402
from smartops.web.handler import Handler  # noqa: E402
from smartops.web.origins import TrustedOrigins  # noqa: E402

changes: Any = TrustedOrigins(AuthMiddlewareStack(ChangesConsumer.as_asgi()))
denier: Any = WebsocketDenier.as_asgi()
websocket = URLRouter([path("console/changes", changes), re_path("", denier)])
application = ProtocolTypeRouter({"http": Handler(), "websocket": websocket})
gc.freeze()  # the modules stay: the garbage collector need not scan them during each large batch
