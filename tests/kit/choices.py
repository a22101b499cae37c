"""Strategies that draw an object at once. With a draw for each field, hypothesis takes a hundred times as long to draw
the inputs of a decision as the guardrails take to decide."""

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from hypothesis import strategies as st

Made = TypeVar("Made")
Other = TypeVar("Other")
MOST = 256  # one byte chooses a value
# Enough for the largest object. All are of one size: hypothesis tries one in the place of another, and those of the
# wrong size would become zeros.
SIZE = 80
BYTES = st.binary(min_size=SIZE, max_size=SIZE)


def choices(make: Callable[..., Made], **values: Sequence[object]) -> st.SearchStrategy[Made]:
    """What `make` makes of one of the values of each argument. It shrinks to the first ones."""
    return several(make, 1, 1, **values).map(lambda made: made[0])


def several(
    make: Callable[..., Made], fewest: int, most: int, **values: Sequence[object]
) -> st.SearchStrategy[tuple[Made, ...]]:
    """From `fewest` to `most` of them."""
    assert all(0 < len(of) <= MOST for of in values.values())
    names, size = tuple(values), len(values)
    assert 1 + most * size <= SIZE, "the object needs more bytes than SIZE"

    def of(drawn: bytes) -> tuple[Made, ...]:
        count = fewest + drawn[0] % (most - fewest + 1)
        places = [drawn[start : start + size] for start in range(1, 1 + count * size, size)]
        return tuple(
            make(**{name: values[name][place % len(values[name])] for name, place in zip(names, one, strict=True)})
            for one in places
        )

    return BYTES.map(of)


def mostly(usual: object, *others: object) -> list[Any]:
    """The usual one five times as often as all others together. If each of twenty facts spoke against a change half of
    the time, all changes would be refused, and a property would try nothing else."""
    return [*[usual] * 5 * len(others), *others]


def usually(usual: st.SearchStrategy[Made], other: st.SearchStrategy[Other]) -> st.SearchStrategy[Made | Other]:
    return st.sampled_from(mostly(usual, other)).flatmap(lambda one: one)


def or_none(values: Sequence[Made]) -> list[Made | None]:
    """None, half of the time."""
    return [*[None] * len(values), *values]
