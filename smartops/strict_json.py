"""A strict JSON parser: RFC 8259, without what other parsers read differently or PostgreSQL cannot store. Pure."""

import json
import re
from codecs import BOM_UTF8
from collections import Counter
from collections.abc import Iterator
from itertools import islice
from math import isinf
from typing import Any

MAX_DEPTH = 32
MAX_TOKENS = 1_000_000  # of a malformed body: it is divided in Python
SMALLEST, LARGEST = -(2**63), 2**63 - 1  # PostgreSQL's bigint
_TOKEN = re.compile(rb'"(?:[^"\\]|\\.)*+"|[][{},"]', re.DOTALL)


class Malformed(ValueError):  # noqa: N818 - it is a response
    """`path` leads to the value that is refused; it is empty if the body is not JSON."""

    def __init__(self, message: str, path: tuple[str | int, ...] = ()) -> None:
        super().__init__(message)
        self.message, self.path = message, path


def loads(body: bytes, what: str = "body") -> dict[str, Any]:
    """Parse the body as a JSON object. Raises Malformed if it is not one, or if other parsers could read it
    differently. `what`: how messages call it."""
    document = _parse(body.removeprefix(BOM_UTF8), what, depth=1)  # RFC 8259, 8.1: it may be ignored
    if not isinstance(document, dict):
        raise Malformed(f"The {what} must be a JSON object.")
    return document


def loads_items(body: bytes, name: str) -> dict[str, Any]:
    """As `loads`, but each item of the list `name` is parsed on its own. A malformed one is replaced by its Malformed.
    Raises Malformed if anything else of the body is malformed."""
    try:
        return loads(body)
    except Malformed as error:
        divided = _divide(body.removeprefix(BOM_UTF8), name)
        if divided is None:
            raise
        rest, items = divided
        document = loads(rest)
        if document.get(name) != [None] * len(items):  # it is another list of this name
            raise error from None
    document[name] = [_item(item, (name, index)) for index, item in enumerate(items)]
    return document


def _parse(text: bytes, what: str, depth: int) -> Any:
    """`depth` of the value, if it is an object or a list: 1 for the body."""
    try:
        value = json.loads(
            text.decode(),
            object_pairs_hook=_object,
            parse_constant=_constant,
            parse_int=_integer,
            parse_float=_float,
        )
    except UnicodeDecodeError as error:
        raise Malformed(f"The {what} is not UTF-8 at byte {error.start}.") from None
    except json.JSONDecodeError as error:
        raise Malformed(f"The {what} is not JSON: {error.msg} at line {error.lineno}, column {error.colno}.") from None
    except RecursionError:
        raise Malformed(f"The {what} is nested deeper than {MAX_DEPTH} levels.") from None
    # Raw control characters and surrogates were refused above. They can only occur as an escape.
    _check(value, depth, escapes=b"\\u" in text)
    return value


def _item(text: bytes, path: tuple[str | int, ...]) -> Any:
    try:
        return _parse(text, "item", depth=len(path) + 1)
    except Malformed as error:
        return Malformed(error.message, (*path, *error.path))


def _divide(body: bytes, name: str) -> tuple[bytes, list[bytes]] | None:
    """The body with `null` in place of each item of its first list `name`, and the texts of the items. None if there is
    no such list, or if its brackets and quotes do not match: then nobody can say where an item ends."""
    head = re.search(rb"%s\s*:\s*\[" % re.escape(json.dumps(name).encode()), body)
    if head is None:
        return None
    items, begin, closing = list[bytes](), head.end(), list[bytes]()
    for token in islice(_TOKEN.finditer(body, begin), MAX_TOKENS):
        match token[0]:
            case b"{":
                closing.append(b"}")
            case b"[":
                closing.append(b"]")
            case b"," if not closing:
                items.append(body[begin : token.start()])
                begin = token.end()
            case b"]" if not closing:
                items.append(body[begin : token.start()])
                nulls = b",".join([b"null"] * len(items))
                return body[: head.end()] + nulls + body[token.start() :], items
            case b"]" | b"}" as bracket if not closing or closing.pop() != bracket:
                return None
            case b'"':  # it is not closed
                return None
    return None


def _check(value: Any, depth: int, escapes: bool) -> None:
    """Raises the first Malformed within the value, with its path."""
    kind = type(value)
    if kind is dict or kind is list:
        if depth > MAX_DEPTH:
            raise Malformed(f"The value is nested deeper than {MAX_DEPTH} levels.")
        for key, inner in _entries(value):
            try:
                if escapes and isinstance(key, str):
                    _check_text(key)
                _check(inner, depth + 1, escapes)
            except Malformed as error:
                raise Malformed(error.message, (_printable(key), *error.path)) from None
    elif kind is str:
        if escapes:
            _check_text(value)
    elif kind is Malformed:
        raise value


def _entries(container: dict[str, Any] | list[Any]) -> Iterator[tuple[str | int, Any]]:
    yield from container.items() if isinstance(container, dict) else enumerate(container)


def _check_text(text: str) -> None:
    if "\0" in text:
        raise Malformed("The text contains a NUL character.")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise Malformed("The text contains an unpaired surrogate.") from None


def _printable(key: str | int) -> str | int:
    return key if isinstance(key, int) else key.encode(errors="replace").decode().replace("\0", "?")


# A hook does not know the path of its value. It returns what is wrong with it, and `_check` adds the path.


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any] | Malformed:
    document = dict(pairs)
    if len(document) != len(pairs):
        counts = Counter(name for name, _ in pairs)
        return Malformed("The name occurs twice.", (_printable(counts.most_common(1)[0][0]),))
    return document


def _constant(text: str) -> Malformed:
    return Malformed(f"{text} is not JSON.")


def _integer(text: str) -> int | Malformed:
    if len(text) > 20 or not SMALLEST <= (value := int(text)) <= LARGEST:
        return Malformed(f"The number {_short(text)} is too large: integers have 64 bits.")
    return value


def _float(text: str) -> float | Malformed:
    value = float(text)
    if isinf(value):
        return Malformed(f"The number {_short(text)} is too large: numbers have double precision.")
    return value


def _short(text: str) -> str:
    return text if len(text) <= 24 else f"{text[:20]}…"
