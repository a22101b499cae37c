"""The OpenID Connect client: the code flow of allauth with PKCE, and stricter checks.

allauth skips the signature of an ID token that comes from the token endpoint, knows no nonce, and prefers the answer of
the userinfo endpoint. Here each ID token is verified, with the keys of the issuer, and its claims have precedence.
"""

from collections.abc import Mapping
from functools import cached_property
from hashlib import sha256
from secrets import token_urlsafe
from typing import Any

import jwt
from allauth.account.utils import get_next_redirect_url
from allauth.socialaccount.adapter import get_adapter
from allauth.socialaccount.models import SocialApp, SocialLogin, SocialToken
from allauth.socialaccount.providers.base import AuthProcess
from allauth.socialaccount.providers.oauth2.client import OAuth2Error
from allauth.socialaccount.providers.openid_connect.provider import OpenIDConnectProvider
from allauth.socialaccount.providers.openid_connect.views import OpenIDConnectOAuth2Adapter
from django.conf import settings
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.urls import reverse

Claims = Mapping[str, Any]
ALGORITHMS = ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"]
LONGEST_SUBJECT = 191  # characters, of allauth's column
LEEWAY = 60  # seconds that the clocks may differ
ENDPOINTS = ("authorization_endpoint", "token_endpoint", "jwks_uri")


def configured() -> SocialApp:
    """What allauth reads of the settings. It links an account to (provider_id, sub): the issuer is the provider_id."""
    return SocialApp(
        provider="openid_connect",
        provider_id=settings.SMARTOPS_OIDC_ISSUER,
        name=settings.SMARTOPS_OIDC_NAME,
        client_id=settings.SMARTOPS_OIDC_CLIENT_ID,
        secret=settings.SMARTOPS_OIDC_CLIENT_SECRET,
        settings={
            "server_url": settings.SMARTOPS_OIDC_ISSUER,
            "scope": settings.SMARTOPS_OIDC_SCOPES,
            "oauth_pkce_enabled": True,
        },
    )


def checked(document: dict[str, Any], issuer: str) -> dict[str, Any]:
    """The discovery document. Raises OAuth2Error unless it is of the issuer, and names what a sign-in needs."""
    if str(document.get("issuer")).rstrip("/") != issuer:
        raise OAuth2Error(f"the provider says that its issuer is {document.get('issuer')}")
    if missing := sorted({*ENDPOINTS} - document.keys()):
        raise OAuth2Error(f"the provider names no {', '.join(missing)}")
    secure = "https://" if issuer.startswith("https:") else ("https://", "http://")
    for name in (*ENDPOINTS, "userinfo_endpoint"):
        if not str(document.get(name, issuer)).startswith(secure):
            raise OAuth2Error(f"the {name} of the provider is no https URL: {document[name]}")
    return document


