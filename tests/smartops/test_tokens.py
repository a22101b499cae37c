from datetime import timedelta
from io import StringIO
from typing import Any

import pytest
from django.core.exceptions import ValidationError
from django.core.management import CommandError, call_command
from django.db.models import F
from django.utils import timezone
from hypothesis import given
from hypothesis import strategies as st
from pytest_django import DjangoAssertNumQueries
from pytest_django.fixtures import Settings

from signals.allowance import Quota
from smartops import tokens
from smartops.models import Token
from smartops.tokens import ALPHABET, Principal, Scope, checksum, issue, verify
from tests.kit.history import rewritable
from tests.kit.simulation import SimulatedClock

QUOTA = Quota(100_000, 5_000)

pytestmark = pytest.mark.django_db


def test_a_token_gives_its_principal_scopes_and_namespaces() -> None:
    text = issue("agent", [Scope.READ, Scope.SIGNALS_WRITE], ["erp"])

    assert verify(text) == Principal("agent", frozenset({"read", "signals:write"}), ("erp",), QUOTA)


def test_a_token_is_52_characters_of_base62_and_only_its_hmac_is_stored() -> None:
    text = issue("agent", [Scope.READ])

    prefix, lookup, rest = text.split("_")
    assert (prefix, len(lookup), len(rest)) == ("smo", 12, 38)
    assert set(lookup + rest) <= set(ALPHABET)
    row = Token.objects.get()
    assert row.lookup == lookup
    assert len(bytes(row.digest)) == 32
    assert rest[:32].encode() not in bytes(row.digest)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda text: text[:0],
        lambda text: text[:-1],
        lambda text: text + "0",
        lambda text: text + "\n",
        lambda text: text.upper(),
        lambda text: text[:20] + ("a" if text[20] != "a" else "b") + text[21:],
        lambda text: text.replace("smo_", "ghp_"),
        lambda text: text[:-6] + "ÄÖÜäöü",
    ],
)
def test_a_malformed_token_is_refused_without_a_query(
    spoil: Any, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    text = issue("agent", [Scope.READ])
    with django_assert_num_queries(0):
        assert verify(spoil(text)) is None


def test_a_token_with_a_known_id_and_a_wrong_secret_is_refused() -> None:
    lookup = issue("agent", [Scope.READ]).split("_")[1]

    assert verify(f"smo_{lookup}_{'0' * 32}{checksum(lookup, '0' * 32)}") is None


def test_a_revoked_token_is_refused() -> None:
    text = issue("agent", [Scope.READ])
    Token.objects.update(revoked_at=timezone.now())

    assert verify(text) is None


@pytest.mark.parametrize(("seconds", "valid"), [(60, True), (-1, False)])
def test_a_token_ends_when_it_expires(seconds: int, valid: bool) -> None:
    text = issue("agent", [Scope.READ], expires_at=timezone.now() + timedelta(seconds=seconds))

    assert (verify(text) is not None) is valid


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> SimulatedClock:
    clock = SimulatedClock()
    monkeypatch.setattr(tokens, "monotonic", clock.monotonic)
    return clock


def test_a_process_sees_a_revocation_within_a_second(clock: SimulatedClock) -> None:
    text = issue("agent", [Scope.READ])
    assert verify(text) is not None
    Token.objects.update(revoked_at=timezone.now())
    clock.advance(1)

    assert verify(text) is None


def test_a_cached_token_expires_on_time(clock: SimulatedClock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tokens, "CACHED_FOR", 3600)
    text = issue("agent", [Scope.READ], expires_at=timezone.now() + timedelta(seconds=60))
    assert verify(text) is not None
    with rewritable(Token):
        Token.objects.update(expires_at=timezone.now())
    assert verify(text) is not None, "it is cached"
    clock.advance(60)

    assert verify(text) is None


def test_a_cached_token_needs_its_secret(
    django_assert_num_queries: DjangoAssertNumQueries, clock: SimulatedClock
) -> None:
    text = issue("agent", [Scope.READ])
    verify(text)
    lookup = text.split("_")[1]

    with django_assert_num_queries(0):
        assert verify(text) is not None
        assert verify(f"smo_{lookup}_{'0' * 32}{checksum(lookup, '0' * 32)}") is None


def test_the_use_of_a_token_is_recorded_at_most_once_a_minute(
    django_assert_num_queries: DjangoAssertNumQueries, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tokens, "CACHED_FOR", 0)
    text = issue("agent", [Scope.READ])
    with django_assert_num_queries(2):
        verify(text)
    first = Token.objects.get().last_used_at
    assert first is not None

    with django_assert_num_queries(1):
        verify(text)

    Token.objects.update(last_used_at=F("last_used_at") - timedelta(seconds=61))
    with django_assert_num_queries(2):
        verify(text)


def test_a_pepper_is_rotated_without_new_tokens(settings: Settings) -> None:
    settings.SMARTOPS_TOKEN_PEPPERS = ["old"]
    text = issue("agent", [Scope.READ])

    settings.SMARTOPS_TOKEN_PEPPERS = ["new", "old"]
    assert verify(text) is not None
    settings.SMARTOPS_TOKEN_PEPPERS = ["new"]
    assert verify(text) is None


@pytest.mark.parametrize(("namespaces", "expected"), [((), True), (("erp",), True), (("other",), False)])
def test_a_token_without_namespaces_is_allowed_everywhere(namespaces: tuple[str, ...], expected: bool) -> None:
    assert Principal("agent", frozenset(), namespaces, QUOTA).allows("erp") is expected


base62 = st.text(ALPHABET, min_size=44, max_size=44)


@given(base62, st.integers(0, 43), st.sampled_from(ALPHABET))
def test_the_checksum_notices_every_mistyped_character(text: str, place: int, letter: str) -> None:
    other = text[:place] + letter + text[place + 1 :]
    assert (checksum(other[:12], other[12:]) == checksum(text[:12], text[12:])) is (other == text)


def create_token(*arguments: str) -> tuple[str, str]:
    out, err = StringIO(), StringIO()
    call_command("create_token", *arguments, stdout=out, stderr=err)
    return out.getvalue(), err.getvalue()


def test_create_token_prints_nothing_but_the_token_on_stdout() -> None:
    out, err = create_token(
        "agent", "--scope", "read", "--scope", "signals:write", "--namespace", "erp", "--expires-in", "90"
    )

    assert verify(out.removesuffix("\n")) == Principal("agent", frozenset({"read", "signals:write"}), ("erp",), QUOTA)
    assert out.removesuffix("\n") not in err
    assert "erp" in err
    expires_at = Token.objects.get().expires_at
    assert expires_at is not None
    assert timedelta(days=89) < expires_at - timezone.now() <= timedelta(days=90)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["agent"], "--scope"),
        (["agent", "--scope", "everything"], "invalid choice"),
        (["", "--scope", "read"], "1 to 64"),
        (["a" * 65, "--scope", "read"], "1 to 64"),
        (["a\nb", "--scope", "read"], "printable"),
        (["agent", "--scope", "read", "--namespace", "No_Namespace"], "No_Namespace"),
        (["agent", "--scope", "read", "--expires-in", "0"], "expires"),
        (["agent", "--scope", "read", "--expires-in", "99999999999"], "expires"),
    ],
)
def test_create_token_rejects_invalid_arguments(arguments: list[str], message: str) -> None:
    with pytest.raises(CommandError, match=message):
        create_token(*arguments)
    assert not Token.objects.exists()


def test_two_tokens_cannot_have_the_same_name() -> None:
    create_token("agent", "--scope", "read")
    with pytest.raises(CommandError, match="already"):
        create_token("agent", "--scope", "read")


@pytest.mark.parametrize(
    ("name", "message"), [("Agent", "There is a token “agent”"), ("agent ", "none may be a space")]
)
def test_a_name_does_not_imitate_that_of_another_token(db: None, name: str, message: str) -> None:
    issue("agent", [Scope.READ])
    Token.objects.update(revoked_at=F("created_at"))

    with pytest.raises(ValidationError, match=message):
        issue(name, [Scope.READ])


def test_a_token_may_have_limits_of_its_own(db: None) -> None:
    text = issue("agent", [Scope.SIGNALS_WRITE])
    Token.objects.update(signals_per_minute=7, waiting_signals=3)

    principal = verify(text)

    assert principal is not None
    assert principal.quota == Quota(7, 3)
