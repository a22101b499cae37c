"""A security key in software: it makes passkeys and signs with them, as the browser's JSON has it.

`spoil` changes what it says before it is signed, so that a test can forge each part by itself.
"""

import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable
from dataclasses import dataclass, field
from hashlib import sha256
from secrets import token_bytes
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from fido2 import cbor
from fido2.cose import ES256

PRESENT, VERIFIED, ELIGIBLE, BACKED_UP, ATTESTED = 0x01, 0x04, 0x08, 0x10, 0x40
ORIGIN = "https://testserver"
Spoil = Callable[["Said"], Any]


def text(value: bytes) -> str:
    return urlsafe_b64encode(value).decode().rstrip("=")


def plain(value: str) -> bytes:
    return urlsafe_b64decode(value + "=" * (-len(value) % 4))


def cose_of(algorithm: Any, key: Any) -> dict[int, Any]:
    """The public key, as authenticators write it."""
    return dict(algorithm.from_cryptography_key(key.public_key()))


@dataclass
class Said:
    """What is signed. `client`: of the browser. `answer`: the members of the response, after they are signed."""

    client: dict[str, Any]
    rp_hash: bytes
    flags: int
    count: int
    credential: bytes
    cose: dict[int, Any] = field(default_factory=dict)
    more: bytes = b""
    answer: dict[str, Any] = field(default_factory=dict)

    @property
    def data(self) -> bytes:
        attested = b""
        if self.flags & ATTESTED:
            attested = bytes(16) + len(self.credential).to_bytes(2, "big") + self.credential + cbor.encode(self.cose)
        return self.rp_hash + bytes([self.flags]) + self.count.to_bytes(4, "big") + attested + self.more

    @property
    def client_json(self) -> bytes:
        return json.dumps(self.client).encode()


@dataclass
class Authenticator:
    """With one passkey. `counts`: whether it counts its signatures."""

    origin: str = ORIGIN
    counts: bool = True
    count: int = 0
    credential: bytes = field(default_factory=lambda: token_bytes(24))
    handle: bytes = b""
    key: ec.EllipticCurvePrivateKey = field(default_factory=lambda: ec.generate_private_key(ec.SECP256R1()))
    flags: int = PRESENT | VERIFIED

    def create(self, options: dict[str, Any], spoil: Spoil = lambda _: None) -> str:
        self.handle = plain(options["user"]["id"])
        cose = cose_of(ES256, self.key)
        said = self._said("webauthn.create", options["challenge"], options["rp"]["id"], ATTESTED, cose)
        spoil(said)
        attestation = {"fmt": "none", "attStmt": {}, "authData": said.data}
        response = {"clientDataJSON": text(said.client_json), "attestationObject": text(cbor.encode(attestation))}
        return self._answer(said, response)

    def get(self, options: dict[str, Any], spoil: Spoil = lambda _: None) -> str:
        said = self._said("webauthn.get", options["challenge"], options["rpId"], 0, {})
        spoil(said)
        message = said.data + sha256(said.client_json).digest()
        signature = self.key.sign(message, ec.ECDSA(hashes.SHA256()))
        response = {
            "clientDataJSON": text(said.client_json),
            "authenticatorData": text(said.data),
            "signature": text(signature),
            "userHandle": text(self.handle),
        }
        return self._answer(said, response)

    def _said(self, kind: str, challenge: str, host: str, flags: int, cose: dict[int, Any]) -> Said:
        self.count += self.counts
        client = {"type": kind, "challenge": challenge, "origin": self.origin, "crossOrigin": False}
        return Said(client, sha256(host.encode()).digest(), self.flags | flags, self.count, self.credential, cose)

    def _answer(self, said: Said, response: dict[str, Any]) -> str:
        own = {"id": text(said.credential), "rawId": text(said.credential), "type": "public-key"}
        outer = {one: value for one, value in said.answer.items() if one in own}
        inner = {**response, **{one: value for one, value in said.answer.items() if one not in own}}
        return json.dumps({**own, "clientExtensionResults": {}, **outer, "response": inner})
