"""Conditions on labels, in the syntax of Alertmanager: `team="payments", severity=~"warning|critical"`. Pure."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache

from signals import patterns
from signals.invisible import invisible_character

MAX_TEXT = 2048  # characters
MAX_MATCHERS = 32
_SPACE = re.compile(r"\s*")
_WORD = re.compile(r"""[^\s{}!=~,"'`\\]+""")
_QUOTED = re.compile(r'"((?:[^"\\]|\\.)*)"', re.DOTALL)
_OPERATOR = re.compile(r"=~|!=|!~|=")
_ESCAPES = {r"\"": '"', r"\\": "\\", r"\n": "\n", r"\t": "\t"}


class Operator(StrEnum):
    EQUAL = "="
    NOT_EQUAL = "!="
    MATCHES = "=~"  # a regular expression of RE2 for the whole value
    DOES_NOT_MATCH = "!~"


@dataclass(frozen=True, slots=True)
class Matcher:
    """A label that a signal lacks has the empty value, as in Alertmanager."""

    label: str
    operator: Operator
    value: str

    def holds(self, value: str) -> bool:
        exact = self.operator in (Operator.EQUAL, Operator.NOT_EQUAL)
        equal = value == self.value if exact else patterns.matches(self.value, value)
        return equal is (self.operator in (Operator.EQUAL, Operator.MATCHES))

    def __str__(self) -> str:
        value = self.value.replace("\\", "\\\\").replace('"', r"\"").replace("\n", r"\n")
        return f'{self.label}{self.operator}"{value}"'


class NotMatchersError(ValueError):
    """The text has a mistake; the message says where and which."""


def matchers_problem(text: str) -> str:
    """Why the text is no list of matchers. Empty if it is one."""
    try:
        parse_matchers(text)
    except NotMatchersError as error:
        return str(error)
    return ""


@lru_cache(maxsize=1024)
def parse_matchers(text: str) -> tuple[Matcher, ...]:
    """Divided by commas, in braces or without. An empty text has none. Raises NotMatchersError."""
    if len(text) > MAX_TEXT:
        raise NotMatchersError(f"The matchers have at most {MAX_TEXT} characters; these have {len(text)}.")
    if hidden := invisible_character(re.sub(r"[\t\r\n]", " ", text)):
        raise NotMatchersError(f"The matchers contain the invisible character {hidden}.")
    found = tuple(_matchers(text))
    if len(found) > MAX_MATCHERS:
        raise NotMatchersError(f"There are at most {MAX_MATCHERS} matchers; these are {len(found)}.")
    return found


def unmet(matchers: Sequence[Matcher], labels: Mapping[str, str]) -> list[Matcher]:
    """The matchers that do not hold for these labels."""
    return [one for one in matchers if not one.holds(labels.get(one.label, ""))]


def contradiction(matchers: Sequence[Matcher]) -> str:
    """Two matchers that no label meets both. Empty if none was found: two different patterns are not compared."""
    for one in matchers:
        opposite = Matcher(one.label, Operator.DOES_NOT_MATCH, one.value)
        if one.operator is Operator.MATCHES and opposite in matchers:
            return f"No signal meets both {one} and {opposite}."
    for equal in (one for one in matchers if one.operator is Operator.EQUAL):
        for other in matchers:
            if other.label == equal.label and not other.holds(equal.value):
                return f"No signal meets both {equal} and {other}."
    return ""


def implied(matcher: Matcher, matchers: Sequence[Matcher]) -> bool:
    """Whether labels that meet all of `matchers` meet this one, too. False if that cannot be said."""
    equal = (one for one in matchers if one.operator is Operator.EQUAL and one.label == matcher.label)
    return matcher in matchers or any(matcher.holds(one.value) for one in equal)


def _matchers(text: str) -> Iterator[Matcher]:
    place, end = 0, len(text.rstrip())
    place = _skip(text, place)
    if text[place : place + 1] == "{":
        if text[end - 1] != "}" or end - 1 == place:
            raise NotMatchersError("The closing brace is missing.")
        place, end = _skip(text, place + 1), end - 1
    while place < end:
        matcher, place = _matcher(text, place, end)
        yield matcher
        place = _skip(text, place)
        if place < end and text[place] != ",":
            raise NotMatchersError(
                f"A comma is expected after {matcher}, and not {_found(text, place, end)}. Put quotes around a value "
                "that has spaces, commas or braces."
            )
        place = _skip(text, place + 1)


def _matcher(text: str, place: int, end: int) -> tuple[Matcher, int]:
    label, after = _text(text, place, end)
    if not label:
        raise NotMatchersError(f"The name of a label is expected, and not {_found(text, place, end)}.")
    place = _skip(text, after)
    found = _OPERATOR.match(text, place, end)
    if found is None:
        wrong = _found(text, place, end)
        raise NotMatchersError(f"One of = != =~ !~ is expected after “{label}”, and not {wrong}.")
    operator, place = Operator(found[0]), _skip(text, found.end())
    value, after = _text(text, place, end)
    if value is None:
        wrong = _found(text, place, end)
        raise NotMatchersError(f'A value is expected after “{label}{operator}”, and not {wrong}. Write "" for none.')
    if operator in (Operator.MATCHES, Operator.DOES_NOT_MATCH) and (problem := patterns.pattern_problem(value)):
        raise NotMatchersError(f"The value of “{label}” is a pattern. {problem}")
    return Matcher(label, operator, value), after


def _text(text: str, place: int, end: int) -> tuple[str | None, int]:
    """A word, or a text in double quotes; None if there is neither."""
    if found := _WORD.match(text, place, end):
        return found[0], found.end()
    if found := _QUOTED.match(text, place, end):
        # A backslash before another character stays: it is part of a pattern.
        return re.sub(r"\\.", lambda escape: _ESCAPES.get(escape[0], escape[0]), found[1], flags=re.DOTALL), found.end()
    if text[place : place + 1] == '"':
        raise NotMatchersError(f"The quote in column {place + 1} is not closed.")
    return None, place


def _skip(text: str, place: int) -> int:
    found = _SPACE.match(text, place)
    assert found is not None, "it matches the empty text"
    return found.end()


def _found(text: str, place: int, end: int) -> str:
    return f"“{text[place]}” in column {place + 1}" if place < end else "the end of the text"
