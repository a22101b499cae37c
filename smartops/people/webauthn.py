"""What a browser is asked for when a passkey is made or used, and whether its answer is believed (WebAuthn). Pure.

fido2 compares the type, origin, challenge and host, and checks that the authenticator has verified the person, and the
signature. What it leaves out is here: the size of an answer, the algorithm and the use of a new key, pages within pages
of others, flags that contradict each other, whose passkey it is, and the counter of signatures.
(docs/adr/0063-passkeys.md)
"""

import hmac
import json
import struct
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import ip_address
from typing import Any, Self
from urllib.parse import urlsplit

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from fido2 import cbor
from fido2.cose import ES256, RS256, EdDSA
from fido2.rpid import verify_rp_id
from fido2.server import Fido2Server
from fido2.utils import bytes2int, websafe_decode
from fido2.webauthn import (
    AttestationConveyancePreference,
    AttestedCredentialData,
    AuthenticationResponse,
    AuthenticatorData,
    CollectedClientData,
    PublicKeyCredentialDescriptor,
    PublicKeyCredentialParameters,
    PublicKeyCredentialRpEntity,
    PublicKeyCredentialType,
    PublicKeyCredentialUserEntity,
    RegistrationResponse,
    ResidentKeyRequirement,
    UserVerificationRequirement,
)

from smartops.people.keys import MAX_ID, Key

NAME = "SmartOps"
VALID_FOR = 300  # seconds, of a challenge
CHALLENGE = 32  # bytes
MAX_ANSWER = 16 * 1024  # characters: no authenticator needs them, and fido2's reader is quadratic
ALGORITHMS = (ES256.ALGORITHM, EdDSA.ALGORITHM, RS256.ALGORITHM)  # Windows Hello may have nothing but the last
RSA = range(2048, 4097)  # bits
# What fido2 raises for an answer that is not as the specification says.
FAULTS = (
    ValueError,
    KeyError,
    TypeError,
    AttributeError,
    IndexError,
    OverflowError,
    RecursionError,
    struct.error,
    UnsupportedAlgorithm,
)


class InvalidAnswerError(Exception):
    """The answer is not accepted. The message is for the record, not for the person."""


@contextmanager
def _faults() -> Iterator[None]:
    try:
        yield
    except FAULTS as error:
        text = "".join(one if one.isprintable() else "?" for one in str(error)[:200])
        raise InvalidAnswerError(f"The answer is not valid: {type(error).__name__}: {text}") from error


@dataclass(frozen=True, slots=True)
class Site:
    """`origin`: of the pages that ask, as a browser writes it. `host`: of its passkeys, the RP id."""

    origin: str
    host: str

    @classmethod
    def of(cls, origin: str) -> Self:
        """Raises InvalidAnswerError for a site at which browsers use no passkeys: an address, or plain HTTP, unless the
        host is localhost."""
        host = urlsplit(origin).hostname or ""
        if not verify_rp_id(host, origin) or _is_address(host):
            raise InvalidAnswerError("Browsers use passkeys at names with HTTPS, and at http://localhost.")
        return cls(origin, host)


def creation_options(
    site: Site, challenge: bytes, account: str, handle: bytes, known: Iterable[bytes]
) -> dict[str, Any]:
    """The options that a browser makes a passkey with. `known`: the ids of those that the account has: no authenticator
    makes a second one."""
    options, _ = _server(site).register_begin(
        PublicKeyCredentialUserEntity(id=handle, name=account, display_name=account),
        _descriptors(known),
        ResidentKeyRequirement.REQUIRED,
        UserVerificationRequirement.REQUIRED,
        challenge=challenge,
    )
    return dict(options.public_key)


def request_options(site: Site, challenge: bytes, known: Iterable[bytes] = ()) -> dict[str, Any]:
    """The options that a browser uses a passkey with. `known`: the ids of those that are accepted; none: any."""
    options, _ = _server(site).authenticate_begin(
        _descriptors(known) or None, UserVerificationRequirement.REQUIRED, challenge
    )
    return dict(options.public_key)


