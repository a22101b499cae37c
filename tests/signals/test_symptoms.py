"""Symptoms compare without regard to case, separators and surrounding space."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from signals.symptoms import SymptomMatch, similarity, symptom_key, symptom_matches
from tests.kit.signals import root_cause


@pytest.mark.parametrize(
    ("one", "other", "equal"),
    [
        ("memory_leak", "Memory Leak", True),
        ("memory_leak", "memory-leak", True),
        ("memory_leak", "MemoryLeak", True),
        ("memory_leak", "  MEMORY__LEAK\t", True),
        ("memory_leak", "memory\u00a0leak", True),
        ("memory_leak", "memory\u2011leak", True),
        ("memory_leak", "memory.leak", True),
        ("memory_leak", "memory_leaks", False),
        ("Straße", "STRASSE", True),
        ("\uff4d\uff45\uff4d\uff4f\uff52\uff59", "memory", True),
        ("http-503", "HTTP503", True),
        ("disk 1 11", "disk-1-11", True),
        ("disk 1 11", "disk 11 1", False),
        ("cpu>90%", "cpu<90%", False),
        ("-", "_", False),
        ("-", " - ", True),
    ],
)
def test_spellings_of_one_symptom_are_equal(one: str, other: str, equal: bool) -> None:
    assert (symptom_key(one) == symptom_key(other)) is equal
    assert symptom_matches(SymptomMatch.EQUAL, one, other) is equal
    assert symptom_matches(SymptomMatch.ONE_OF, f"x, {one},", other) is equal


@pytest.mark.parametrize("spelling", ["Memory Leak", "memory-leak", "MEMORY_LEAK", "MemoryLeak"])
def test_one_problem_stays_one_problem_however_its_symptom_is_spelled(spelling: str) -> None:
    plain = root_cause("erp", "memory_leak")
    assert replace(plain, symptom=spelling).fingerprint == plain.fingerprint


@pytest.mark.parametrize("pattern", ["memory_.*", "memory-leak", "Memory Leak|OOM", "memory[ _-]?leak", "memory.leak"])
@pytest.mark.parametrize("spelling", ["Memory Leak", "memory-leak", "MEMORY_LEAK", " memory_leak "])
def test_a_pattern_matches_any_spelling(pattern: str, spelling: str) -> None:
    assert symptom_matches(SymptomMatch.PATTERN, pattern, spelling)


@pytest.mark.parametrize("pattern", ["memory", "leak", "memory_leak.", "(", ""])
def test_a_pattern_matches_the_whole_symptom(pattern: str) -> None:
    assert not symptom_matches(SymptomMatch.PATTERN, pattern, "memory_leak")


@given(st.text("aB19 _-ß", max_size=20))
def test_the_key_of_a_key_is_itself(text: str) -> None:
    assert symptom_key(symptom_key(text)) == symptom_key(text)


def test_similar_symptoms_are_known() -> None:
    assert similarity("memory leak", "memory_leek") > similarity("memory leak", "latency")
    assert similarity("MemoryLeak", "memory_leak") == 1.0
