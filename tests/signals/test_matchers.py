"""Matchers on labels, in the syntax of Alertmanager."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from signals.invisible import invisible_character
from signals.matchers import (
    Matcher,
    NotMatchersError,
    Operator,
    contradiction,
    implied,
    matchers_problem,
    parse_matchers,
    unmet,
)

EQUAL, NOT_EQUAL, MATCHES, DOES_NOT_MATCH = Operator


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", []),
        ("  ", []),
        ("{}", []),
        ("team=payments", [Matcher("team", EQUAL, "payments")]),
        ('{team="payments"}', [Matcher("team", EQUAL, "payments")]),
        (
            ' a = "x" , b!=y,c=~"u|v", "d e"!~w.* , ',
            [
                Matcher("a", EQUAL, "x"),
                Matcher("b", NOT_EQUAL, "y"),
                Matcher("c", MATCHES, "u|v"),
                Matcher("d e", DOES_NOT_MATCH, "w.*"),
            ],
        ),
        ('a=""', [Matcher("a", EQUAL, "")]),
        ('a="b,c=}{"', [Matcher("a", EQUAL, "b,c=}{")]),
        (r'a="\"\\\n\t"', [Matcher("a", EQUAL, '"\\\n\t')]),
        (r'a=~"x\.y"', [Matcher("a", MATCHES, r"x\.y")]),
        ("app.kubernetes.io/name=web", [Matcher("app.kubernetes.io/name", EQUAL, "web")]),
    ],
)
def test_matchers_are_read_as_alertmanager_reads_them(text: str, found: list[Matcher]) -> None:
    assert list(parse_matchers(text)) == found
    assert matchers_problem(text) == ""


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("team", "One of = != =~ !~ is expected after “team”, and not the end of the text."),
        ("team>x", "One of = != =~ !~"),
        ("team==x", "A value is expected after “team=”, and not “=” in column 6."),
        ("team=", 'A value is expected after “team=”, and not the end of the text. Write "" for none.'),
        ("team=a b", 'A comma is expected after team="a", and not “b” in column 8. Put quotes around'),
        ("team=a; b=c", 'A comma is expected after team="a;"'),
        ("=a", "The name of a label is expected, and not “=” in column 1."),
        (",", "The name of a label is expected, and not “,” in column 1."),
        ('""=a', "The name of a label is expected"),
        ('team="a', "The quote in column 6 is not closed."),
        ("{team=a", "The closing brace is missing."),
        ("{", "The closing brace is missing."),
        ("team=a}", "A comma is expected after"),
        ("team=~(", "The value of “team” is a pattern. It is not a regular expression of RE2"),
        (r'team=~"(a)\1"', "The value of “team” is a pattern. It is not a regular expression of RE2"),
        ('team="a\u200b"', "U+200B (ZERO WIDTH SPACE)"),
        ("a=" + "b" * 2048, "at most 2048 characters; these have 2050"),
        (",".join(f"a{number}=b" for number in range(33)), "at most 32 matchers; these are 33"),
    ],
)
def test_a_mistake_is_named_with_its_place(text: str, problem: str) -> None:
    assert problem in matchers_problem(text)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("a=b, a!=c, a=~b, c=d", ""),
        ("a=~b, a=~c", ""),  # two patterns are not compared
        ("a=~b, c=d, a!~b", 'No signal meets both a=~"b" and a!~"b".'),
        ("a=b, a=c", 'No signal meets both a="b" and a="c".'),
        ("a=b, a!=b", 'No signal meets both a="b" and a!="b".'),
        ('a=b, a=~"c|d"', 'No signal meets both a="b" and a=~"c|d".'),
        ("a!~b.*, a=bc", 'No signal meets both a="bc" and a!~"b.*".'),
    ],
)
def test_two_matchers_that_exclude_each_other_are_named(text: str, problem: str) -> None:
    assert contradiction(parse_matchers(text)) == problem


def test_a_text_with_a_mistake_has_no_matchers() -> None:
    with pytest.raises(NotMatchersError):
        parse_matchers("a")


@pytest.mark.parametrize(
    ("text", "labels", "held"),
    [
        ("a=b", {"a": "b"}, True),
        ("a=b", {"a": "B"}, False),
        ("a=b", {}, False),
        ('a=""', {}, True),  # a label that is missing is empty
        ("a!=b", {}, True),
        ("a!=b", {"a": "b"}, False),
        ("a=~b.*", {"a": "bc"}, True),
        ("a=~b", {"a": "bc"}, False),  # the whole value
        ("a=~.*", {}, True),
        ("a=~.+", {}, False),
        ("a!~b.*", {"a": "bc"}, False),
        ("a!~b", {"a": "bc"}, True),
        ("a=~.*", {"a": "x\ny"}, True),
    ],
)
def test_a_matcher_holds_as_in_alertmanager(text: str, labels: dict[str, str], held: bool) -> None:
    assert (unmet(parse_matchers(text), labels) == []) is held


PRINTED = st.characters(categories=["L", "M", "N", "P", "S"], include_characters=" ")
MATCHERS = st.builds(
    Matcher, st.text(PRINTED, min_size=1, max_size=5), st.sampled_from([EQUAL, NOT_EQUAL]), st.text(PRINTED, max_size=8)
).filter(lambda one: (one.label + one.value).isprintable() and not invisible_character(one.label + one.value))


@given(st.lists(MATCHERS, max_size=4))
def test_matchers_can_be_written_and_read_again(matchers: list[Matcher]) -> None:
    quoted = [f'"{one.label}"' if not one.label.isalnum() else one.label for one in matchers]
    text = ", ".join(label + str(one)[len(one.label) :] for label, one in zip(quoted, matchers, strict=True))
    if not any(character in one.label for one in matchers for character in '"\\'):
        assert list(parse_matchers(text)) == matchers


@pytest.mark.parametrize(
    ("matcher", "others", "certain"),
    [("a=b", "a=b, c=d", True), ("a=~b.*", "a=bc", True), ("a=~b.*", "a=~bc", False), ("a=b", "", False)],
)
def test_a_matcher_is_implied_by_an_equal_value(matcher: str, others: str, certain: bool) -> None:
    assert implied(parse_matchers(matcher)[0], parse_matchers(others)) is certain


def test_matchers_may_be_on_several_lines_as_a_browser_sends_them() -> None:
    assert parse_matchers("a=b,\r\nc=d\r\n") == parse_matchers("a=b, c=d")
