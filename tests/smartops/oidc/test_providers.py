"""What providers, networks and strangers do differently: other keys and answers, errors, and requests at once."""

from collections.abc import Callable
from functools import partial
from threading import Barrier
from typing import Any

import jwt
import pytest
from allauth.socialaccount.providers.oauth2.client import OAuth2Error
from django.contrib.auth.models import User
from django.db import connections
from django.test import Client
from pytest_django.fixtures import Settings

from signals.models import SettingChange
from smartops.models import SignIn, SignInFailures
from smartops.oidc import transport
from smartops.oidc.client import checked
from smartops.people.sessions import Session
from tests.kit.openid import CLIENT_ID, JWK, KEY, OpenIdProvider, signed
from tests.kit.patience import PATIENCE
from tests.kit.threads import at_once
from tests.smartops.oidc.test_oidc import begin, sign_in
from tests.smartops.oidc.test_oidc import provider as provider
from tests.smartops.oidc.test_oidc import running as running

pytestmark = pytest.mark.django_db
ANY = {name: one for name, one in JWK.items() if name not in ("alg", "use")}  # Entra ID says neither
ENCRYPTION = {**JWK, "use": "enc", "alg": "RSA-OAEP", "kid": "two"}  # Keycloak has one beside the key for signatures
ELLIPTIC = {"kty": "EC", "crv": "P-256", "kid": "three", "x": 43 * "A", "y": 43 * "A"}
SECRET = {"kty": "oct", "kid": "one", "k": 60 * "A"}
Sign = Callable[[dict[str, Any]], str]


def unnamed(claims: dict[str, Any]) -> str:
    return jwt.encode(claims, KEY, "RS256")


def rs512(claims: dict[str, Any]) -> str:
    return signed(claims, KEY, "RS512")


def hs256(claims: dict[str, Any]) -> str:
    return signed(claims, bytes(45), "HS256")


@pytest.mark.parametrize(
    ("keys", "sign", "status"),
    [
        ([{**JWK, "kid": "old"}, JWK], signed, 302),
        ([JWK, ENCRYPTION], unnamed, 302),
        ([ANY, ELLIPTIC], unnamed, 302),
        ([ANY], rs512, 302),
        ([JWK], rs512, 403),
        ([JWK, {**JWK, "kid": "two"}], unnamed, 403),
        ([JWK, JWK], signed, 403),
        ([{**ANY, "use": "enc"}], signed, 403),
        ([SECRET], hs256, 403),
        ([ANY], hs256, 403),
        (
            [5, {"kid": "one"}, {"kid": "one", "kty": ["RSA"]}, {"kid": "one", "kty": "RSA", "n": 5, "e": []}],
            signed,
            403,
        ),
        ([], signed, 403),
    ],
)
def test_a_token_is_verified_with_the_one_key_that_can_have_signed_it(
    provider: OpenIdProvider, keys: list[Any], sign: Sign, status: int
) -> None:
    provider.keys, provider.sign = keys, sign
    assert sign_in().status_code == status


def test_keys_are_read_at_each_sign_in(provider: OpenIdProvider) -> None:
    assert sign_in().status_code == 302
    provider.keys = [{**JWK, "kid": "two"}]
    assert sign_in().status_code == 403
    provider.sign = lambda claims: signed(claims, kid="two")
    assert sign_in().status_code == 302


@pytest.mark.parametrize(
    ("claims", "status"),
    [
        ({"aud": ["other", CLIENT_ID], "azp": CLIENT_ID}, 302),
        ({"aud": ["other", CLIENT_ID], "azp": ["other"]}, 403),
        ({"azp": None}, 403),
        ({"aud": ["other"]}, 403),
        ({"sub": ""}, 403),
        ({"sub": 5}, 403),
        ({"sub": "a\0b"}, 403),
        ({"sub": "a\ud800"}, 403),
    ],
)
def test_claims_that_name_others_or_nobody_are_refused(
    provider: OpenIdProvider, claims: dict[str, Any], status: int
) -> None:
    provider.person |= claims
    assert sign_in().status_code == status


def test_an_issuer_may_end_with_a_slash(provider: OpenIdProvider) -> None:
    provider.issuer = provider.url + "/"
    assert sign_in().status_code == 403
    provider.person["iss"] = provider.issuer
    assert sign_in().status_code == 302


@pytest.mark.parametrize(
    "document",
    [
        {"issuer": 5},
        {"issuer": None},
        {"token_endpoint": None},
        {"authorization_endpoint": "javascript:alert(1)"},
        {"token_endpoint_auth_methods_supported": 5},
        {"more": transport.LARGEST * "x"},
    ],
    ids=lambda one: next(iter(one)),
)
def test_a_discovery_document_that_is_not_usable_is_a_page(provider: OpenIdProvider, document: dict[str, Any]) -> None:
    provider.document = document
    answer = Client().get("/sign-in/oidc/")
    assert answer.status_code == 403
    assert "The answer of Acme is not valid." in answer.content.decode()
    assert SignIn.objects.get().reason


def test_a_provider_of_https_has_no_address_of_http(provider: OpenIdProvider, settings: Settings) -> None:
    document = {**provider.discovery(), "issuer": "https://id.example.com"}
    with pytest.raises(OAuth2Error, match="the authorization_endpoint of the provider is no https URL"):
        checked(document, "https://id.example.com")


