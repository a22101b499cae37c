"""Sign-in by an OpenID provider, against one on loopback (tests/kit/openid.py)."""

from collections.abc import Iterator
from time import time
from typing import Any

import jwt
import pytest
import requests
from django.contrib.auth.models import User
from django.test import Client
from django.utils import timezone
from pytest_django.fixtures import Settings

from signals.models import SettingChange
from smartops.models import RoleGrant, SignIn, SignInFailures
from smartops.people.claims import group_roles
from smartops.people.roles import Place, Role
from smartops.people.second_factor import renew_codes
from smartops.people.sessions import Session
from tests.kit.openid import CLIENT_ID, CLIENT_SECRET, OTHER_KEY, OpenIdProvider, openid_provider, signed
from tests.kit.patience import PATIENCE
from tests.kit.people import app_of, grant, person

pytestmark = pytest.mark.django_db
ROLES = (
    '{"sre": ["operator@production", "viewer"], "leads": "approver@production/shop", "platform": ["admin", "staff"]}'
)


@pytest.fixture(scope="module")
def running() -> Iterator[OpenIdProvider]:
    with openid_provider() as provider:
        yield provider


@pytest.fixture
def provider(running: OpenIdProvider, settings: Settings, fast_hashes: None) -> OpenIdProvider:
    settings.SMARTOPS_OIDC_ISSUER = running.url
    settings.SMARTOPS_OIDC_CLIENT_ID, settings.SMARTOPS_OIDC_CLIENT_SECRET = CLIENT_ID, CLIENT_SECRET
    settings.SMARTOPS_OIDC_NAME, settings.SMARTOPS_OIDC_ROLES = "Acme", group_roles(ROLES)
    running.__init__(running.url)  # type: ignore[misc]
    running.person["groups"] = ["sre"]
    return running


def begin(client: Client, query: str = "") -> str:
    """The path to which the provider sends the browser back."""
    started = client.get(f"/sign-in/oidc/{query}")
    assert started.status_code == 302, started.content
    returned = requests.get(started.headers["Location"], allow_redirects=False, timeout=PATIENCE).headers["Location"]
    assert returned.startswith("http://testserver/sign-in/oidc/callback/?")
    return returned.removeprefix("http://testserver")


def sign_in(client: Client | None = None, query: str = "") -> Any:
    browser = client or Client()
    return browser.get(begin(browser, query))


def grants(name: str) -> set[tuple[str, str, str, bool]]:
    rows = RoleGrant.objects.filter(user__username=name)
    return set(rows.values_list("role", "cluster", "namespace", "from_claims"))


OPERATOR, VIEWER = ("operator", "production", "", True), ("viewer", "", "", True)
APPROVER = ("approver", "production", "shop", True)


def test_the_first_sign_in_makes_an_account_with_the_grants_of_its_groups(provider: OpenIdProvider) -> None:
    browser = Client()
    page = browser.get("/admin/login/?next=/console/signals/").content.decode()
    assert 'href="/sign-in/oidc/?next=/console/signals/"' in page
    assert "Sign in with <bdi>Acme</bdi>" in page

    answer = sign_in(browser, "?next=/console/signals/")

    assert (answer.status_code, answer.headers["Location"]) == (302, "/console/signals/")
    assert browser.get("/console/signals/").status_code == 200
    assert grants("ana") == {OPERATOR, VIEWER}
    ana = User.objects.get(username="ana")
    assert [ana.has_usable_password(), ana.is_staff, ana.is_superuser, ana.email] == [False, False, False, ""]
    [row] = SignIn.objects.filter(event="signed in")
    assert (row.actor, row.reason) == ("user:ana", provider.url)
    assert 0 < browser.session.get_expiry_age() <= 12 * 3600
    granted = SettingChange.objects.filter(table_name="smartops_rolegrant", after__from_claims=True)
    assert [change.actor for change in granted] == 2 * ["system:oidc"]
    assert SettingChange.objects.filter(table_name="auth_user").latest("pk").reason == "Groups of 1f2e: sre"


def test_the_code_flow_has_pkce_a_state_and_a_nonce(provider: OpenIdProvider) -> None:
    sign_in(query="?scope=admin&auth_params=prompt%3Dnone&process=connect")
    [asked] = provider.asked
    assert asked.keys() == {
        "client_id", "redirect_uri", "response_type", "scope", "state", "nonce", "code_challenge",
        "code_challenge_method",
    }  # fmt: skip
    assert set(asked["scope"].split()) == {"openid", "profile"}
    assert asked["code_challenge_method"] == "S256"


