"""Each request is counted, under a bounded number of labels."""

from uuid import UUID

import pytest
from django.test import Client
from prometheus_client import REGISTRY

from tests.kit.api import Api


def counted(method: str, route: str, status: int) -> float:
    labels = {"method": method, "view": route, "status": str(status)}
    return REGISTRY.get_sample_value("django_http_responses_total_by_status_view_method_total", labels) or 0.0


@pytest.mark.parametrize(
    ("method", "path", "route", "status"),
    [
        ("GET", "/v1/signals", "/v1/signals", 200),
        ("PUT", "/v1/signals", "/v1/signals", 405),
        ("GET", f"/v1/actions/{UUID(int=0)}", "/v1/actions/{action_id}", 404),
        ("GET", "/v1/nothing", "none", 404),
        ("BREW", "/healthz", "/healthz", 405),
        ("GET", "/admin/login/", "/admin/", 200),
        ("GET", "/v1/%00", "none", 404),
    ],
)
def test_a_request_is_counted_by_its_route_and_status(
    api: Api, method: str, path: str, route: str, status: int
) -> None:
    method_label = "<invalid method>" if method == "BREW" else method
    before = counted(method_label, route, status)

    assert api.call(method, path).status_code == status
    assert counted(method_label, route, status) == before + 1


def test_a_refused_token_and_a_foreign_host_are_counted(db: None) -> None:
    before = counted("GET", "/v1/signals", 401), counted("GET", "none", 400)

    assert Api().get("/v1/signals").status_code == 401
    assert Api().call("GET", "/v1/signals", headers={"Host": "elsewhere.example"}).status_code == 400
    assert (counted("GET", "/v1/signals", 401), counted("GET", "none", 400)) == (before[0] + 1, before[1] + 1)


def test_a_request_of_the_synchronous_client_is_counted(client: Client) -> None:
    before = counted("GET", "/healthz", 200)
    client.get("/healthz")
    assert counted("GET", "/healthz", 200) == before + 1


def test_prometheus_needs_no_token_and_gets_the_format_that_it_accepts() -> None:
    plain = Api().get("/metrics")
    assert plain.status_code == 200
    assert plain.headers["Content-Type"].startswith("text/plain")
    assert b"django_http_requests_latency_seconds_by_view_method" in plain.content

    opened = Api().call("GET", "/metrics", headers={"Accept": "application/openmetrics-text; version=1.0.0"})
    assert opened.headers["Content-Type"].startswith("application/openmetrics-text")
    assert opened.content.endswith(b"# EOF\n")