@pytest.mark.parametrize(
    "answer",
    [
        {"access_token": 5},
        {"access_token": None},
        {"id_token": 5},
        {"id_token": None},
    ],
    ids=str,
)
def test_an_answer_without_tokens_is_a_page(provider: OpenIdProvider, answer: dict[str, Any]) -> None:
    provider.answer = answer
    assert sign_in().status_code == 403


@pytest.mark.parametrize("seconds", ["soon", [1], 1e300, 10**12, -1])
def test_it_does_not_matter_when_the_access_token_expires(provider: OpenIdProvider, seconds: object) -> None:
    provider.answer = {"expires_in": seconds}
    assert sign_in().status_code == 302


@pytest.mark.parametrize("path", ["/.well-known/openid-configuration", "/token", "/keys", "/userinfo"])
def test_no_redirect_takes_a_secret_elsewhere(provider: OpenIdProvider, path: str) -> None:
    browser = Client()
    back = begin(browser)
    provider.moved = path
    assert browser.get(back).status_code == 403
    assert SignIn.objects.get().reason == f"{provider.url}{path} answers with a redirect"


def test_an_answer_has_to_end(provider: OpenIdProvider, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transport, "LONGEST", 0)
    assert Client().get("/sign-in/oidc/").status_code == 503
    assert SignIn.objects.get().reason == "OpenID provider: Timeout"


@pytest.mark.parametrize(
    ("error", "shown"),
    [
        ("a\0b", "error: ab."),
        ("\u202etxt\nx", "error: txtx."),
        ("\u0430", "error: no code."),
        (300 * "x", f"error: {40 * 'x'}."),
        ("", "error: no code."),
    ],
)
def test_of_an_error_only_the_code_is_shown_and_stored(provider: OpenIdProvider, error: str, shown: str) -> None:
    browser = Client()
    state = begin(browser).rpartition("state=")[2]
    answer = browser.get("/sign-in/oidc/callback/", {"error": error, "state": state, "error_description": "<b>evil"})
    assert answer.status_code == 403
    assert shown in answer.content.decode()
    assert shown in SignIn.objects.get().reason
    assert "evil" not in answer.content.decode()


def test_names_of_groups_do_not_fill_the_history(provider: OpenIdProvider) -> None:
    provider.person["groups"] = ["sre", *(f"{number}{500 * 'x'}" for number in range(200))]
    assert sign_in().status_code == 302
    reasons = SettingChange.objects.filter(actor="system:oidc").values_list("reason", flat=True)
    assert 0 < max(map(len, reasons)) < 2500


@pytest.mark.parametrize(
    "evil",
    [
        "foo",
        "@evil.example",
        "\\\\evil.example",
        "/%09/evil.example",
        "/%0a/evil.example",
        "/%5Cevil.example",
        "%20//x",
    ],
)
def test_next_begins_with_a_slash_and_is_no_host(provider: OpenIdProvider, evil: str) -> None:
    assert sign_in(query=f"?next={evil}").headers["Location"] == "/console/"


def test_a_sign_in_begins_another_session(provider: OpenIdProvider) -> None:
    browser = Client()
    back, before = begin(browser), browser.session.session_key
    assert browser.get(back).status_code == 302
    assert browser.session.session_key != before
    assert not Session.objects.filter(pk=before).exists()


def test_returns_that_nobody_asked_for_slow_nobody_down(provider: OpenIdProvider) -> None:
    for query in 30 * [{"state": "x", "code": "y"}]:
        assert Client().get("/sign-in/oidc/callback/", query).status_code == 403
    assert not SignInFailures.objects.exists()
    assert sign_in().status_code == 302


@pytest.mark.django_db(transaction=True)
def test_no_connection_to_the_database_waits_for_the_provider(provider: OpenIdProvider) -> None:
    browser, own, held = Client(), connections["default"], list[bool]()

    def sign(claims: dict[str, Any]) -> str:
        held.append(own.connection is not None)
        return signed(claims)

    provider.sign = sign
    assert sign_in(browser).status_code == 302
    assert held == [False]


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(("subjects", "accounts"), [(("one", "one"), 1), (("one", "two"), 2)])
def test_first_sign_ins_at_once_make_one_account_for_each_subject_and_name(
    provider: OpenIdProvider, subjects: tuple[str, str], accounts: int
) -> None:
    together, names = Barrier(2), iter(["ana", "Ana"])
    left = list(subjects)

    def sign(claims: dict[str, Any]) -> str:
        mine = {"sub": left.pop(), "preferred_username": next(names)}
        together.wait(PATIENCE)
        return signed({**claims, **mine})

    browsers = [Client(), Client()]
    backs = [begin(browser) for browser in browsers]
    provider.sign = sign
    provider.document = {"userinfo_endpoint": None}  # it knows one person at a time
    answers = at_once([partial(browser.get, back) for browser, back in zip(browsers, backs, strict=True)])
    statuses = {answer.status_code for answer in answers}
    assert 302 in statuses
    assert statuses <= ({302, 409} if accounts == 1 else {302})
    names_of = [name.lower() for name in User.objects.values_list("username", flat=True)]
    assert len(names_of) == len({*names_of}) == accounts
