"""Constraints that tables of several packages have."""

from functools import reduce
from operator import and_

from django.db.models import CheckConstraint, Q

from signals.actors import PATTERN


def are_actors(name: str, *columns: str) -> CheckConstraint:
    """Refuses a row in which one of the columns is no actor (signals/actors.py)."""
    return CheckConstraint(
        condition=reduce(and_, (Q(**{f"{column}__regex": PATTERN}) for column in columns)), name=name
    )
