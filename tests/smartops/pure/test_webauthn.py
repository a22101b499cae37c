"""What is believed of the answers of browsers and authenticators, and what is not: each part forged by itself."""

import json
import tracemalloc
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa
from fido2 import cbor
from fido2.cose import RS256, EdDSA
from hypothesis import given
from hypothesis import strategies as st

from smartops.people import webauthn
from smartops.people.keys import Key
from smartops.people.webauthn import MAX_ANSWER, InvalidAnswerError, Site
from tests.kit.authenticator import (
    ATTESTED,
    BACKED_UP,
    ELIGIBLE,
    ORIGIN,
    PRESENT,
    VERIFIED,
    Authenticator,
    Said,
    Spoil,
    cose_of,
    text,
)

SITE = Site.of(ORIGIN)
CHALLENGE, HANDLE = b"c" * 32, b"h" * 32


def nothing(_: Said) -> None: ...


def create(device: Authenticator, spoil: Spoil = nothing) -> Key:
    options = webauthn.creation_options(SITE, CHALLENGE, "olga", HANDLE, [])
    return webauthn.verify_creation(SITE, CHALLENGE, HANDLE, device.create(options, spoil))


def sign(device: Authenticator, key: Key, spoil: Spoil = nothing, site: Site = SITE) -> int:
    answer = device.get(webauthn.request_options(site, CHALLENGE, [key.id]), spoil)
    assert webauthn.credential_id_of(answer) == device.credential
    return webauthn.verify_signature(site, CHALLENGE, key, answer)


def test_the_options_ask_for_a_passkey_that_needs_no_name_and_verifies_the_person() -> None:
    made = webauthn.creation_options(SITE, CHALLENGE, "olga", HANDLE, [b"one"])
    assert made["rp"] == {"id": "testserver", "name": "SmartOps"}
    assert made["user"] == {"id": text(HANDLE), "name": "olga", "displayName": "olga"}
    assert (made["attestation"], made["timeout"], made["challenge"]) == ("none", 300_000, text(CHALLENGE))
    assert [one["alg"] for one in made["pubKeyCredParams"]] == [-7, -8, -257]
    assert made["excludeCredentials"] == [{"type": "public-key", "id": text(b"one")}]
    assert made["authenticatorSelection"]["residentKey"] == "required"
    assert made["authenticatorSelection"]["userVerification"] == "required"
    asked = webauthn.request_options(SITE, CHALLENGE)
    assert asked == {
        "challenge": text(CHALLENGE), "timeout": 300_000, "rpId": "testserver", "userVerification": "required",
    }  # fmt: skip
    assert json.loads(json.dumps(made)) == made


def test_a_passkey_is_made_and_signs() -> None:
    device = Authenticator()
    key = create(device)
    assert (key.id, key.handle, key.host, key.signatures) == (device.credential, HANDLE, "testserver", 1)
    assert sign(device, key) == 2


@pytest.mark.parametrize("flags", [PRESENT | VERIFIED | ELIGIBLE, PRESENT | VERIFIED | ELIGIBLE | BACKED_UP])
def test_a_passkey_may_be_synchronized(flags: int) -> None:
    device = Authenticator(flags=flags, counts=False)
    assert sign(device, create(device)) == 0


def changes(**client: Any) -> Spoil:
    return lambda said: said.client.update(client)


def without(name: str) -> Spoil:
    return lambda said: said.client.pop(name)


def sets(**columns: Any) -> Spoil:
    def spoil(said: Said) -> None:
        for name, value in columns.items():
            setattr(said, name, value)

    return spoil


def answers(**members: Any) -> Spoil:
    return lambda said: said.answer.update(members)


# Of either kind of answer: what is changed, and the record of it.
FORGED: list[tuple[Spoil, str]] = [
    (changes(type="webauthn.other"), "Incorrect type"),
    (changes(origin="https://testserver.example.com"), "Invalid origin"),
    (changes(origin="https://sub.testserver"), "Invalid origin"),
    (changes(origin="http://testserver"), "Invalid origin"),
    (changes(origin="https://testserver:8443"), "Invalid origin"),
    (changes(origin=None), "Invalid origin"),
    (changes(challenge=text(b"d" * 32)), "Wrong challenge"),
    (changes(challenge=""), "Wrong challenge"),
    (changes(challenge=7), "TypeError|ValueError"),
    (changes(crossOrigin=True), "within a page of another site"),
    (without("type"), "ValueError"),
    (without("origin"), "ValueError"),
    (without("challenge"), "KeyError"),
    (sets(rp_hash=bytes(32)), "Wrong RP ID hash"),
    (lambda said: setattr(said, "flags", said.flags & ~PRESENT), "User Present flag not set"),
    (lambda said: setattr(said, "flags", said.flags & ~VERIFIED), "User verification required"),
    (lambda said: setattr(said, "flags", said.flags | BACKED_UP), "backed up, and must not be"),
    (sets(more=b"\0"), "ValueError"),
    (answers(clientDataJSON=""), "JSONDecodeError"),
    (answers(clientDataJSON=text(b"[]")), "TypeError"),
    (answers(clientDataJSON=text(b"[" * 9000)), "too long|Recursion|ValueError"),
    (answers(clientDataJSON=None), "AttributeError|TypeError|ValueError"),
    (answers(rawId=text(b"another")), "ValueError"),
    (answers(id=7), "ValueError"),
    (answers(clientDataJSON="x" * MAX_ANSWER), "too long"),
]


