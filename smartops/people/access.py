"""What a person may see and do, and where.

Every page, act, socket and admin page asks here. Accounts with staff status have every right everywhere.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from django.db.models import Q

from signals.types import Target


class Right(StrEnum):
    READ = "read"  # see signals, decisions, actions, workloads and settings
    ACT = "act"  # freeze and lift, settle, cancel, retry, hold, clear a cooldown, request direct actions
    APPROVE = "approve"  # approve or reject what waits for a person
    TUNE = "tune"  # change limits, modes, rules and aliases
    ADMINISTER = "administer"  # people, tokens and role grants


@dataclass(frozen=True, slots=True)
class Place:
    """A namespace of a cluster; an empty field means all of them."""

    cluster: str = ""
    namespace: str = ""

    def contains(self, cluster: str, namespace: str) -> bool:
        """Whether all of that place is in this one."""
        return self.cluster in ("", cluster) and self.namespace in ("", namespace)


EVERYWHERE = Place()


@dataclass(frozen=True, slots=True)
class Access:
    """The places in which a person has each right."""

    places: Mapping[Right, tuple[Place, ...]] = field(default_factory=dict, hash=False)

    def may(self, right: Right, cluster: str = "", namespace: str = "") -> bool:
        """In a namespace; without its name in all of them, and without a cluster in all clusters."""
        return any(place.contains(cluster, namespace) for place in self.places.get(right, ()))

    def may_change(self, right: Right, target: Target) -> bool:
        return self.may(right, target.cluster, target.namespace)

    def has(self, right: Right) -> bool:
        """Anywhere at all."""
        return bool(self.places.get(right))

    def visible(self, *, cluster: str = "cluster", namespace: str = "namespace") -> Q:
        """The condition for rows that the person may see. `cluster` and `namespace` are the names of their columns, for
        instance `workload__namespace`."""
        return _within(self.places.get(Right.READ, ()), cluster, namespace)


def access_of(user: Any) -> Access:
    """No access for an anonymous or inactive account."""
    if user is None or not user.is_active or not user.is_staff:
        return Access()
    return Access(dict.fromkeys(Right, (EVERYWHERE,)))


def _within(places: Iterable[Place], cluster: str, namespace: str) -> Q:
    found = Q(pk__in=())
    for place in places:
        if place == EVERYWHERE:
            return Q()
        named = {cluster: place.cluster, namespace: place.namespace}
        found |= Q(**{column: value for column, value in named.items() if value})
    return found
