"""Every error response under /v1 is a problem document with a reason, and changes nothing."""

from collections.abc import Iterable
from typing import Any

import pytest

from orchestrator.models import Action
from signals.models import Signal
from smartops import tokens
from smartops.tokens import Scope
from tests.kit.api import Api, bearer
from tests.kit.signals import ANOMALY


def problem_of(answer: Any, status: int, reason: str) -> dict[str, Any]:
    """The problem document of a response, checked."""
    assert answer.headers["Content-Type"] == "application/problem+json"
    document: dict[str, Any] = answer.json()
    assert (answer.status_code, document["status"], document["reason"]) == (status, status, reason)
    assert document.keys() >= {"type", "title", "detail"}
    assert answer.headers["Content-Length"] == str(len(answer.content))
    return document


@pytest.fixture(autouse=True)
def nothing_is_done(db: None) -> Any:
    yield
    assert not Signal.objects.exists()
    assert not Action.objects.exists()


@pytest.mark.parametrize(
    "authorization", ["", "Bearer", "Bearer x", "Basic YTpi", "bearer smo_", "Bearer \xe4", "Bearer smo_" + "0" * 51]
)
def test_a_request_without_a_valid_token_is_refused(authorization: str) -> None:
    anonymous = Api()
    anonymous.headers = {"Authorization": authorization} if authorization else {}
    for answer in (anonymous.get("/v1/signals"), anonymous.post("/v1/signals/anomaly", ANOMALY)):
        problem_of(answer, 401, "Unauthenticated")
        assert answer.headers["WWW-Authenticate"].startswith('Bearer realm="smartops"')


@pytest.mark.parametrize(
    ("scopes", "method", "path"),
    [
        ([Scope.SIGNALS_WRITE, Scope.ACTIONS_WRITE], "get", "/v1/signals"),
        ([Scope.SIGNALS_WRITE, Scope.ACTIONS_WRITE], "get", "/v1/actions"),
        ([Scope.SIGNALS_WRITE, Scope.ACTIONS_WRITE], "get", "/v1/guardrails"),
        ([Scope.READ, Scope.ACTIONS_WRITE], "post", "/v1/signals/anomaly"),
        ([Scope.READ, Scope.ACTIONS_WRITE], "post", "/v1/signals/rca"),
        ([Scope.READ, Scope.ACTIONS_WRITE], "post", "/v1/signals/batch"),
        ([Scope.READ, Scope.SIGNALS_WRITE], "post", "/v1/k8s/scale"),
        ([Scope.READ, Scope.SIGNALS_WRITE], "post", "/v1/k8s/restart"),
        ([Scope.READ, Scope.SIGNALS_WRITE], "post", "/v1/k8s/patch"),
        ([Scope.READ, Scope.SIGNALS_WRITE], "post", "/v1/actions/execute"),
    ],
)
def test_a_token_without_the_scope_gets_the_name_of_the_scope(
    db: None, scopes: Iterable[Scope], method: str, path: str
) -> None:
    narrow = bearer("narrow", scopes)
    answer = narrow.get(path) if method == "get" else narrow.post(path, {})
    assert problem_of(answer, 403, "ScopeMissing")["details"]["needed"] not in scopes


@pytest.mark.parametrize(
    ("method", "path", "status", "reason"),
    [
        ("GET", "/v1/", 404, "NotFound"),
        ("GET", "/v1/nothing", 404, "NotFound"),
        ("GET", "/v1/signals/not-a-uuid", 404, "NotFound"),
        ("GET", "/v1/signals/%00", 404, "NotFound"),
        ("GET", "/v1/actions/%ff%fe", 404, "NotFound"),
        ("GET", "/v1/signals/01930000-0000-7000-8000-000000000000", 404, "NotFound"),
        ("GET", "/v1/actions/01930000-0000-7000-8000-000000000000", 404, "NotFound"),
        ("PUT", "/v1/signals", 405, "MethodNotAllowed"),
        ("DELETE", "/v1/actions/01930000-0000-7000-8000-000000000000", 405, "MethodNotAllowed"),
        ("GET", "/v1/signals/batch", 405, "MethodNotAllowed"),
        ("GET", "/v1/k8s/scale", 405, "MethodNotAllowed"),
    ],
)
def test_an_unknown_path_or_method_is_a_problem(api: Api, method: str, path: str, status: int, reason: str) -> None:
    answer = api.call(method, path)
    problem_of(answer, status, reason)
    assert ("Allow" in answer.headers) is (status == 405)