def test_each_sign_in_makes_the_grants_those_of_the_groups_and_leaves_those_of_people(provider: OpenIdProvider) -> None:
    sign_in()
    ana = User.objects.get(username="ana")
    grant(ana, Role.APPROVER, Place("default", "erp"))
    grant(ana, Role.VIEWER)
    by_hand = {("approver", "default", "erp", False), ("viewer", "", "", False)}
    for groups, wanted in (
        (["sre", "leads", "unknown"], {OPERATOR, VIEWER, APPROVER}),
        ("leads", {APPROVER}),
        ([], set()),
        ([{"name": "sre"}, 7, None], set()),
        ({"sre": True}, set()),
        (["sre"], {OPERATOR, VIEWER}),
    ):
        provider.person["groups"] = groups
        assert sign_in().status_code == 302
        assert grants("ana") == wanted | by_hand
    assert User.objects.count() == 1
    removed = SettingChange.objects.filter(table_name="smartops_rolegrant", operation="delete")
    assert {change.actor for change in removed} == {"system:oidc"}


def test_staff_status_follows_the_groups(provider: OpenIdProvider, settings: Settings) -> None:
    for groups, staff in ((["platform"], True), (["sre"], False)):
        provider.person["groups"] = groups
        sign_in()
        assert User.objects.get().is_staff is staff
    settings.SMARTOPS_OIDC_ROLES = group_roles('{"sre": "viewer"}')
    User.objects.update(is_staff=True)
    sign_in()
    assert User.objects.get().is_staff


@pytest.mark.parametrize("groups", [["guests"], [], None])
def test_a_person_without_a_group_that_has_a_role_gets_a_page_and_no_account(
    provider: OpenIdProvider, groups: list[str] | None
) -> None:
    provider.person["groups"] = groups
    browser = Client()
    answer = sign_in(browser)
    assert answer.status_code == 403
    text = answer.content.decode()
    assert "Your account has no role here." in text
    assert "guests" in text or "no group for you (claim groups)" in text
    assert not User.objects.exists()
    assert browser.get("/console/").status_code == 302
    [row] = SignIn.objects.all()
    assert (row.event, row.actor) == ("sign-in failed", "")


def test_who_has_lost_all_groups_has_no_access_and_no_session(provider: OpenIdProvider) -> None:
    sign_in()
    provider.person["groups"] = []
    browser = Client()
    assert sign_in(browser).status_code == 403
    assert grants("ana") == set()
    assert browser.get("/console/").status_code == 302
    assert SignIn.objects.get(event="sign-in failed").actor == "user:ana"


def test_a_deactivated_account_stays_deactivated(provider: OpenIdProvider) -> None:
    sign_in()
    User.objects.update(is_active=False)
    RoleGrant.objects.filter(user__username="ana").delete()
    answer = sign_in()
    assert answer.status_code == 403
    assert "deactivated" in answer.content.decode()
    assert (User.objects.get().is_active, grants("ana")) == (False, set())


def test_an_account_with_the_same_name_or_address_is_not_taken_over(provider: OpenIdProvider) -> None:
    ana = person("Ana", Role.ADMIN, email="ana@example.com", password="correct-horse-battery")  # noqa: S106
    provider.person |= {"email": "ana@example.com", "email_verified": True}
    sign_in()
    assert {*User.objects.values_list("username", flat=True)} == {"Ana", "ana-2"}
    assert grants("Ana") == {("admin", "", "", False)}
    assert SignIn.objects.get().actor == "user:ana-2"
    assert User.objects.get(pk=ana.pk).has_usable_password()


def test_the_same_subject_of_another_issuer_is_another_person(provider: OpenIdProvider, settings: Settings) -> None:
    sign_in()
    with openid_provider() as other:
        other.person["groups"] = ["leads"]
        settings.SMARTOPS_OIDC_ISSUER = other.url
        sign_in()
    assert grants("ana") == {OPERATOR, VIEWER}
    assert grants("ana-2") == {APPROVER}


def test_an_account_is_found_by_its_subject_although_its_name_has_changed(provider: OpenIdProvider) -> None:
    sign_in()
    provider.person["preferred_username"] = "root"
    sign_in()
    assert User.objects.get().username == "ana"


def test_a_subject_may_be_as_long_as_the_specification_allows(provider: OpenIdProvider) -> None:
    for last in ("a", "b", "a"):
        provider.person["sub"] = 254 * "x" + last
        assert sign_in().status_code == 302
    assert User.objects.count() == 2


