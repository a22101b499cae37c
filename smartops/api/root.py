"""The API v1: its routers, the parser of request bodies, and the OpenAPI document."""

from typing import Any

from django.http import HttpRequest
from ninja import NinjaAPI
from ninja.openapi.schema import OpenAPISchema
from ninja.operation import Operation
from ninja.parser import Parser
from pydantic import BaseModel, ConfigDict

from smartops import strict_json
from smartops.api import actions, aliases, approvals, guardrails, problem_handlers, reports, rules, signals
from smartops.api.problems import ProblemDetails, RequestReason

CHARSETS = ("utf-8", "utf8", "us-ascii", "ascii")
# By path: the list whose items are parsed each on its own.
BATCHES = {
    "/v1/signals/batch": "signals",
    "/v1/signals/anomaly": "observations",
    "/v1/signals/rca": "observations",
}


class JsonBody(Parser):
    """`smartops.web.bodies` limits the size of the body."""

    def parse_body(self, request: HttpRequest) -> dict[str, Any]:
        if request.content_type != "application/json":
            raise _unsupported("Content-Type", "application/json", request.content_type or "")
        charset = (request.content_params or {}).get("charset", "utf-8")
        if charset.lower() not in CHARSETS:
            raise _unsupported("The charset of the Content-Type", "utf-8", charset)
        encoding = request.headers.get("Content-Encoding", "identity").strip()
        if encoding.lower() != "identity":
            problem = _unsupported("Content-Encoding", "identity", encoding)
            problem.headers["Accept-Encoding"] = "identity"
            raise problem
        items = BATCHES.get(request.path_info)
        return strict_json.loads_items(request.body, items) if items else strict_json.loads(request.body)


def _unsupported(what: str, wanted: str, given: str) -> ProblemDetails:
    return ProblemDetails(415, RequestReason.UNSUPPORTED_MEDIA_TYPE, f"{what} must be {wanted}, not “{given}”.")


class ProblemDocument(BaseModel):
    """An error in the form of RFC 9457. docs/reasons.md lists every `reason`."""

    model_config = ConfigDict(title="ProblemDetails", extra="allow")

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
        """Adds the problem document as the default response of every operation."""
        schema = super().get_openapi_schema(**where)
        content = {problem_handlers.MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/ProblemDetails"}}}
        schema["components"]["schemas"]["ProblemDetails"] = ProblemDocument.model_json_schema()
        schema["components"]["responses"] = {"ProblemDetails": {"description": "Error", "content": content}}
        for path in schema["paths"].values():
            for operation in path.values():
                operation["responses"]["default"] = {"$ref": "#/components/responses/ProblemDetails"}
        return schema


api = API(
    title="SmartOps Orchestrator",
    version="1.0.0",
    description="Closed-loop remediation for Kubernetes. Post signals, execute actions, read decisions and evidence.",
    urls_namespace="v1",
    docs_url=None,
    parser=JsonBody(),
)
problem_handlers.handle_exceptions(api)
for resource in (signals, reports, actions, approvals, guardrails, aliases, rules):
    api.add_router("", resource.router)
