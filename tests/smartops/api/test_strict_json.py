import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smartops.api.strict_json import MAX_DEPTH, Malformed, loads


@pytest.mark.parametrize(
    ("body", "path", "message"),
    [
        (b"", (), "not JSON"),
        (b"{", (), "not JSON"),
        (b"{'a': 1}", (), "not JSON"),
        (b'{"a": 1,}', (), "not JSON"),
        (b'{"a": 1} {}', (), "not JSON"),
        (b'\xef\xbb\xbf{"a": 1}', (), "not JSON"),
        ('{"a": 1}'.encode("utf-16"), (), "not UTF-8"),
        (b'{"a": "\xff"}', (), "not UTF-8"),
        (b'{"a": "\xed\xa0\x80"}', (), "not UTF-8"),  # a surrogate, encoded
        (b'{"a": "\x00"}', (), "not JSON"),
        (b'{"a": "\n"}', (), "not JSON"),
        (b"[]", (), "must be a JSON object"),
        (b"null", (), "must be a JSON object"),
        (b'"text"', (), "must be a JSON object"),
        (b'{"a": NaN}', (), "NaN"),
        (b'{"a": [-Infinity]}', (), "-Infinity"),
        (b'{"a": 1e400}', (), "double precision"),
        (b'{"a": -1e400}', (), "double precision"),
        (b'{"a": 9223372036854775808}', (), "64 bits"),
        (b'{"a": -9223372036854775809}', (), "64 bits"),
        (b'{"a": ' + b"9" * 5000 + b"}", (), "64 bits"),
        (b'{"a": 1, "b": 2, "a": 3}', ("a",), "twice"),
        (b'{"a": {"b": 1, "\\u0062": 2}}', ("b",), "twice"),
        (b'{"a": "x\\u0000"}', ("a",), "NUL"),
        (b'{"a": [{"b": "\\u0000"}]}', ("a", 0, "b"), "NUL"),
        (b'{"a": {"x\\u0000": 1}}', ("a", "x?"), "NUL"),
        (b'{"a": "\\ud800"}', ("a",), "surrogate"),
        (b'{"a": "\\udc00\\ud800"}', ("a",), "surrogate"),
        (b'{"\\ud800": 1}', ("?",), "surrogate"),
        (b'{"a": ' + b"[" * MAX_DEPTH + b"]" * MAX_DEPTH + b"}", ("a", *[0] * (MAX_DEPTH - 1)), "deeper"),
        (b'{"a": ' + b"[" * 100_000, (), "deeper"),
        (b'{"a":' * 100_000, (), "deeper"),
    ],
)
def test_a_body_that_parsers_read_differently_is_malformed(body: bytes, path: tuple[Any, ...], message: str) -> None:
    with pytest.raises(Malformed, match=message) as refused:
        loads(body)
    assert refused.value.path == path


@pytest.mark.parametrize(
    ("body", "document"),
    [
        (b"{}", {}),
        (b' {"a": [true, null, -0.5e3, "\\u00e4\\ud83d\\ude00\\n"]} ', {"a": [True, None, -500.0, "ä😀\n"]}),
        ('{"ä": "😀"}'.encode(), {"ä": "😀"}),
        (b'{"a": 9223372036854775807, "b": -9223372036854775808}', {"a": 2**63 - 1, "b": -(2**63)}),
        (b'{"a": "\\\\u0000"}', {"a": "\\u0000"}),  # a backslash, not an escape
        (b'{"a": ' + b"[" * (MAX_DEPTH - 1) + b"]" * (MAX_DEPTH - 1) + b"}", None),
    ],
)
def test_a_json_object_is_parsed(body: bytes, document: dict[str, Any] | None) -> None:
    assert loads(body) == (document if document is not None else json.loads(body))


def test_a_duplicate_among_many_names_is_found_in_linear_time() -> None:
    names = ",".join(f'"{number}":0' for number in range(200_000))
    with pytest.raises(Malformed, match="twice"):
        loads(f'{{{names},"7":0}}'.encode())


text = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))
scalars = (
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False, allow_infinity=False)
)
documents = st.recursive(scalars | text, lambda inner: st.lists(inner) | st.dictionaries(text, inner), max_leaves=20)


@given(st.dictionaries(text, documents), st.booleans())
def test_any_json_object_is_parsed_as_the_standard_library_parses_it(document: dict[str, Any], escaped: bool) -> None:
    assert loads(json.dumps(document, ensure_ascii=escaped).encode()) == document


@given(st.binary(max_size=200))
def test_the_parser_raises_nothing_but_malformed(body: bytes) -> None:
    with suppress(Malformed):
        assert isinstance(loads(body), dict)
