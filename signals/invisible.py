"""The characters that nobody sees. With them, two texts that look the same would be different."""

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


def invisible_problem(text: str) -> str:
    """Why a text is refused that would look like another one. Empty if all of it can be seen."""
    hidden = invisible_character(text)
    return f"It contains the invisible character {hidden}." if hidden else ""