@pytest.mark.parametrize(
    ("claim", "name"),
    [
        ("ana@example.com", "ana@example.com"),
        ("Zoë Brandt", "ZoeBrandt"),
        ("\u0430dmin", "dmin"),  # its first letter is Cyrillic
        ("a" * 300, "a" * 140),
        ("<b>", "b"),
        ("", "user"),
        (None, "user"),
        (["ana"], "user"),
    ],
)
def test_a_name_has_only_characters_that_django_allows(provider: OpenIdProvider, claim: object, name: str) -> None:
    provider.person["preferred_username"] = claim
    sign_in()
    assert User.objects.get().username == name


SPOILT = {
    "another key": lambda claims: signed(claims, OTHER_KEY),
    "an unknown key": lambda claims: signed(claims, OTHER_KEY, kid="two"),
    "no signature": lambda claims: jwt.encode(claims, "", "none", {"kid": "one"}),
    "a symmetric key": lambda claims: signed(claims, CLIENT_SECRET.ljust(64, "x"), "HS256"),
    "an audience": lambda claims: signed({**claims, "aud": "another"}),
    "an issuer": lambda claims: signed({**claims, "iss": "https://evil.example.com"}),
    "expired": lambda claims: signed({**claims, "exp": int(time()) - 120}),
    "not yet valid": lambda claims: signed({**claims, "nbf": int(time()) + 600}),
    "a nonce": lambda claims: signed({**claims, "nonce": "another"}),
    "no nonce": lambda claims: signed({key: one for key, one in claims.items() if key != "nonce"}),
    "another client": lambda claims: signed({**claims, "aud": [CLIENT_ID, "other"], "azp": "other"}),
    "no subject": lambda claims: signed({key: one for key, one in claims.items() if key != "sub"}),
    "no token": lambda _: "",
    "no JWT": lambda _: "a.b.c",
}


@pytest.mark.parametrize("spoilt", SPOILT)
def test_an_id_token_that_is_not_for_this_sign_in_is_refused(provider: OpenIdProvider, spoilt: str) -> None:
    provider.sign = SPOILT[spoilt]
    browser = Client()
    answer = sign_in(browser)
    assert answer.status_code == 403
    assert "The answer of Acme is not valid." in answer.content.decode()
    assert not User.objects.exists()
    assert browser.get("/console/").status_code == 302
    [row] = SignIn.objects.all()
    assert row.event == "sign-in failed"
    assert row.reason
    assert "eyJ" not in row.reason


def test_userinfo_adds_claims_and_must_be_of_the_same_person(provider: OpenIdProvider) -> None:
    provider.person["groups"] = ["sre"]
    provider.userinfo = {"groups": ["platform"], "other": 1}
    sign_in()
    assert grants("ana") == {OPERATOR, VIEWER}  # the ID token has precedence
    del provider.person["groups"]
    sign_in()
    assert grants("ana") == {("admin", "", "", True)}
    provider.userinfo = {"sub": "somebody-else"}
    assert sign_in().status_code == 403


def test_a_return_counts_once_and_only_in_the_browser_that_asked(provider: OpenIdProvider) -> None:
    browser = Client()
    back = begin(browser)
    assert Client().get(back).status_code == 403
    assert browser.get(back).status_code == 302
    browser.post("/admin/logout/")
    again = browser.get(back)
    assert again.status_code == 403
    assert "too old, or began in another browser" in again.content.decode()


@pytest.mark.parametrize(("error", "text"), [("access_denied", "cancelled"), ("server_error", "error: server_error")])
def test_an_error_of_the_provider_is_a_page(provider: OpenIdProvider, error: str, text: str) -> None:
    provider.error = error
    answer = sign_in()
    assert answer.status_code == 403
    assert text in answer.content.decode()


def test_a_wrong_secret_of_the_client_is_recorded_without_the_answer(
    provider: OpenIdProvider, settings: Settings
) -> None:
    settings.SMARTOPS_OIDC_CLIENT_SECRET = "wrong"  # noqa: S105
    assert sign_in().status_code == 403
    assert SignIn.objects.get().reason == "the token endpoint refused the code"


def test_a_provider_that_cannot_be_reached_or_is_another_one_is_a_page(
    provider: OpenIdProvider, settings: Settings
) -> None:
    provider.issuer = "https://evil.example.com"
    assert Client().get("/sign-in/oidc/").status_code == 403
    settings.SMARTOPS_OIDC_ISSUER = "http://127.0.0.1:9"
    answer = Client().get("/sign-in/oidc/")
    assert answer.status_code == 503
    assert "cannot be reached" in answer.content.decode()


