from time import perf_counter

import pytest

from signals.patterns import MAX_PATTERN, escaped, matches, pattern_problem


@pytest.mark.parametrize(
    ("pattern", "text", "expected"),
    [
        ("Tomcat01", "Tomcat01", True),
        ("Tomcat01", "tomcat01", False),
        ("(?i)Tomcat01", "tomcat01", True),
        ("Tomcat", "Tomcat01", False),
        ("omcat01", "Tomcat01", False),
        (r"Tomcat\d+", "Tomcat01", True),
        ("db_(orders|stock)_[0-9]+", "db_stock_3", True),
        ("a|b.*", "ab", False),
        ("a|b.*", "bc", True),
        (".*", "two\nlines", True),
        ("", "", True),
        ("", "x", False),
        ("Prüfung.", "Prüfung€", True),
        (".*", "\ud800", False),
        ("(", "(", False),
    ],
)
def test_a_pattern_matches_the_whole_text(pattern: str, text: str, expected: bool) -> None:
    assert matches(pattern, text) is expected


@pytest.mark.parametrize(
    ("pattern", "problem"),
    [
        ("a(", "missing ): a("),
        ("(?<=a)b", "invalid perl operator: (?<="),
        (r"(a)\1", r"invalid escape sequence: \1"),
        ("(a{1000}){1000}", "invalid repetition size: {1000}"),
        (r"(\pL{1,30}){1,33}", "pattern too large"),
        ("x" * (MAX_PATTERN + 1), "at most 512 characters; this one has 513"),
        ("\ud800", "U+D800"),
        ("a\u200bb", "It contains the invisible character U+200B (ZERO WIDTH SPACE)."),
    ],
)
def test_a_pattern_with_a_problem_has_a_sentence_about_it(pattern: str, problem: str) -> None:
    assert problem in pattern_problem(pattern)


@pytest.mark.parametrize("pattern", ["(a+)+", "(a|a)*b", "(.*.*.*.*)*x", "(?:a?){500}a{500}", "(x+x+)+y"])
def test_a_pattern_takes_linear_time_where_a_backtracking_engine_takes_exponential_time(pattern: str) -> None:
    assert pattern_problem(pattern) == ""
    begun = perf_counter()

    assert not matches(pattern, "a" * 10_000 + "x" * 100 + "!")

    assert perf_counter() - begun < 30  # the other engine would take for ever


@pytest.mark.parametrize("text", ["Tomcat01", "Checkout Service (v2)", "a.b*c", "Prüfung"])
def test_an_escaped_text_is_the_pattern_of_itself(text: str) -> None:
    assert matches(escaped(text), text)
    assert not matches(escaped(text), f"{text}x")
