"""Texts that look like others: with characters that nobody sees, or with letters of another script."""

import re
import unicodedata

# Control and format characters, halves of surrogate pairs, and the letters, signs and marks that have no shape.
_INVISIBLE = re.compile(
    "[\x00-\x1f\x7f-\x9f\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u2028-\u202e\u2060-\u206f"
    "\u2800\u3164\ud800-\udfff\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb\U0001d173-\U0001d17a\U000e0000-\U000e0fff]"
)


def invisible_character(text: str) -> str:
    """The first character that nobody sees, as `U+200B (ZERO WIDTH SPACE)`. Empty if there is none."""
    if (found := _INVISIBLE.search(text)) is None:
        return ""
    return f"U+{ord(found[0]):04X} ({unicodedata.name(found[0], 'a control character')})"


# Some of their letters have the shapes of others: the Cyrillic U+0430 that of the Latin a.
_SCRIPTS = ("LATIN", "GREEK", "COPTIC", "CYRILLIC", "ARMENIAN", "CHEROKEE", "LISU")


def imitation_problem(name: str) -> str:
    """Why a name is refused that could be mistaken for another one. Empty if its letters are of one script, and none of
    them is a variant of another letter, as those of mathematics and of full width are. Two names in different scripts
    are not compared."""
    if problem := invisible_problem(name):
        return problem
    if (plain := unicodedata.normalize("NFKC", name)) != name:
        return f"It contains variants of other characters. Write “{plain}”."
    letters = dict[str, str]()
    for letter in filter(str.isalpha, name):
        script = unicodedata.name(letter, "").partition(" ")[0]
        if script in _SCRIPTS:
            letters.setdefault(script, letter)
    if len(letters) < 2:
        return ""
    found = " and ".join(f"“{letter}” (U+{ord(letter):04X}, {script.title()})" for script, letter in letters.items())
    return f"It mixes letters of scripts that are mistaken for each other: {found}. Write it in one script."


def invisible_problem(text: str) -> str:
    """Why a text is refused that would look like another one. Empty if all of it can be seen."""
    hidden = invisible_character(text)
    return f"It contains the invisible character {hidden}." if hidden else ""