@pytest.mark.parametrize("path", ["/v1/signals/anomaly", "/v1/signals/batch", "/v1/k8s/scale"])
@pytest.mark.parametrize("content_type", ["text/plain", "application/x-www-form-urlencoded", "application/xml", "json"])
def test_a_body_of_another_content_type_is_refused(api: Api, path: str, content_type: str) -> None:
    problem_of(api.post(path, b'{"a": 1}', content_type=content_type), 415, "UnsupportedMediaType")


@pytest.mark.parametrize(
    ("body", "field"),
    [
        (b"{", "body"),
        (b"[]", "body"),
        (b'{"score": NaN}', "score"),
        (b'{"score": 1e400}', "score"),
        (b'{"a": "\xff"}', "body"),
        (b'{"score": 1, "score": 0}', "score"),
        (b'{"metadata": {"x": ["\\u0000"]}}', "metadata.x[0]"),
        (b'{"windowId": "\\ud800"}', "windowId"),
        (b'{"metadata": ' + b"[" * 40 + b"]" * 40 + b"}", "metadata" + "[0]" * 31),
    ],
)
def test_a_body_that_is_not_strict_json_is_refused_with_the_path(api: Api, body: bytes, field: str) -> None:
    for path in ("/v1/signals/anomaly", "/v1/signals/batch", "/v1/actions/execute"):
        assert problem_of(api.post(path, body), 400, "MalformedBody")["errors"][0]["field"] == field


@pytest.mark.parametrize(
    ("content_type", "headers", "named"),
    [
        ("application/json", {"content_encoding": "gzip"}, "Content-Encoding must be identity, not “gzip”"),
        ("application/json", {"content_encoding": "identity, br"}, "not “identity, br”"),
        ("application/json; charset=latin-1", {}, "charset of the Content-Type must be utf-8, not “latin-1”"),
        ("application/json; charset=utf-16", {}, "not “utf-16”"),
        ("text/plain", {}, "Content-Type must be application/json, not “text/plain”"),
        ("application/x-www-form-urlencoded", {}, "not “application/x-www-form-urlencoded”"),
        ("", {}, "not “”"),
    ],
)
def test_a_body_in_another_form_is_refused_by_name(
    api: Api, content_type: str, headers: dict[str, str], named: str
) -> None:
    answer = api.post("/v1/signals/anomaly", {}, content_type, **headers)

    assert named in problem_of(answer, 415, "UnsupportedMediaType")["detail"]
    assert (answer.headers.get("Accept-Encoding") == "identity") is ("content_encoding" in headers)


@pytest.mark.parametrize(
    ("content_type", "headers"),
    [
        ("application/json; charset=UTF-8", {}),
        ('application/json; charset="utf8"', {}),
        ("application/json;charset=us-ascii", {}),
        ("Application/JSON", {}),
        ("application/json", {"content_encoding": "Identity"}),
    ],
)
def test_a_body_in_utf_8_is_parsed(api: Api, content_type: str, headers: dict[str, str]) -> None:
    problem_of(api.post("/v1/signals/anomaly", {}, content_type, **headers), 422, "InvalidRequest")


def test_an_empty_body_is_refused(api: Api) -> None:
    document = problem_of(api.post("/v1/signals/anomaly", b""), 422, "InvalidRequest")
    assert document["errors"] == [{"field": "body", "message": "Field required"}]


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ({"namespace": "\0"}, "namespace"),
        ({"namespace": "No_Namespace"}, "namespace"),
        ({"workload": "a" * 254}, "workload"),
        ({"service": "erp-simulator"}, "service"),
        ({"state": "lost"}, "state"),
        ({"source": "\U0001f600"}, "source"),
        ({"cursor": "x"}, "cursor"),
        ({"cursor": "A" * 22 + "\n"}, "cursor"),
        ({"limit": "0"}, "limit"),
        ({"limit": "501"}, "limit"),
        ({"limit": "1e400"}, "limit"),
        ({"limit": "9" * 5000}, "limit"),
        ({"sate": "pending"}, "sate"),
    ],
)
def test_an_invalid_filter_is_refused_by_its_name(api: Api, query: dict[str, str], field: str) -> None:
    assert problem_of(api.get("/v1/signals", **query), 422, "InvalidRequest")["errors"][0]["field"] == field


def test_an_unknown_host_is_a_problem(api: Api) -> None:
    api.headers["Host"] = "elsewhere.example"
    problem_of(api.get("/v1/signals"), 400, "BadRequest")


def test_an_unexpected_exception_reveals_nothing(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(text: str) -> None:
        raise RuntimeError(f"the secret is {text}")

    monkeypatch.setattr(tokens, "verify", fail)
    answer = api.get("/v1/signals")
    problem_of(answer, 500, "InternalError")
    assert b"secret" not in answer.content


def test_a_page_outside_the_api_has_an_html_error(api: Api) -> None:
    assert api.get("/nothing").headers["Content-Type"].startswith("text/html")
