"""A strict JSON parser: RFC 8259, without what other parsers read differently or PostgreSQL cannot store. Pure."""

import json
from collections import Counter
from collections.abc import Iterator
from math import isinf
from typing import Any, NoReturn

MAX_DEPTH = 32
SMALLEST, LARGEST = -(2**63), 2**63 - 1  # PostgreSQL's bigint


class Malformed(ValueError):  # noqa: N818 - it is a response
    """`path` leads to the value that is refused; it is empty if the body is not JSON."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message
        self.path: tuple[str | int, ...] = ()


def loads(body: bytes) -> dict[str, Any]:
    """Parse the body as a JSON object. Raises Malformed if it is not one, or if other parsers could read it
    differently."""
    try:
        document = json.loads(
            body.decode(),
            object_pairs_hook=_object,
            parse_constant=_constant,
            parse_int=_integer,
            parse_float=_float,
        )
    except UnicodeDecodeError as error:
        raise Malformed(f"The body is not UTF-8 at byte {error.start}.") from None
    except json.JSONDecodeError as error:
        raise Malformed(f"The body is not JSON: {error.msg} at line {error.lineno}, column {error.colno}.") from None
    except RecursionError:
        raise Malformed(f"The body is nested deeper than {MAX_DEPTH} levels.") from None
    if not isinstance(document, dict):
        raise Malformed("The body must be a JSON object.")
    # Raw control characters and surrogates were refused above. They can only occur as an escape.
    _check(document, 1, escapes=b"\\u" in body)
    return document


def _check(container: dict[str, Any] | list[Any], depth: int, escapes: bool) -> None:
    if depth > MAX_DEPTH:
        raise Malformed(f"The value is nested deeper than {MAX_DEPTH} levels.")
    for key, value in _entries(container):
        try:
            if escapes and isinstance(key, str):
                _check_text(key)
            if isinstance(value, dict | list):
                _check(value, depth + 1, escapes)
            elif escapes and isinstance(value, str):
                _check_text(value)
        except Malformed as error:
            error.path = (_printable(key), *error.path)
            raise


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


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    document = dict(pairs)
    if len(document) != len(pairs):
        counts = Counter(name for name, _ in pairs)
        error = Malformed("The name occurs twice.")
        error.path = (_printable(counts.most_common(1)[0][0]),)
        raise error
    return document


def _constant(text: str) -> NoReturn:
    raise Malformed(f"{text} is not JSON.")


def _integer(text: str) -> int:
    if len(text) > 20 or not SMALLEST <= (value := int(text)) <= LARGEST:
        raise Malformed(f"The number {_short(text)} is too large: integers have 64 bits.")
    return value


def _float(text: str) -> float:
    value = float(text)
    if isinf(value):
        raise Malformed(f"The number {_short(text)} is too large: numbers have double precision.")
    return value


def _short(text: str) -> str:
    return text if len(text) <= 24 else f"{text[:20]}…"
