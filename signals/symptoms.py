"""How symptoms compare: without regard to case, to separators and to the space around them. Pure."""

import re
import unicodedata
from difflib import SequenceMatcher
from enum import StrEnum
from functools import lru_cache

from signals import patterns

_SEPARATORS = re.compile(r"[\s_./:\-\u2010-\u2015]+")
_BETWEEN_DIGITS = re.compile(r"(?<=\d)_(?=\d)")


class SymptomMatch(StrEnum):
    """How the symptom of a rule is read."""

    EQUAL = "equal"
    ONE_OF = "one_of"  # several, divided by commas
    PATTERN = "pattern"  # a regular expression of RE2 for the whole symptom


@lru_cache(maxsize=4096)
def symptom_key(symptom: str) -> str:
    """Equal for symptoms that compare as equal: `Memory Leak`, `memory-leak`, `memory_leak` and `MemoryLeak`. Between
    two digits a separator counts: `disk 1 11` is not `disk 11 1`."""
    key = _BETWEEN_DIGITS.sub("\x1f", _words(symptom)).replace("_", "").replace("\x1f", "_")
    return key or symptom.strip()  # of separators only


def one_of(text: str) -> tuple[str, ...]:
    """The entries of a list that is divided by commas, without empty ones."""
    return tuple(filter(None, map(str.strip, text.split(","))))


def symptom_matches(match: SymptomMatch, wanted: str, symptom: str) -> bool:
    """Whether the condition `wanted` of a rule holds for the symptom of a signal."""
    if match is SymptomMatch.PATTERN:
        return _pattern_matches(wanted, symptom)
    known = one_of(wanted) if match is SymptomMatch.ONE_OF else (wanted,)
    return symptom_key(symptom) in map(symptom_key, known)


@lru_cache(maxsize=4096)
def similarity(one: str, other: str) -> float:
    """Of two symptoms, or of a symptom and a condition: 0 to 1."""
    return SequenceMatcher(None, symptom_key(one), symptom_key(other)).ratio()


@lru_cache(maxsize=4096)
def _pattern_matches(pattern: str, symptom: str) -> bool:
    """In any spelling of the symptom: as it was reported, and with `_`, `-`, a space or nothing between its words."""
    words = _words(symptom)
    spellings = (symptom.strip(), words, words.replace("_", "-"), words.replace("_", " "), symptom_key(symptom))
    return any(patterns.matches(f"(?i:{pattern})", spelling) for spelling in spellings)


def _words(symptom: str) -> str:
    """In small letters, with `_` between its words."""
    text = unicodedata.normalize("NFKC", symptom).casefold()
    return _SEPARATORS.sub("_", text).strip("_")
