"""Agents and probes go straight to their view, and keep what concerns them of the middleware."""

import pytest

from tests.kit.api import Api


def test_answers_to_agents_set_no_cookie_and_are_not_to_be_sniffed(api: Api) -> None:
    answer = api.get("/v1/signals")

    assert answer.status_code == 200
    assert not answer.cookies
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Content-Length"] == str(len(answer.content))


def test_a_host_that_is_not_ours_is_refused(api: Api) -> None:
    api.headers["Host"] = "elsewhere.example"
    assert api.get("/v1/signals").status_code == 400


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/metrics"])
def test_probes_may_ask_by_the_pods_address(api: Api, path: str) -> None:
    api.headers["Host"] = "10.1.2.3:8000"
    assert api.get(path).status_code == 200


def test_pages_for_browsers_keep_all_their_middleware(api: Api) -> None:
    answer = api.get("/admin/login/")

    assert answer.status_code == 200
    assert "csrftoken" in answer.cookies
    assert "Content-Security-Policy" in answer.headers
