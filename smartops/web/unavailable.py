"""The answer to a request that the database refuses to serve: 503 with Retry-After."""

import sys

from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.views import defaults

from signals.lib.availability import is_repeatable

RETRY_AFTER = 5  # seconds


def server_error(request: HttpRequest) -> HttpResponseBase:
    """Django's `handler500`, which it calls while it handles the exception. `problem_handlers` answers for the API."""
    error = sys.exc_info()[1]
    if error is None or not is_repeatable(error):
        return defaults.server_error(request)
    text = f"The database of SmartOps is unavailable, or read-only. Try again in {RETRY_AFTER} seconds.\n"
    headers = {"Retry-After": str(RETRY_AFTER)}
    return HttpResponse(text, status=503, content_type="text/plain; charset=utf-8", headers=headers)
