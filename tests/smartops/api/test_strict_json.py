import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smartops.strict_json import MAX_DEPTH, MAX_TOKENS, Malformed, loads, loads_items


@pytest.mark.parametrize(
    ("body", "path", "message"),
    [
        (b"", (), "not JSON"),
        (b"{", (), "not JSON"),
        (b"{'a': 1}", (), "not JSON"),
        (b'{"a": 1,}', (), "not JSON"),
        (b'{"a": 1} {}', (), "not JSON"),
        (b'\xef\xbb\xbf\xef\xbb\xbf{"a": 1}', (), "not JSON"),
        (b'{\xef\xbb\xbf"a": 1}', (), "not JSON"),
        ('{"a": 1}'.encode("utf-16"), (), "not UTF-8"),
        (b'{"a": "\xff"}', (), "not UTF-8"),
        (b'{"a": "\xed\xa0\x80"}', (), "not UTF-8"),  # a surrogate, encoded
        (b'{"a": "\x00"}', (), "not JSON"),
        (b'{"a": "\n"}', (), "not JSON"),
        (b"[]", (), "must be a JSON object"),
        (b"null", (), "must be a JSON object"),
        (b'"text"', (), "must be a JSON object"),
        (b'{"a": NaN}', ("a",), "NaN"),
        (b'{"a": [-Infinity]}', ("a", 0), "-Infinity"),
        (b'{"a": 1e400}', ("a",), "double precision"),
        (b'{"a": -1e400}', ("a",), "double precision"),
        (b'{"a": 9223372036854775808}', ("a",), "64 bits"),
        (b'{"a": -9223372036854775809}', ("a",), "64 bits"),
        (b'{"a": ' + b"9" * 5000 + b"}", ("a",), "64 bits"),
        (b'{"a": 1, "b": 2, "a": 3}', ("a",), "twice"),
        (b'{"a": {"b": 1, "\\u0062": 2}}', ("a", "b"), "twice"),
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


text = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=5)
scalars = (
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False, allow_infinity=False)
)
documents = st.recursive(
    scalars | text, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(text, inner, max_size=3), max_leaves=10
)


@given(st.dictionaries(text, documents, max_size=4), st.booleans())
def test_any_json_object_is_parsed_as_the_standard_library_parses_it(document: dict[str, Any], escaped: bool) -> None:
    assert loads(json.dumps(document, ensure_ascii=escaped).encode()) == document


@given(st.binary(max_size=200))
def test_the_parser_raises_nothing_but_malformed(body: bytes) -> None:
    with suppress(Malformed):
        assert isinstance(loads(body), dict)


# An item, the path of what is wrong within it, and the message.
BAD_ITEMS = [
    (b"NaN", (), "NaN"),
    (b'{"score": NaN}', ("score",), "NaN"),
    (b'{"score": -Infinity}', ("score",), "-Infinity"),
    (b'{"score": 1e400}', ("score",), "double precision"),
    (b'{"a": [9223372036854775808]}', ("a", 0), "64 bits"),
    (b'{"a": "\\ud800"}', ("a",), "surrogate"),
    (b'{"a": "\\u0000"}', ("a",), "NUL"),
    (b'{"a": 1, "a": 2}', ("a",), "twice"),
    (b'{"a": {"b": 1, "b": 2}}', ("a", "b"), "twice"),
    (b'{"a": "\xff"}', (), "item is not UTF-8"),
    (b'{"a": "\xed\xa0\x80"}', (), "item is not UTF-8"),
    (b'{"a": "\n"}', (), "item is not JSON"),
    (b"{'a': 1}", (), "item is not JSON"),
    (b'{"a": 01}', (), "item is not JSON"),
    (b'{"a": 1,}', (), "item is not JSON"),
    (b'{"a" 1}', (), "item is not JSON"),
    (b"", (), "item is not JSON"),
    (b'{"a": ' + b"[" * (MAX_DEPTH - 2) + b"]" * (MAX_DEPTH - 2) + b"}", ("a", *[0] * (MAX_DEPTH - 3)), "deeper"),
    (b'{"a": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", (), "item is nested deeper"),
]


@pytest.mark.parametrize(("item", "path", "message"), BAD_ITEMS)
@pytest.mark.parametrize("place", [0, 1, 2])
def test_a_malformed_item_leaves_the_other_items_alone(
    item: bytes, path: tuple[Any, ...], message: str, place: int
) -> None:
    good = [b'{"text": "],}, \\" [{", "deep": [[{}]]}', b"7"]
    texts = [*good[:place], item, *good[place:]]

    items = loads_items(b'{"other": 1, "items" : [' + b",\n".join(texts) + b'], "more": [1, 2]}', "items")["items"]

    bad = items.pop(place)
    assert isinstance(bad, Malformed)
    assert (bad.path, items) == (("items", place, *path), [json.loads(one) for one in good])
    assert message in bad.message


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b'{"items": NaN}',
        b'{"items": {"a": NaN}}',
        b'{"items": [NaN]',
        b'{"items": [NaN}]',
        b'{"items": [{"a": NaN]}',
        b'{"items": ["a, NaN]}',
        b'{"items": [NaN], "items": []}',
        b'{"items": [1], "other": NaN}',
        b'{"other": {"items": [NaN]}, "items": [1, 2]}',
        b'{"other": {"items": [NaN]}}',
        b'{"items": [' + b"[" * MAX_TOKENS + b"]" * MAX_TOKENS + b"]}",
    ],
)
def test_a_body_that_is_malformed_outside_of_its_items_is_refused_whole(body: bytes) -> None:
    with pytest.raises(Malformed):
        loads_items(body, "items")


malformed = st.sampled_from([item for item, _, _ in BAD_ITEMS[:-1] if item])


@given(st.lists(malformed | documents.map(lambda one: json.dumps(one).encode()), max_size=4))
def test_each_item_is_parsed_as_it_would_be_alone(texts: list[bytes]) -> None:
    items = loads_items(b'{"items": [' + b",".join(texts) + b"]}", "items")["items"]

    for text, item in zip(texts, items, strict=True):
        try:
            [alone] = loads(b'{"items": [' + text + b"]}")["items"]
        except Malformed:
            assert isinstance(item, Malformed)
        else:
            assert item == alone


@given(st.binary(max_size=200))
def test_the_parser_of_items_raises_nothing_but_malformed(body: bytes) -> None:
    with suppress(Malformed):
        assert isinstance(loads_items(b'{"items": [' + body, "items"), dict)


def test_a_byte_order_mark_before_the_document_is_ignored() -> None:
    assert loads(b'\xef\xbb\xbf{"a": "\xef\xbb\xbfb"}') == {"a": "\ufeffb"}
    [bad, good] = loads_items(b'\xef\xbb\xbf{"items": [NaN, 1]}', "items")["items"]
    assert (bad.message, good) == ("NaN is not JSON.", 1)
