"""No text has the credentials of a URL, or its parameters."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from signals.lib.redaction import redacted


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("http://opa:password@127.0.0.1:1/x?key=k", "http://127.0.0.1:1/x"),
        ("http://opa:8181/v1/data/x", "http://opa:8181/v1/data/x"),
        ("http://opa/x#fragment", "http://opa/x"),
        ("https://user@host", "https://host"),
        ("postgresql://u:p@ss/w?rd#@db:5432/smartops?options=x", "postgresql://db:5432/smartops"),
        ("(http://u:p@a/x?k=v), then 'HTTPS://u:p@b/?k'.", "(http://a/x), then 'HTTPS://b/'."),
        (
            'Post "https://u:p@hook.svc:443/validate?timeout=2s": dial tcp 10.0.0.1:443: refused',
            'Post "https://hook.svc:443/validate": dial tcp 10.0.0.1:443: refused',
        ),
        ("Invalid header value b'Bearer abc.def'", "Invalid header value b'Bearer [removed]'"),
        ("authorization: basic dTpw next", "authorization: basic [removed] next"),
        ("nothing of it: a@b?c", "nothing of it: a@b?c"),
        ("", ""),
    ],
)
def test_a_url_is_reduced_to_scheme_host_and_path(text: str, expected: str) -> None:
    assert redacted(text) == expected


PARTS = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=12)


@given(PARTS, PARTS, st.sampled_from(["", "/", "/a/b"]), PARTS)
@example("a@b", "?/#", "", "x://y")
def test_a_secret_of_any_characters_is_removed(user: str, password: str, path: str, query: str) -> None:
    url = f"https://{user}:CANARY{password}CANARY@host{path}?CANARY={query.replace('@', '')}CANARY"

    assert redacted(f"could not reach {url} in time") == f"could not reach https://host{path} in time"
