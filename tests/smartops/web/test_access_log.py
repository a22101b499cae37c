"""Who signed in, who failed to, and who was refused: one line each, and never so many that they fill the log."""

import logging
from collections import Counter
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import DatabaseError, transaction
from django.test import AsyncClient, Client
from pytest_django.fixtures import Settings

from smartops.models import SignIn
from smartops.tokens import Scope, issue
from smartops.web import access_log, throttle
from smartops.web.access_log import LINES, LINES_OF_CLIENT, WINDOW, Window, record, summarize
from tests.kit.people import PASSWORD

LOGGER = "smartops.web.access_log"
Line = dict[str, Any]


@pytest.fixture(autouse=True)
def fresh(settings: Settings, caplog: pytest.LogCaptureFixture) -> None:
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
    settings.SESSION_COOKIE_SECURE = settings.CSRF_COOKIE_SECURE = False
    caplog.set_level(logging.INFO)
    summarize()
    access_log.take_summaries()
    caplog.clear()


@pytest.fixture
def olga(db: None, fresh: None) -> User:
    return User.objects.create_user("olga", password=PASSWORD, is_staff=True)


def lines(caplog: pytest.LogCaptureFixture) -> list[Line]:
    names = ("actor", "reason", "status_code", "path")
    return [
        {"event": one.getMessage()} | {name: getattr(one, name) for name in names if hasattr(one, name)}
        for one in caplog.records
        if one.name == LOGGER
    ]


def sign_in(client: Client, account: str, password: str) -> None:
    client.post("/admin/login/", {"username": account, "password": password})


def test_signing_in_and_out_is_a_line_each(olga: User, client: Client, caplog: pytest.LogCaptureFixture) -> None:
    sign_in(client, "olga", PASSWORD)
    client.post("/admin/logout/")
    assert lines(caplog) == [
        {"event": "signed in", "actor": "user:olga", "path": "POST /admin/login/"},
        {"event": "signed out", "actor": "user:olga", "path": "POST /admin/logout/"},
    ]


