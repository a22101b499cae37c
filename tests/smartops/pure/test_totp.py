"""One-time codes, by the examples of RFC 6238 and at the edges of their time."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smartops.people.totp import address, code, counter_at, counter_of, key

SECRET = b"12345678901234567890"
NOON = datetime(2026, 11, 29, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("seconds", "wanted"),
    [(59, "287082"), (1111111109, "081804"), (1234567890, "005924"), (2000000000, "279037"), (20000000000, "353130")],
)
def test_codes_are_those_of_the_examples_in_rfc_6238(seconds: int, wanted: str) -> None:
    assert code(SECRET, counter_at(datetime.fromtimestamp(seconds, UTC))) == wanted


@pytest.mark.parametrize(
    ("seconds", "accepted"), [(-31, False), (-30, True), (0, True), (59, True), (60, False)]
)  # of a code that is valid from noon on
def test_a_code_is_accepted_one_period_before_and_after_its_own(seconds: int, accepted: bool) -> None:
    counter = counter_at(NOON)
    found = counter_of(SECRET, code(SECRET, counter), NOON + timedelta(seconds=seconds))
    assert found == (counter if accepted else None)


@given(st.text(max_size=8))
def test_no_other_text_is_a_code(text: str) -> None:
    around = {code(SECRET, counter_at(NOON) + drift) for drift in (-1, 0, 1)}
    assert (counter_of(SECRET, text, NOON) is not None) == (text in around)


def test_the_address_quotes_the_names() -> None:
    assert key(SECRET) == "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ"
    found = address(SECRET, "ana:b/ö", "Smart Ops")
    assert found == (
        f"otpauth://totp/Smart%20Ops:ana%3Ab%2F%C3%B6?secret={key(SECRET)}&issuer=Smart%20Ops&digits=6&period=30"
    )
