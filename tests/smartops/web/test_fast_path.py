"""Agents and probes go straight to their view, and keep what concerns them of the middleware."""

import pytest

from tests.kit.api import Api


def test_an_api_response_sets_no_cookie_and_forbids_sniffing(api: Api) -> None:
    answer = api.get("/v1/signals")

    assert answer.status_code == 200
    assert not answer.cookies
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Content-Length"] == str(len(answer.content))


def test_an_unknown_host_is_refused(api: Api) -> None:
    api.headers["Host"] = "elsewhere.example"
    assert api.get("/v1/signals").status_code == 400


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/metrics"])
def test_a_probe_may_use_the_address_of_the_pod_as_its_host(api: Api, path: str) -> None:
    api.headers["Host"] = "10.1.2.3:8000"
    assert api.get(path).status_code == 200


def test_a_page_for_browsers_passes_all_middlewares(api: Api) -> None:
    answer = api.get("/admin/login/")

    assert answer.status_code == 200
    assert "csrftoken" in answer.cookies
    assert "Content-Security-Policy" in answer.headers
