"""The least that could accept an anomaly: a ninja view and one INSERT, without tokens, middleware or deduplication.

Served by daphne, with the connection pool of the product: `daphne benchmarks.bare:application`.
"""

import json
from typing import Any

from django.conf import settings

from smartops.settings import ALLOWED_HOSTS, DATABASES, SECRET_KEY

settings.configure(ALLOWED_HOSTS=ALLOWED_HOSTS, DATABASES=DATABASES, ROOT_URLCONF=__name__, SECRET_KEY=SECRET_KEY)

from django.core.asgi import get_asgi_application  # noqa: E402
from django.db import connection  # noqa: E402
from django.http import HttpRequest  # noqa: E402
from django.urls import path  # noqa: E402
from ninja import NinjaAPI, Schema  # noqa: E402

api = NinjaAPI()


class Anomaly(Schema):
    windowId: str  # noqa: N815 - as agents write it
    service: str
    isAnomaly: bool  # noqa: N815
    score: float
    type: str
    metadata: dict[str, Any]


@api.post("/anomaly")
def post_anomaly(request: HttpRequest, anomaly: Anomaly) -> dict[str, bool]:  # noqa: ARG001
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO bare (window_id, service, is_anomaly, score, type, metadata) VALUES (%s, %s, %s, %s, %s, %s)",
            [*anomaly.dict(exclude={"metadata"}).values(), json.dumps(anomaly.metadata)],
        )
    return {"stored": True}


urlpatterns = [path("", api.urls)]
application = get_asgi_application()