@pytest.mark.parametrize(
    "evil", ["https://evil.example.com/", "//evil.example.com", "javascript:alert(1)", "/\\evil.example.com"]
)
def test_next_is_a_path_of_this_site(provider: OpenIdProvider, settings: Settings, evil: str) -> None:
    settings.ALLOWED_HOSTS = ["*"]
    answer = sign_in(query=f"?next={evil}")
    assert (answer.status_code, answer.headers["Location"]) == (302, "/console/")


def test_many_failures_of_a_client_have_to_wait_and_a_success_counts_none(
    provider: OpenIdProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = timezone.now()
    monkeypatch.setattr("smartops.web.failures.database_now", lambda: now)
    for _ in range(2):
        assert sign_in().status_code == 302
    assert not SignInFailures.objects.filter(count__gt=0).exists()
    SignInFailures.objects.update(count=20)
    provider.error = "server_error"
    answers = [sign_in() for _ in range(3)]
    assert [answer.status_code for answer in answers] == [403, 429, 429]
    assert answers[-1].headers["Retry-After"] == "1"
    assert SignIn.objects.filter(event="sign-in throttled").exists()


def test_starts_that_do_not_end_are_slowed_down_and_store_little(
    provider: OpenIdProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = timezone.now()
    monkeypatch.setattr("smartops.web.failures.database_now", lambda: now)
    for _ in range(3):
        sign_in()
    assert Session.objects.count() == 3
    answers = [Client().get("/sign-in/oidc/") for _ in range(54)]
    assert [one.status_code for one in answers] == [302] * 51 + [429] * 3
    assert answers[-1].headers["Retry-After"] == "1"
    assert Session.objects.count() == 54
    assert len(provider.asked) == 3
    assert Client().get("/sign-in/oidc/", REMOTE_ADDR="203.0.113.9").status_code == 302


@pytest.mark.parametrize("kind", ["image", "iframe", "empty", "script"])
def test_the_pages_of_other_sites_start_no_sign_in_without_being_left(provider: OpenIdProvider, kind: str) -> None:
    refused = Client().get("/sign-in/oidc/", headers={"Sec-Fetch-Dest": kind})
    assert refused.status_code == 403
    assert not SignInFailures.objects.exists()
    assert not Session.objects.exists()
    assert Client().get("/sign-in/oidc/", headers={"Sec-Fetch-Dest": "document"}).status_code == 302


def test_a_start_between_password_and_code_does_not_shorten_the_session(provider: OpenIdProvider) -> None:
    olga = person("olga", Role.OPERATOR, password="correct-horse-battery")  # noqa: S106
    app_of(olga)
    browser = Client()
    browser.post("/admin/login/", {"username": "olga", "password": "correct-horse-battery"})
    begin(browser)
    assert browser.post("/admin/login/code/", {"code": renew_codes(olga)[0]}).status_code == 302
    assert browser.session.get_expiry_age() > 86400


def test_the_session_of_a_start_ends_with_its_state_and_no_later_one_does(provider: OpenIdProvider) -> None:
    person("olga", Role.OPERATOR, password="correct-horse-battery")  # noqa: S106
    browser = Client()
    begin(browser)
    assert browser.session.get_expiry_age() == 600
    browser.post("/admin/login/", {"username": "olga", "password": "correct-horse-battery"})
    assert browser.session.get_expiry_age() > 86400


def test_the_admin_shows_the_identities_of_an_account(provider: OpenIdProvider, settings: Settings) -> None:
    sign_in()
    olga, browser = person("olga", Role.ADMIN, is_staff=True), Client()
    browser.force_login(olga)
    for user, text in ((User.objects.get(username="ana"), f"<div>{provider.url}: 1f2e</div>"), (olga, "None.")):
        assert text in browser.get(f"/admin/auth/user/{user.pk}/change/").content.decode()


def test_without_a_provider_there_is_neither_button_nor_address() -> None:
    assert "sign-in/oidc" not in Client().get("/admin/login/").content.decode()
    for path in ("/sign-in/oidc/", "/sign-in/oidc/callback/"):
        assert Client().get(path).status_code == 404


def test_a_person_who_is_signed_in_changes_the_account(provider: OpenIdProvider) -> None:
    olga, browser = person("olga", Role.OPERATOR), Client()
    browser.force_login(olga)
    assert sign_in(browser).status_code == 302
    assert browser.get("/console/").context["user"].username == "ana"
