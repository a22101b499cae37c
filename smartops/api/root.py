"""The API v1 as a whole: its routers, who may call them, what a body may be, and how it is described."""

from typing import Any

from django.http import HttpRequest
from ninja import NinjaAPI
from ninja.openapi.schema import OpenAPISchema
from ninja.operation import Operation
from ninja.parser import Parser
from ninja.security import HttpBearer
from pydantic import BaseModel, ConfigDict

from smartops import tokens
from smartops.api import actions, problem_handlers, reads, strict_json
from smartops.api.problems import Problem, RequestReason
from smartops.api.signals import router as signals
from smartops.tokens import Bearer, Scope
from smartops.web.notifications import follow

MEBIBYTE = 1024 * 1024
MAX_BODY, MAX_BODIES = MEBIBYTE, {"/v1/signals/batch": 4 * MEBIBYTE}


class BearerToken(HttpBearer):
    openapi_description = (
        "A token of `manage.py create_token`. Reading needs the scope `read`, reporting signals `signals:write`, "
        "acting `actions:write`. A token may be bound to namespaces."
    )

    def __init__(self, write: Scope) -> None:
        super().__init__()
        self._write = write

    def authenticate(self, request: HttpRequest, token: str) -> Bearer:
        bearer = tokens.verify(token)
        if bearer is None:
            detail = "This token is not valid: mistyped, unknown, expired or revoked."
            raise problem_handlers.unauthenticated(detail, "invalid_token")
        needed = Scope.READ if request.method == "GET" else self._write
        if needed not in bearer.scopes:
            details = {"needed": needed, "scopes": sorted(bearer.scopes)}
            raise Problem(
                403, RequestReason.SCOPE_MISSING, f"“{bearer.name}” lacks the scope {needed}.", details=details
            )
        return bearer


class JsonBody(Parser):
    def parse_body(self, request: HttpRequest) -> dict[str, Any]:
        if request.content_type != "application/json":
            detail = f"Content-Type must be application/json, not “{request.content_type}”."
            raise Problem(415, RequestReason.UNSUPPORTED_MEDIA_TYPE, detail)
        value, limit = len(request.body), MAX_BODIES.get(request.path, MAX_BODY)
        if value > limit:
            details = {"value": value, "limit": limit}
            raise Problem(413, RequestReason.BODY_TOO_LARGE, f"The body has more than {limit} bytes.", details=details)
        return strict_json.loads(request.body)


class ProblemDocument(BaseModel):
    """RFC 9457. `reason` is one of docs/reasons.md."""

    model_config = ConfigDict(title="Problem", extra="allow")

    type: str
    title: str
    status: int
    detail: str
    reason: str
    errors: list[dict[str, str]] | None = None
    details: dict[str, Any] | None = None
    verdicts: list[dict[str, Any]] | None = None
    next_allowed_at: str | None = None
    action: str | None = None


class API(NinjaAPI):
    def get_openapi_operation_id(self, operation: Operation) -> str:
        return operation.view_func.__name__

    def get_openapi_schema(self, **where: Any) -> OpenAPISchema:
        """Ninja's, and that everything else is a problem."""
        schema = super().get_openapi_schema(**where)
        content = {problem_handlers.MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}
        schema["components"]["schemas"]["Problem"] = ProblemDocument.model_json_schema()
        schema["components"]["responses"] = {"Problem": {"description": "Why it was refused", "content": content}}
        for path in schema["paths"].values():
            for operation in path.values():
                operation["responses"]["default"] = {"$ref": "#/components/responses/Problem"}
        return schema


api = API(
    title="SmartOps Orchestrator",
    version="1.0.0",
    description="Anyone may propose a change to a running workload; SmartOps decides, acts, verifies and proves.",
    urls_namespace="v1",
    docs_url=None,
    parser=JsonBody(),
)
problem_handlers.handle_exceptions(api)
api.add_router("", signals, auth=BearerToken(write=Scope.SIGNALS_WRITE))
api.add_router("", actions.router(follow), auth=BearerToken(write=Scope.ACTIONS_WRITE))
api.add_router("", reads.router, auth=BearerToken(write=Scope.ACTIONS_WRITE))
