"""`manage.py export_openapi > docs/openapi.json`, after each change of the API."""

import json
from typing import Any

from django.core.management.base import BaseCommand

from smartops.api.root import api


def openapi() -> str:
    return json.dumps(api.get_openapi_schema(), indent=2) + "\n"


class Command(BaseCommand):
    help = "Print the OpenAPI document of the API v1."

    def handle(self, *args: Any, **options: Any) -> None:  # noqa: ARG002
        self.stdout.write(openapi(), ending="")
