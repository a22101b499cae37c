import http.client
import json
import socket
import ssl
from typing import Any

import pytest
import urllib3
from kubernetes.client.exceptions import ApiException, ApiValueError
from kubernetes.config import ConfigException

from orchestrator.k8s.errors import (
    AdmissionUnavailable,
    ClusterError,
    Conflict,
    DisruptionBudget,
    Expired,
    Forbidden,
    Invalid,
    NotFound,
    Refused,
    Throttled,
    TimedOut,
    Unknown,
    Unreached,
    from_answer,
    from_status,
)
from orchestrator.k8s.translation import translate

CONNECTION = urllib3.connection.HTTPConnection("host")
POOL = urllib3.HTTPConnectionPool("host")


def status(code: int, reason: str = "Reason", message: str = "what the server said") -> str:
    return json.dumps({"kind": "Status", "status": "Failure", "code": code, "reason": reason, "message": message})


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (400, Invalid),
        (401, Forbidden),
        (403, Forbidden),
        (404, NotFound),
        (405, Refused),
        (409, Conflict),
        (410, Expired),
        (413, Refused),
        (422, Invalid),
        (429, Throttled),
        (307, Unknown),
        (500, Unknown),
        (502, Unknown),
        (503, Unknown),
        (504, Unknown),
    ],
)
def test_a_status_becomes_the_error_of_its_code(code: int, kind: type[ClusterError]) -> None:
    error = from_answer(code, status(code), {})
    assert type(error) is kind
    assert (error.code, error.reason, error.message, str(error)) == (
        code,
        "Reason",
        "what the server said",
        "what the server said",
    )


@pytest.mark.parametrize(
    ("retry_after", "seconds"),
    [("1", 1.0), ("120", 120.0), ("", None), ("-1", None), ("soon", None), ("nan", None), ("٣", None)],
)
def test_being_throttled_says_for_how_long(retry_after: str, seconds: float | None) -> None:
    headers = urllib3.HTTPHeaderDict({"retry-after": retry_after})
    error = from_answer(429, "Too many requests, please try again later.", headers)
    assert isinstance(error, Throttled)
    assert error.retry_after == seconds


BUDGET = {"reason": "DisruptionBudget", "message": "The disruption budget erp needs 2 healthy pods and has 1 currently"}


@pytest.mark.parametrize(
    ("code", "details", "kind"),
    [
        (429, {"causes": [BUDGET]}, DisruptionBudget),
        (429, {"causes": [{"reason": "FieldValueInvalid"}, BUDGET]}, DisruptionBudget),
        (429, {"causes": [{"reason": "DisruptionBudget"}], "retryAfterSeconds": 10}, DisruptionBudget),
        (429, {"retryAfterSeconds": 1}, Throttled),
        (429, {"causes": []}, Throttled),
        (429, {"causes": [{"reason": "Other", "message": "DisruptionBudget"}]}, Throttled),
        (429, {"causes": ["DisruptionBudget", None]}, Throttled),
        (429, {"causes": "DisruptionBudget"}, Throttled),
        (429, None, Throttled),
        (403, {"causes": [BUDGET]}, Forbidden),
    ],
)
def test_a_budget_is_told_from_a_busy_server_by_its_cause(code: int, details: Any, kind: type[ClusterError]) -> None:
    answer = {"kind": "Status", "code": code, "reason": "TooManyRequests", "message": "no", "details": details}
    assert type(from_answer(code, json.dumps(answer), {})) is kind


WEBHOOK = 'failed calling webhook "check.policy.example.com": failed to call webhook: Post "https://policy.svc/check"'


@pytest.mark.parametrize(
    ("code", "message"),
    [
        (500, f"Internal error occurred: {WEBHOOK}: dial tcp 127.0.0.1:9: connect: connection refused"),
        (500, f"Internal error occurred: {WEBHOOK}: context deadline exceeded"),
        (500, f"Internal error occurred: {WEBHOOK}: x509: certificate has expired or is not yet valid"),
        (500, 'Internal error occurred: failed calling webhook "x": service "policy" not found'),
        (500, 'Internal error occurred: failed calling webhook "x"; no further details available'),
        (500, 'failed calling admission webhook "x": EOF'),
        (
            500,
            'Internal error occurred: admission plugin "MutatingAdmissionWebhook" failed to complete mutation in 13s',
        ),
        (500, 'Internal error occurred: admission plugin "LimitRanger" failed to complete validation in 13s'),
        (500, "Internal error occurred: resource quota evaluation timed out"),
        (500, 'admission webhook "validation.gatekeeper.sh" denied the request: context deadline exceeded'),
        (503, 'admission webhook "a.b" denied the request: the policies are being loaded'),
        (403, 'deployments.apps "erp" is forbidden: not yet ready to handle request'),
        (403, 'deployments.apps "erp" is forbidden: status unknown for quota: q, resources: pods'),
    ],
)
def test_an_admission_that_failed_has_stored_nothing_and_may_succeed_later(code: int, message: str) -> None:
    error = from_answer(code, status(code, "InternalError", message), {})
    assert type(error) is AdmissionUnavailable
    assert (error.outcome, error.message) == ("refused", message)