class Client(OpenIDConnectOAuth2Adapter):  # type: ignore[misc]
    """Of one request. `nonce`: what the ID token must repeat."""

    nonce = ""

    def __init__(self, request: HttpRequest) -> None:
        super().__init__(request, settings.SMARTOPS_OIDC_ISSUER)

    @cached_property
    def openid_config(self) -> Any:
        return checked(_json(self.get_provider().server_url), settings.SMARTOPS_OIDC_ISSUER)

    def parse_token(self, data: Any) -> SocialToken:
        """The token serves for one request to the userinfo endpoint: when it expires does not matter."""
        if not isinstance(data, dict) or not isinstance(data["access_token"], str):
            raise OAuth2Error("the token endpoint gave no access token")
        return SocialToken(token=data["access_token"])

    def complete_login(self, request: HttpRequest, app: SocialApp, token: Any, **kwargs: Any) -> SocialLogin:  # noqa: ARG002
        claims = self.verified(kwargs["response"].get("id_token", ""))
        if "userinfo_endpoint" in self.openid_config:
            more = self._fetch_user_info(token.token)
            if not isinstance(more, dict) or more.get("sub") != claims["sub"]:
                raise OAuth2Error("the userinfo is that of somebody else")
            claims = {**more, **claims}
        login = self.get_provider().sociallogin_from_response(request, claims)
        login.claims = claims
        return login

    def verified(self, id_token: str) -> Claims:
        """Raises OAuth2Error unless the issuer has signed it, for this client and this sign-in, a short time ago."""
        try:
            claims: Claims = jwt.decode(
                id_token,
                self._key_of(id_token),
                algorithms=ALGORITHMS,
                audience=settings.SMARTOPS_OIDC_CLIENT_ID,
                issuer=self.openid_config["issuer"],
                leeway=LEEWAY,
                options={"require": ["iss", "sub", "aud", "exp", "iat"]},
            )
        except jwt.PyJWTError as error:
            raise OAuth2Error(f"the ID token is not valid: {error}") from error
        if claims.get("nonce") != self.nonce:
            raise OAuth2Error("the ID token is that of another sign-in")
        if claims.get("azp", settings.SMARTOPS_OIDC_CLIENT_ID) != settings.SMARTOPS_OIDC_CLIENT_ID:
            raise OAuth2Error("the ID token is for another client")
        if not claims["sub"] or not claims["sub"].isprintable():
            raise OAuth2Error("the ID token has a subject that cannot be stored")
        return claims

    def _key_of(self, id_token: str) -> jwt.PyJWK:
        """The one that the token names. A token without a name is signed by the only key of its algorithm."""
        header = jwt.get_unverified_header(id_token)
        name, algorithm = header.get("kid"), header.get("alg")
        if algorithm not in ALGORITHMS:
            raise OAuth2Error("the algorithm of the ID token's signature is not allowed")
        known = _json(self.openid_config["jwks_uri"]).get("keys")
        # A key that does not say its algorithm may sign with each that is of its kind; PyJWT skips it for the others.
        keys = [{"alg": algorithm, **key} for key in _list(known) if isinstance(key, dict)]
        found = [
            key
            for key in jwt.PyJWKSet(keys).keys
            if name in (None, key.key_id) and key.algorithm_name == algorithm and key.public_key_use in (None, "sig")
        ]
        if len(found) != 1:
            raise OAuth2Error("the provider has no key by which the ID token is signed")
        return found[0]

    def get_callback_url(self, request: HttpRequest, app: SocialApp) -> str:  # noqa: ARG002
        return request.build_absolute_uri(reverse("oidc-callback"))


class Provider(OpenIDConnectProvider):  # type: ignore[misc]
    oauth2_adapter_class = Client

    def get_oauth2_adapter(self, request: HttpRequest) -> Client:
        return Client(request)

    def redirect_from_request(self, request: HttpRequest) -> HttpResponseBase:
        """Nothing but `next` comes from the address: allauth would also take a scope and parameters from it."""
        next_url, nonce = get_next_redirect_url(request), token_urlsafe(24)
        response: HttpResponseBase = self.redirect(
            request, AuthProcess.LOGIN, next_url, nonce=nonce, auth_params={"nonce": nonce}
        )
        return response

    def extract_uid(self, data: Claims) -> str:
        """The column is shorter than a subject may be."""
        subject = str(data["sub"])
        return subject if len(subject) <= LONGEST_SUBJECT else f"sha256:{sha256(subject.encode()).hexdigest()}"

    def extract_extra_data(self, data: Claims) -> dict[str, Any]:  # noqa: ARG002 - of what is stored in the database
        return {}

    def extract_common_fields(self, data: Claims) -> dict[str, Any]:
        """No address of mail: SmartOps sends none, and an equal address proves nothing."""
        return {"username": data.get(settings.SMARTOPS_OIDC_USERNAME_CLAIM)}

    def extract_email_addresses(self, data: Claims) -> list[Any]:  # noqa: ARG002
        return []


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _json(url: str) -> dict[str, Any]:
    """Raises OAuth2Error for anything but a JSON object."""
    with get_adapter().get_requests_session() as session:
        answer = session.get(url)
        answer.raise_for_status()
        found = answer.json()
    if not isinstance(found, dict):
        raise OAuth2Error(f"{url} is no JSON object")
    return found