@_faults()
def verify_creation(site: Site, challenge: bytes, handle: bytes, answer: str) -> Key:
    """The new passkey. Raises InvalidAnswerError."""
    found: RegistrationResponse = RegistrationResponse.from_dict(_json(answer))
    data = found.response.attestation_object.auth_data
    credential = data.credential_data
    if credential is None:
        raise InvalidAnswerError("The answer has no key.")
    _server(site).register_complete(_state(site, challenge), found)
    _check(found.response.client_data, data)
    if not 0 < len(credential.credential_id) <= MAX_ID or credential.credential_id != found.raw_id:
        raise InvalidAnswerError("The id of the passkey is empty, too long, or another one.")
    if credential.public_key.ALGORITHM not in ALGORITHMS:
        raise InvalidAnswerError("The algorithm of the key was not asked for.")
    if (
        credential.public_key.ALGORITHM == RS256.ALGORITHM
        and bytes2int(credential.public_key[-1]).bit_length() not in RSA
    ):
        raise InvalidAnswerError("The RSA key is too short, or too long.")
    with suppress(InvalidSignature):  # another error says that the key can verify nothing
        credential.public_key.verify(b"", b"")
    return Key(credential.credential_id, bytes(credential), handle, site.host, data.counter)


@_faults()
def credential_id_of(answer: str) -> bytes:
    """Which passkey the answer claims to be of. Raises InvalidAnswerError."""
    found: AuthenticationResponse = AuthenticationResponse.from_dict(_json(answer))
    return found.raw_id


@_faults()
def verify_signature(site: Site, challenge: bytes, key: Key, answer: str) -> int:
    """The counter of signatures. Raises InvalidAnswerError unless the passkey has signed the challenge for this
    site."""
    found: AuthenticationResponse = AuthenticationResponse.from_dict(_json(answer))
    data, owner = found.response.authenticator_data, found.response.user_handle
    if key.host != site.host:
        raise InvalidAnswerError(f"The passkey is of the host {key.host}.")
    if owner is not None and not hmac.compare_digest(owner, key.handle):
        raise InvalidAnswerError("The answer is for another account.")
    _server(site).authenticate_complete(_state(site, challenge), [AttestedCredentialData(key.credential)], found)
    _check(found.response.client_data, data)
    if (data.counter or key.signatures) and data.counter <= key.signatures:
        counted = f"The passkey has counted {data.counter} signatures, after {key.signatures}"
        raise InvalidAnswerError(f"{counted}: there may be a copy of it.")
    return data.counter


def _check(client: CollectedClientData, data: AuthenticatorData) -> None:
    if client.cross_origin:
        raise InvalidAnswerError("The page was within a page of another site.")
    if data.is_backed_up() and not data.is_backup_eligible():
        raise InvalidAnswerError("The passkey is backed up, and must not be.")


@lru_cache(maxsize=8)  # fido2 takes longer to make it than to use it; it keeps nothing of a request
def _server(site: Site) -> Fido2Server:
    rp = PublicKeyCredentialRpEntity(name=NAME, id=site.host)
    server = Fido2Server(rp, AttestationConveyancePreference.NONE, lambda origin: origin == site.origin)
    server.timeout = VALID_FOR * 1000  # type: ignore[assignment]  # declared by its default, None
    kind = PublicKeyCredentialType.PUBLIC_KEY
    server.allowed_algorithms = [PublicKeyCredentialParameters(type=kind, alg=one) for one in ALGORITHMS]
    return server


def _descriptors(ids: Iterable[bytes]) -> list[PublicKeyCredentialDescriptor]:
    kind = PublicKeyCredentialType.PUBLIC_KEY
    return [PublicKeyCredentialDescriptor(type=kind, id=one) for one in ids]


def _state(site: Site, challenge: bytes) -> Any:
    """What fido2 keeps from the options to the answer, of either kind."""
    _, state = _server(site).authenticate_begin(None, UserVerificationRequirement.REQUIRED, challenge)
    return state


def _json(answer: str) -> Any:
    """In the place of bytes, fido2 reads an integer n as n zeros, and takes the memory for them. So integers are read
    as text, and those that it reads itself are refused before."""
    if len(answer) > MAX_ANSWER:
        raise InvalidAnswerError("The answer is too long.")
    found = json.loads(answer, parse_int=str)
    response = found["response"]
    challenge = json.loads(websafe_decode(response["clientDataJSON"]))["challenge"]
    attestation = response.get("attestationObject")
    data = b"" if attestation is None else cbor.decode(websafe_decode(attestation))["authData"]  # type: ignore[index,call-overload]
    if not isinstance(challenge, str) or not isinstance(data, bytes):
        raise ValueError("A member is of another type.")
    return found


def _is_address(host: str) -> bool:
    try:
        return bool(ip_address(host))
    except ValueError:
        return False