@pytest.mark.parametrize(
    ("code", "message", "kind"),
    [
        (403, 'admission webhook "a.b" denied the request: no', Forbidden),
        (400, 'admission webhook "a.b" denied the request: no', Invalid),
        (422, 'deployments.apps "erp" is forbidden: ValidatingAdmissionPolicy "p" denied request: no', Invalid),
        (403, 'deployments.apps "erp" is forbidden: exceeded quota: q, requested: pods=1, used: pods=5', Forbidden),
        (403, 'deployments.apps "not yet ready to handle request" is forbidden: User "x" cannot patch', Forbidden),
        (429, 'admission webhook "a.b" denied the request: slow down', Throttled),
        (500, "etcdserver: request timed out", Unknown),
        (500, "etcdserver: leader changed", Unknown),
        (500, "Internal error occurred: unexpected response: failed calling webhook", Unknown),
        (500, "conversion webhook for example.com/v1, Kind=X failed: Post: connection refused", Unknown),
        (503, "the server is currently unable to handle the request", Unknown),
        (504, "Timeout: request did not complete within requested timeout - context deadline exceeded", Unknown),
    ],
)
def test_a_denial_is_final_and_another_5xx_may_have_been_applied(
    code: int, message: str, kind: type[ClusterError]
) -> None:
    assert type(from_answer(code, status(code, "Reason", message), {})) is kind


def test_what_a_proxy_says_of_a_webhook_is_no_word_of_the_api_server() -> None:
    assert type(from_answer(500, WEBHOOK, {})) is Unknown


def test_a_budget_is_named_with_its_counts() -> None:
    error = from_status({"code": 429, "message": "Cannot evict pod.", "details": {"causes": [BUDGET]}})
    assert error.message == f"Cannot evict pod. {BUDGET['message']}"
    assert (error.code, error.reason, error.outcome) == (429, "DisruptionBudget", "refused")


def test_a_404_of_something_in_between_says_nothing_about_the_object() -> None:
    error = from_answer(404, "<html>\n  <h1>default backend</h1>\n</html>", {})
    assert type(error) is Refused
    assert error.message == "HTTP 404 <html> <h1>default backend</h1> </html>"


def test_another_uid_is_a_conflict_although_the_server_calls_it_invalid() -> None:
    message = 'Deployment.apps "erp" is invalid: metadata.uid: Invalid value: "uid-1": field is immutable'
    assert type(from_answer(422, status(422, "Invalid", message), {})) is Conflict


@pytest.mark.parametrize("raw", [{}, {"code": None}, {"code": "410"}, {"message": 7, "reason": []}])
def test_an_odd_status_is_unknown(raw: dict[str, Any]) -> None:
    assert type(from_status(raw)) is Unknown


@pytest.mark.parametrize(
    ("raised", "kind"),
    [
        (ApiException(status=403, reason="the identity provider refused the refresh token"), Unreached),
        (ApiValueError("Invalid value for `api_key`"), Unreached),
        (urllib3.exceptions.SSLError(ssl.SSLCertVerificationError(1, "self-signed certificate")), Unreached),
        (urllib3.exceptions.SSLError(ssl.SSLEOFError(8, "EOF occurred in violation of protocol")), Unknown),
        (ConfigException("Invalid kube-config"), Unreached),
        (urllib3.exceptions.NewConnectionError(CONNECTION, "Connection refused"), Unreached),
        (urllib3.exceptions.NameResolutionError("host", CONNECTION, socket.gaierror()), Unreached),
        (urllib3.exceptions.ConnectTimeoutError("connect timed out"), Unreached),
        (urllib3.exceptions.ProxyError("Cannot connect to proxy", OSError()), Unreached),
        (urllib3.exceptions.LocationParseError("http://[::1"), Unreached),
        (urllib3.exceptions.ReadTimeoutError(POOL, "", "Read timed out"), TimedOut),
        (TimeoutError(), TimedOut),
        (urllib3.exceptions.ProtocolError("Connection aborted.", ConnectionResetError()), Unknown),
        (urllib3.exceptions.ProtocolError("Connection aborted.", http.client.RemoteDisconnected("")), Unknown),
        (urllib3.exceptions.DecodeError("not gzip"), Unknown),
        (ConnectionResetError(104, "Connection reset by peer"), Unknown),
        (json.JSONDecodeError("Expecting value", "", 0), Unknown),
        (UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte"), Unknown),
        (ValueError("uid is missing"), Unknown),
        (RecursionError(), Unknown),
    ],
    ids=repr,
)
def test_whatever_the_libraries_raise_becomes_a_cluster_error(raised: Exception, kind: type[ClusterError]) -> None:
    with pytest.raises(ClusterError) as caught, translate():
        raise raised
    assert type(caught.value) is kind
    assert caught.value.__cause__ is raised
    assert caught.value.message
    assert caught.value.outcome in ("refused", "unreached", "unknown")


def test_a_cluster_error_passes_as_it_is() -> None:
    conflict = Conflict("changed", code=409)
    with pytest.raises(Conflict) as caught, translate():
        raise conflict
    assert caught.value is conflict


def test_a_mistake_of_our_own_is_not_hidden() -> None:
    with pytest.raises(AttributeError), translate():
        raise AttributeError("typo")