@pytest.mark.parametrize(("spoil", "why"), FORGED)
def test_a_forged_part_of_either_answer_is_not_believed(spoil: Spoil, why: str) -> None:
    with pytest.raises(InvalidAnswerError, match=why):
        create(Authenticator(), spoil)
    device = Authenticator()
    key = create(device)
    options = webauthn.request_options(SITE, CHALLENGE)
    with pytest.raises(InvalidAnswerError, match=why):
        webauthn.verify_signature(SITE, CHALLENGE, key, device.get(options, spoil))


NUMBER = 50_000_000


@pytest.mark.parametrize(
    "spoil",
    [
        answers(rawId=NUMBER),
        answers(rawId=NUMBER, id=NUMBER),
        answers(clientDataJSON=NUMBER),
        changes(challenge=NUMBER),
        changes(challenge=10**17),
        answers(authenticatorData=NUMBER, attestationObject=NUMBER),
        answers(
            attestationObject=text(cbor.encode({"fmt": "none", "attStmt": {}, "authData": NUMBER})), signature=NUMBER
        ),
        answers(
            attestationObject=text(cbor.encode({"fmt": "none", "attStmt": {}, "authData": 10**17})), userHandle=NUMBER
        ),
    ],
)
def test_a_number_in_the_place_of_bytes_is_not_believed_and_takes_no_memory(spoil: Spoil) -> None:
    device = Authenticator()
    key = create(device)
    options = webauthn.creation_options(SITE, CHALLENGE, "olga", HANDLE, [])
    made, used = device.create(options, spoil), device.get(webauthn.request_options(SITE, CHALLENGE), spoil)
    tracemalloc.start()
    try:
        with pytest.raises(InvalidAnswerError):
            webauthn.verify_creation(SITE, CHALLENGE, HANDLE, made)
        with pytest.raises(InvalidAnswerError):
            webauthn.verify_signature(SITE, CHALLENGE, key, used)
        assert tracemalloc.get_traced_memory()[1] < 10_000_000
    finally:
        tracemalloc.stop()


def cose(change: Callable[[dict[int, Any]], Any]) -> Spoil:
    return lambda said: change(said.cose)


@pytest.mark.parametrize(
    ("spoil", "why"),
    [
        (lambda said: setattr(said, "flags", said.flags & ~ATTESTED), "no key"),
        (changes(type="webauthn.get"), "Incorrect type"),
        (cose(lambda key: key.update({3: -35, -1: 2})), "not asked for"),
        (cose(lambda key: key.update({3: -65535})), "not asked for"),
        (cose(lambda key: key.update({3: "ES256"})), "not asked for"),
        (cose(lambda key: key.pop(3)), "ValueError"),
        (cose(lambda key: key.update({-1: 2})), "Unsupported elliptic curve"),
        (cose(lambda key: key.update({-2: bytes(32)})), "ValueError"),
        (cose(lambda key: key.pop(-3)), "KeyError"),
        (cose(dict.clear), "ValueError"),
        (sets(credential=b""), "id of the passkey"),
        (sets(credential=b"x" * 1024), "id of the passkey"),
        (answers(rawId=text(b"another"), id=text(b"another")), "id of the passkey"),
        (answers(attestationObject=""), "ValueError|IndexError"),
        (answers(attestationObject=text(b"\x81" * 9000)), "too long|Recursion|Index|ValueError"),
        (answers(attestationObject=text(b"\xa0")), "ValueError|KeyError"),
    ],
)
def test_a_forged_new_passkey_is_not_believed(spoil: Spoil, why: str) -> None:
    with pytest.raises(InvalidAnswerError, match=why):
        create(Authenticator(), spoil)


ED25519 = ed25519.Ed25519PrivateKey.generate()
RSA = rsa.generate_private_key(public_exponent=65537, key_size=2048)


