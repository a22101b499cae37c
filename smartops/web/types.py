"""Types of the middlewares. They are async only: daphne, an ASGI server, is the only one that runs them."""

from collections.abc import Awaitable, Callable

from django.http import HttpRequest
from django.http.response import HttpResponseBase

GetResponse = Callable[[HttpRequest], Awaitable[HttpResponseBase]]
