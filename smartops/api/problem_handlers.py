"""Every error response under /v1 is `application/problem+json` (RFC 9457): errors that the routers raise, errors of the
framework, and unexpected exceptions."""

from http import HTTPStatus
from json import dumps

from django.core.exceptions import RequestDataTooBig
from django.core.serializers.json import DjangoJSONEncoder
from django.db import Error
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.utils.decorators import async_only_middleware
from django.utils.log import log_response
from ninja import NinjaAPI
from ninja.errors import AuthenticationError, HttpError, ValidationError

from signals.lib.availability import describe, is_repeatable
from smartops.api.problems import ProblemDetails, RequestReason, invalid, malformed, unauthenticated
from smartops.strict_json import Malformed
from smartops.web.bodies import API, REFUSAL, Refusal
from smartops.web.types import GetResponse
from smartops.web.unavailable import RETRY_AFTER

MEDIA_TYPE = "application/problem+json"
_OF_STATUS = {
    404: (RequestReason.NOT_FOUND, "Unknown path."),
    405: (RequestReason.METHOD_NOT_ALLOWED, "The path does not support this method."),
    413: (RequestReason.BODY_TOO_LARGE, "The request body is too large."),
    503: (
        RequestReason.DATABASE_UNAVAILABLE,
        "The database is unavailable. Repeat the request; repeat an action with the same Idempotency-Key.",
    ),
    500: (RequestReason.INTERNAL_ERROR, "Internal error. The log of the web process has the traceback."),
}


def respond(problem: ProblemDetails) -> HttpResponse:
    body = dumps(problem.document(), cls=DjangoJSONEncoder).encode()
    headers = problem.headers | {"Content-Length": str(len(body))}
    response = HttpResponse(body, status=problem.status, content_type=MEDIA_TYPE, headers=headers)
    response.refusal = problem.reason  # type: ignore[attr-defined]  # for the access log
    return response


def handle_exceptions(api: NinjaAPI) -> None:
    """Handlers for what operations raise. Django logs every other exception and answers 500."""

    @api.exception_handler(ProblemDetails)
    def problem_raised(request: HttpRequest, problem: ProblemDetails) -> HttpResponse:  # noqa: ARG001
        return respond(problem)

    @api.exception_handler(ValidationError)
    def validation_failed(request: HttpRequest, error: ValidationError) -> HttpResponse:  # noqa: ARG001
        # A location starts with its source; the location of a body continues with the name of the view's argument.
        prefixed = {"body": 2}
        return respond(invalid({**one, "loc": one["loc"][prefixed.get(one["loc"][0], 1) :]} for one in error.errors))

    @api.exception_handler(AuthenticationError)
    def token_missing(request: HttpRequest, error: AuthenticationError) -> HttpResponse:  # noqa: ARG001
        return respond(unauthenticated("A token is required: Authorization: Bearer smo_…"))

    @api.exception_handler(HttpError)
    def body_not_parsed(request: HttpRequest, error: HttpError) -> HttpResponse:  # noqa: ARG001
        match error.__cause__:
            case ProblemDetails() as problem:
                return respond(problem)
            case Malformed() as cause:
                return respond(malformed(cause))
        return respond(of_status(error.status_code))

    @api.exception_handler(Error)
    def database_failed(request: HttpRequest, error: Error) -> HttpResponse:
        if not is_repeatable(error):
            raise error
        response = respond(of_status(503))
        log_response("%s: %s", request.path, describe(error), request=request, response=response)
        return response

    @api.exception_handler(RequestDataTooBig)
    def body_too_large(request: HttpRequest, error: RequestDataTooBig) -> HttpResponse:  # noqa: ARG001
        return respond(of_status(413))


def of_status(status: int) -> ProblemDetails:
    reason, detail = _OF_STATUS.get(status, (RequestReason.BAD_REQUEST, f"{HTTPStatus(status).phrase}."))
    problem = ProblemDetails(status, reason, detail)
    if reason == RequestReason.DATABASE_UNAVAILABLE:
        problem.headers["Retry-After"] = str(RETRY_AFTER)
    return problem


@async_only_middleware
def problem_details(get_response: GetResponse) -> GetResponse:
    """For responses that no operation makes: bodies that were not read, unknown paths, methods and hosts, and uncaught
    exceptions."""

    async def middleware(request: HttpRequest) -> HttpResponseBase:
        if refusal := getattr(request, "scope", {}).get(REFUSAL):
            return respond(_body_refused(refusal))
        return _as_problem(request, await get_response(request))

    return middleware


def _body_refused(refusal: Refusal) -> ProblemDetails:
    details = {"limit": refusal.limit}
    if refusal.status == 413:
        detail = f"The request body has more than {refusal.limit} bytes."
        return ProblemDetails(413, RequestReason.BODY_TOO_LARGE, detail, details=details)
    problem = ProblemDetails(
        503,
        RequestReason.OVERLOADED,
        "The web process holds too many request bodies. Repeat the request later.",
        details=details,
    )
    problem.headers["Retry-After"] = "1"
    return problem


def _as_problem(request: HttpRequest, response: HttpResponseBase) -> HttpResponseBase:
    is_problem = response.headers.get("Content-Type") == MEDIA_TYPE
    if response.status_code < 400 or is_problem or not request.path_info.startswith(API):
        return response
    problem = of_status(response.status_code)
    if allow := response.headers.get("Allow"):
        problem.headers["Allow"] = allow
    return respond(problem)