def test_a_failed_sign_in_is_a_line_without_what_was_typed(
    olga: User, client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    sign_in(client, "olga", "canary-1")
    sign_in(client, "canary-2", "x")
    for _ in range(6):
        sign_in(client, "olga", "canary-1")
    events = [(one["event"], one.get("actor", "")) for one in lines(caplog)]
    assert events == [("sign-in failed", "user:olga"), ("sign-in failed", "")] + [
        ("sign-in failed", "user:olga")
    ] * 5 + [("sign-in throttled", "user:olga")]
    assert "canary" not in "".join(str(vars(one)) for one in caplog.records)


def test_a_sign_in_to_an_account_that_is_not_active_fails(
    olga: User, client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    User.objects.update(is_active=False)
    sign_in(client, "olga", PASSWORD)
    [line] = lines(caplog)
    assert (line["event"], line["actor"]) == ("sign-in failed", "user:olga")


def test_a_refused_person_is_a_line(olga: User, client: Client, caplog: pytest.LogCaptureFixture) -> None:
    client.force_login(olga)
    caplog.clear()
    client.get("/admin/guardrails/freeze/")
    client.get("/console/?token=canary")
    client.get("/console/", headers={"HX-Request": "true"})
    assert [(one["event"], one["actor"], one["status_code"], one["path"]) for one in lines(caplog)] == [
        ("request refused", "user:olga", 403, "GET /admin/guardrails/freeze/"),
        ("request refused", "user:olga", 403, "GET /console/"),
        ("request refused", "user:olga", 403, "GET /console/"),
    ]


def test_a_visitor_who_is_sent_to_the_sign_in_page_is_no_line(
    db: None, client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    client.get("/console/")
    client.get("/admin/")
    assert lines(caplog) == []


def test_a_form_without_its_csrf_token_is_a_line(olga: User, caplog: pytest.LogCaptureFixture) -> None:
    client = Client(enforce_csrf_checks=True)
    client.force_login(olga)
    caplog.clear()
    client.post("/admin/guardrails/freeze/add/", {})
    assert [(one["event"], one["status_code"], one.get("reason")) for one in lines(caplog)] == [
        ("suspicious request", 403, "Forbidden (CSRF cookie not set.): /admin/guardrails/freeze/add/"),
        ("request refused", 403, None),
    ]


@pytest.mark.asyncio
@pytest.mark.django_db(transaction=True)
async def test_a_refused_token_is_a_line_with_its_name_where_it_is_known(caplog: pytest.LogCaptureFixture) -> None:
    from asgiref.sync import sync_to_async

    text = await sync_to_async(issue)("agent", [Scope.READ], ["shop"])
    client = AsyncClient()
    await client.get("/v1/signals")
    await client.get("/v1/signals", headers={"Authorization": "Bearer canary"})
    authorized = {"Authorization": f"Bearer {text}"}
    await client.post("/v1/k8s/restart", {}, content_type="application/json", headers=authorized)
    await client.get("/v1/signals?namespace=erp", headers=authorized)
    found = [(one.get("actor", ""), one["status_code"], one["reason"], one["path"]) for one in lines(caplog)]
    assert found == [
        ("", 401, "Unauthenticated", "GET /v1/signals"),
        ("", 401, "Unauthenticated", "GET /v1/signals"),
        ("token:agent", 403, "ScopeMissing", "POST /v1/k8s/restart"),
        ("token:agent", 403, "NamespaceForbidden", "GET /v1/signals"),
    ]
    written = "".join(str(vars(one)) for one in caplog.records if one.name == LOGGER)
    assert "canary" not in written
    assert text[4:] not in written


def test_a_path_is_shortened_and_has_no_control_characters(
    db: None, client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    record("request refused", peer="192.0.2.1", path="x")
    client.post(f"/v1/\n{'a' * 5000}", headers={"Authorization": "Bearer x"})
    assert all(len(one["path"]) <= access_log.MAX_PATH and "\n" not in one["path"] for one in lines(caplog))


def test_a_client_has_ten_lines_a_minute_for_each_event_and_the_others_keep_theirs() -> None:
    window = Window(0.0)
    admitted = [window.admits("request refused", "loud") for _ in range(100)]
    assert admitted.count(True) == LINES_OF_CLIENT
    assert window.admits("request refused", "quiet")
    assert window.admits("sign-in failed", "loud")
    assert window.left_out == {"request refused": Counter({"loud": 100 - LINES_OF_CLIENT})}


def test_many_clients_together_have_a_limit_too_and_are_counted_in_bounded_space() -> None:
    window = Window(0.0)
    admitted = [window.admits("request refused", str(number)) for number in range(5000)]
    assert admitted.count(True) == LINES
    assert window.left_out["request refused"].total() == 5000 - LINES
    assert len(window.left_out["request refused"]) == access_log.MAX_CLIENTS + 1
    assert len(window.logged) <= LINES
    assert window.admits("signed in", "1"), "a flood of one event must not hide another one"


def test_what_was_left_out_is_one_line_with_the_count(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = access_log._window.began
    monkeypatch.setattr(access_log, "monotonic", lambda: now)
    for _ in range(30):
        record("request refused", peer="192.0.2.1")
    record("request refused", peer="192.0.2.2")
    assert len(lines(caplog)) == LINES_OF_CLIENT + 1
    now += WINDOW
    caplog.clear()
    record("signed in", logging.INFO, peer="192.0.2.3")
    assert [one["event"] for one in lines(caplog)] == [
        f"request refused: {30 - LINES_OF_CLIENT} more times from 1 clients, "
        f"{30 - LINES_OF_CLIENT} of them from 192.0.2.1",
        "signed in",
    ]


def test_what_was_left_out_is_logged_although_nothing_follows(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[float] = []

    class Soon:
        daemon = False

        def __init__(self, delay: float, then: Any) -> None:
            started.append(delay)
            self.then = then

        def start(self) -> None:
            assert self.daemon, "it must not keep the process alive"

    monkeypatch.setattr(access_log, "Timer", Soon)
    for _ in range(30):
        record("request refused", peer="192.0.2.1")
    assert len(started) == 1
    assert 0 < started[0] <= WINDOW


def rows() -> list[tuple[str, str, str, int]]:
    return list(SignIn.objects.order_by("id").values_list("event", "actor", "address", "count"))


def test_sign_ins_and_failures_are_rows_with_the_address(olga: User, client: Client) -> None:
    sign_in(client, "olga", "canary-1")
    sign_in(client, "canary-2", "x")
    sign_in(client, "olga", PASSWORD)
    client.post("/admin/logout/")

    assert rows() == [
        ("sign-in failed", "user:olga", "127.0.0.1", 1),
        ("sign-in failed", "", "127.0.0.1", 1),
        ("signed in", "user:olga", "127.0.0.1", 1),
        ("signed out", "user:olga", "127.0.0.1", 1),
    ]


def test_a_flood_of_failures_is_few_rows_and_their_count_and_hides_no_success(
    olga: User, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(throttle.Allowance, "pause", lambda *_: throttle.NONE)
    for _ in range(30):
        sign_in(client, "nobody", "x")
    for _ in range(LINES_OF_CLIENT + 1):
        sign_in(client, "olga", PASSWORD)
    assert [one[0] for one in rows()].count("sign-in failed") == LINES_OF_CLIENT
    assert [one[0] for one in rows()].count("signed in") == LINES_OF_CLIENT + 1

    summarize()
    sign_in(client, "olga", PASSWORD)

    assert rows()[-2:] == [("sign-in failed", "", "", 30 - LINES_OF_CLIENT), ("signed in", "user:olga", "127.0.0.1", 1)]


def test_sign_ins_are_never_changed(olga: User, client: Client) -> None:
    sign_in(client, "olga", PASSWORD)
    with pytest.raises(DatabaseError, match="append_only"), transaction.atomic():
        SignIn.objects.update(actor="user:eve")
    with pytest.raises(DatabaseError, match="append_only"), transaction.atomic():
        SignIn.objects.all().delete()
