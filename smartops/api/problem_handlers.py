"""Every refusal under /v1 leaves as `application/problem+json` (RFC 9457): those that the routers raise, those of the
framework, and what nobody expected."""

import logging
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from inspect import iscoroutinefunction
from json import dumps

from django.core.exceptions import RequestDataTooBig
from django.core.serializers.json import DjangoJSONEncoder
from django.db import OperationalError
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.utils.decorators import sync_and_async_middleware
from ninja import NinjaAPI
from ninja.errors import AuthenticationError, HttpError, ValidationError

from smartops.api.problems import Problem, RequestReason, field_name, invalid
from smartops.api.strict_json import Malformed

log = logging.getLogger(__name__)
MEDIA_TYPE = "application/problem+json"
_OF_STATUS = {
    404: (RequestReason.NOT_FOUND, "There is nothing at this address."),
    405: (RequestReason.METHOD_NOT_ALLOWED, "This address does not answer that method."),
    413: (RequestReason.BODY_TOO_LARGE, "The body is too large."),
    503: (
        RequestReason.DATABASE_UNAVAILABLE,
        "The database does not answer. Try again; act again with the same Idempotency-Key.",
    ),
    500: (RequestReason.INTERNAL_ERROR, "Something went wrong on our side. The log of the web process says what."),
}


def respond(problem: Problem) -> HttpResponse:
    body = dumps(problem.document(), cls=DjangoJSONEncoder).encode()
    headers = problem.headers | {"Content-Length": str(len(body))}
    return HttpResponse(body, status=problem.status, content_type=MEDIA_TYPE, headers=headers)


def unauthenticated(detail: str, error: str = "") -> Problem:
    problem = Problem(401, RequestReason.UNAUTHENTICATED, detail)
    problem.headers["WWW-Authenticate"] = 'Bearer realm="smartops"' + (f', error="{error}"' if error else "")
    return problem


def handle_exceptions(api: NinjaAPI) -> None:
    """What ninja's operations raise. Whatever is not listed here is a defect, and Django's to log."""

    @api.exception_handler(Problem)
    def refused(request: HttpRequest, problem: Problem) -> HttpResponse:  # noqa: ARG001
        return respond(problem)

    @api.exception_handler(ValidationError)
    def did_not_validate(request: HttpRequest, error: ValidationError) -> HttpResponse:  # noqa: ARG001
        # A location starts with the source; a body's goes on with the name of the view's argument.
        prefixed = {"body": 2}
        return respond(invalid({**one, "loc": one["loc"][prefixed.get(one["loc"][0], 1) :]} for one in error.errors))

    @api.exception_handler(AuthenticationError)
    def no_token(request: HttpRequest, error: AuthenticationError) -> HttpResponse:  # noqa: ARG001
        return respond(unauthenticated("Send a token: Authorization: Bearer smo_…"))

    @api.exception_handler(HttpError)
    def unreadable(request: HttpRequest, error: HttpError) -> HttpResponse:  # noqa: ARG001
        match error.__cause__:
            case Problem() as problem:
                return respond(problem)
            case Malformed(path=path, message=message):
                errors = [{"field": field_name(path), "message": message}]
                return respond(
                    Problem(400, RequestReason.MALFORMED_BODY, f"{field_name(path)}: {message}", errors=errors)
                )
        return respond(of_status(error.status_code))

    @api.exception_handler(OperationalError)
    def database_away(request: HttpRequest, error: OperationalError) -> HttpResponse:
        log.error("%s %s: %s", request.method, request.path, error)
        return respond(of_status(503))

    @api.exception_handler(RequestDataTooBig)
    def too_big(request: HttpRequest, error: RequestDataTooBig) -> HttpResponse:  # noqa: ARG001
        return respond(of_status(413))


def of_status(status: int) -> Problem:
    reason, detail = _OF_STATUS.get(status, (RequestReason.BAD_REQUEST, f"{HTTPStatus(status).phrase}."))
    return Problem(status, reason, detail)


@sync_and_async_middleware
def problem_details(
    get_response: Callable[[HttpRequest], HttpResponseBase] | Callable[[HttpRequest], Awaitable[HttpResponseBase]],
) -> Callable[[HttpRequest], HttpResponseBase] | Callable[[HttpRequest], Awaitable[HttpResponseBase]]:
    """For what never reaches an operation: unknown addresses, methods, hosts, and errors that were not caught."""
    if iscoroutinefunction(get_response):

        async def asynchronous(request: HttpRequest) -> HttpResponseBase:
            return _as_problem(request, await get_response(request))

        return asynchronous

    def synchronous(request: HttpRequest) -> HttpResponseBase:
        return _as_problem(request, get_response(request))  # type: ignore[arg-type]

    return synchronous


def _as_problem(request: HttpRequest, response: HttpResponseBase) -> HttpResponseBase:
    told = response.status_code < 400 or response.headers.get("Content-Type") == MEDIA_TYPE
    if told or not request.path.startswith("/v1/"):
        return response
    problem = of_status(response.status_code)
    if allow := response.headers.get("Allow"):
        problem.headers["Allow"] = allow
    return respond(problem)