@pytest.mark.parametrize("bits", [512, 2047, 4097, 64_000])
def test_an_rsa_key_has_2048_to_4096_bits(bits: int) -> None:
    weak = {**cose_of(RS256, RSA), -1: (1 << (bits - 1) | 1).to_bytes((bits + 7) // 8, "big")}
    with pytest.raises(InvalidAnswerError, match="RSA key is too"):
        create(Authenticator(), sets(cose=weak))


@pytest.mark.parametrize("key", [cose_of(EdDSA, ED25519), cose_of(RS256, RSA)])
def test_a_key_may_be_of_another_algorithm_that_was_asked_for(key: dict[int, Any]) -> None:
    assert create(Authenticator(), sets(cose=key)).signatures == 1


@pytest.mark.parametrize(
    ("spoil", "why"),
    [
        (changes(type="webauthn.create"), "Incorrect type"),
        (answers(signature=text(b"no signature")), "Invalid signature"),
        (answers(signature=""), "Invalid signature"),
        (answers(authenticatorData=text(bytes(37))), "Wrong RP ID hash"),
        (answers(authenticatorData=""), "ValueError"),
        (answers(userHandle=text(b"i" * 32)), "another account"),
        (answers(userHandle=""), "another account"),
        (answers(id=text(b"other"), rawId=text(b"other")), "Unknown credential"),
    ],
)
def test_a_forged_signature_is_not_believed(spoil: Spoil, why: str) -> None:
    device = Authenticator()
    key = create(device)
    with pytest.raises(InvalidAnswerError, match=why):
        webauthn.verify_signature(SITE, CHALLENGE, key, device.get(webauthn.request_options(SITE, CHALLENGE), spoil))


def test_an_authenticator_may_leave_out_the_account_where_the_passkey_is_named() -> None:
    device = Authenticator()
    assert sign(device, create(device), answers(userHandle=None)) == 2


def test_the_key_of_another_passkey_does_not_sign() -> None:
    device = Authenticator()
    key = create(device)
    device.key = Authenticator().key
    with pytest.raises(InvalidAnswerError, match="Invalid signature"):
        sign(device, key)


def test_a_passkey_is_for_the_host_at_which_it_was_made() -> None:
    device = Authenticator(origin="https://other.example.com")
    key = create(Authenticator(credential=device.credential, key=device.key))
    with pytest.raises(InvalidAnswerError, match="of the host testserver"):
        sign(device, key, site=Site.of(device.origin))


@pytest.mark.parametrize(
    ("stored", "counted", "believed"),
    [(0, 0, True), (0, 1, True), (7, 8, True), (7, 7, False), (7, 0, False), (7, 5, False)],
)
def test_the_counter_of_signatures_grows_or_is_not_kept(stored: int, counted: int, believed: bool) -> None:
    device = Authenticator()
    key = create(device)
    key = replace(key, signatures=stored)
    if believed:
        assert sign(device, key, sets(count=counted)) == counted
    else:
        with pytest.raises(InvalidAnswerError, match=f"counted {counted} signatures, after {stored}"):
            sign(device, key, sets(count=counted))


@pytest.mark.parametrize(
    ("origin", "host"),
    [
        ("https://smartops.example.com", "smartops.example.com"),
        ("https://smartops.example.com:8443", "smartops.example.com"),
        ("http://localhost:8000", "localhost"),
        ("https://intranet", "intranet"),
        ("http://smartops.example.com", None),
        ("http://127.0.0.1:8000", None),
        ("https://10.0.0.7", None),
        ("https://[::1]:8000", None),
        ("null", None),
        ("", None),
    ],
)
def test_browsers_use_passkeys_at_names_with_https_and_at_localhost(origin: str, host: str | None) -> None:
    if host:
        assert Site.of(origin) == Site(origin, host)
    else:
        with pytest.raises(InvalidAnswerError):
            Site.of(origin)


NAMES = st.sampled_from(
    ["id", "rawId", "response", "clientDataJSON", "attestationObject", "authenticatorData", "signature", "userHandle"]
)
LEAVES = st.none() | st.booleans() | st.integers() | st.text(max_size=8)
JSON = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=6), max_leaves=12
)


@given(st.text(max_size=40) | JSON.map(json.dumps))
def test_no_other_text_is_an_answer(answer: str) -> None:
    key = Key(b"", b"", HANDLE, SITE.host, 0)
    for read in (
        lambda: webauthn.verify_creation(SITE, CHALLENGE, HANDLE, answer),
        lambda: webauthn.verify_signature(SITE, CHALLENGE, key, answer),
    ):
        with pytest.raises(InvalidAnswerError):
            read()


@given(st.binary(max_size=200))
def test_no_other_bytes_are_an_attestation(data: bytes) -> None:
    with pytest.raises(InvalidAnswerError):
        create(Authenticator(), answers(attestationObject=text(data)))
