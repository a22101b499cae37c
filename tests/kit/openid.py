"""An OpenID provider on loopback, in a few lines of its own: discovery, keys, code flow with PKCE, userinfo.

It signs with RS256, and knows one client and one person at a time. `spoil` changes what an ID token says or how it is
signed. It is no provider of somebody else: what those do differently, its tests do not show.
"""

import json
from base64 import urlsafe_b64encode
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from secrets import token_urlsafe
from threading import Thread
from time import time
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import jwt
from cryptography.hazmat.primitives.asymmetric import rsa

CLIENT_ID, CLIENT_SECRET = "smartops", "the-secret-of-the-client"
Sign = Callable[[dict[str, Any]], str]
KEY, OTHER_KEY = (rsa.generate_private_key(public_exponent=65537, key_size=2048) for _ in range(2))

JWK = {**json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(KEY.public_key())), "kid": "one", "alg": "RS256", "use": "sig"}


def signed(claims: dict[str, Any], key: Any = KEY, algorithm: str = "RS256", kid: str = "one") -> str:
    return jwt.encode(claims, key, algorithm, {"kid": kid})


@dataclass
class OpenIdProvider:
    url: str
    person: dict[str, Any] = field(default_factory=lambda: {"sub": "1f2e", "preferred_username": "ana"})
    userinfo: dict[str, Any] = field(default_factory=dict)  # what it adds to, or changes of, the claims of the person
    issuer: str = ""
    error: str = ""  # instead of a code
    sign: Sign = signed
    document: dict[str, Any] = field(default_factory=dict)  # what it changes of the discovery document
    keys: list[Any] = field(default_factory=lambda: [JWK])
    answer: dict[str, Any] = field(default_factory=dict)  # what it changes of the answer of the token endpoint
    moved: str = ""  # the path that answers with a redirect to another host, which keeps the method and the body
    codes: dict[str, dict[str, str]] = field(default_factory=dict)
    asked: list[dict[str, str]] = field(default_factory=list)  # the parameters of each authorization

    def discovery(self) -> dict[str, Any]:
        paths = {"authorization_endpoint": "authorize", "token_endpoint": "token", "jwks_uri": "keys"}
        found = {name: f"{self.url}/{path}" for name, path in {**paths, "userinfo_endpoint": "userinfo"}.items()}
        given = {"issuer": self.issuer or self.url, **found, **self.document}
        return {name: value for name, value in given.items() if value is not None}

    def authorize(self, asked: dict[str, str]) -> str:
        """Where it sends the browser."""
        self.asked.append(asked)
        code = token_urlsafe(8)
        self.codes[code] = asked
        given = {"error": self.error} if self.error else {"code": code}
        return f"{asked['redirect_uri']}?{urlencode({**given, 'state': asked['state']})}"

    def token(self, form: dict[str, str]) -> tuple[int, dict[str, Any]]:
        asked = self.codes.pop(form.get("code", ""), None)
        challenge = urlsafe_b64encode(sha256(form.get("code_verifier", "").encode()).digest()).decode().rstrip("=")
        if asked is None or asked["code_challenge"] != challenge or asked["code_challenge_method"] != "S256":
            return 400, {"error": "invalid_grant"}
        if (form.get("client_id"), form.get("client_secret")) != (CLIENT_ID, CLIENT_SECRET):
            return 401, {"error": "invalid_client"}
        now = int(time())
        claims = {"iss": self.url, "aud": CLIENT_ID, "iat": now, "exp": now + 300, "nonce": asked.get("nonce")}
        id_token = self.sign({**claims, **self.person})
        return 200, {"access_token": "access", "token_type": "Bearer", "id_token": id_token, **self.answer}


@contextmanager
def openid_provider() -> Iterator[OpenIdProvider]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            path, query = urlsplit(self.path).path, parse_qs(urlsplit(self.path).query)
            match path:
                case provider.moved:
                    self.answer(307, {})
                case "/authorize":
                    self.send_response(302)
                    self.send_header("Location", provider.authorize({key: one for key, [one] in query.items()}))
                    self.send_header("Content-Length", "0")
                    self.end_headers()
                case "/.well-known/openid-configuration":
                    self.answer(200, provider.discovery())
                case "/keys":
                    self.answer(200, {"keys": provider.keys})
                case "/userinfo" if self.headers["Authorization"] == "Bearer access":
                    self.answer(200, {**provider.person, **provider.userinfo})
                case _:
                    self.answer(404, {})

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"])).decode()
            if provider.moved == self.path:
                self.answer(307, {})
            else:
                self.answer(*provider.token({key: one for key, [one] in parse_qs(body).items()}))

        def answer(self, status: int, body: dict[str, Any]) -> None:
            text = json.dumps(body).encode()
            self.send_response(status)
            if status == 307:
                self.send_header("Location", f"http://localhost:{server.server_port}/elsewhere")
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        provider = OpenIdProvider(f"http://127.0.0.1:{server.server_port}")
        Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        try:
            yield provider
        finally:
            server.shutdown()
