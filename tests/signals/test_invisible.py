"""A name that a person could mistake for another one is refused."""

import pytest

from signals.invisible import imitation_problem


@pytest.mark.parametrize(
    "name",
    [
        "admin",
        "prometheus-1",
        "caf\u00e9",
        "\u043c\u043e\u043d\u0438\u0442\u043e\u0440",
        "\u76d1\u63a7 detector",
        "\u03a9",
    ],
)
def test_a_name_of_one_script_is_accepted(name: str) -> None:
    assert imitation_problem(name) == ""


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("\u0430dmin", "(U+0430, Cyrillic) and “d” (U+0064, Latin)"),
        ("admi\u03bd", "Write it in one script."),
        ("\uff41dmin", "Write “admin”."),
        ("\U0001d41admin", "Write “admin”."),
        ("ad\u200bmin", "invisible character U+200B"),
    ],
)
def test_a_name_that_imitates_another_is_refused_and_says_how(name: str, said: str) -> None:
    assert said in imitation_problem(name)
