"""Roles, the rights that each has, and the places for which a role is granted."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum


class Right(StrEnum):
    READ = "read"  # see signals, decisions, actions, workloads and settings
    ACT = "act"  # freeze and lift, settle, cancel, retry, hold, clear a cooldown, request direct actions
    APPROVE = "approve"  # approve or reject what waits for a person
    TUNE = "tune"  # change limits, modes, rules and aliases
    ADMINISTER = "administer"  # people, tokens and role grants


class Role(StrEnum):
    VIEWER = "viewer"
    OPERATOR = "operator"
    APPROVER = "approver"
    ADMIN = "admin"


RIGHTS: Mapping[Role, frozenset[Right]] = {
    Role.VIEWER: frozenset({Right.READ}),
    Role.OPERATOR: frozenset({Right.READ, Right.ACT, Right.TUNE}),
    Role.APPROVER: frozenset({Right.READ, Right.APPROVE}),
    Role.ADMIN: frozenset(Right),
}


@dataclass(frozen=True, slots=True)
class Place:
    """A namespace of a cluster; an empty field means all of them."""

    cluster: str = ""
    namespace: str = ""

    def contains(self, cluster: str, namespace: str) -> bool:
        """Whether all of that place is in this one."""
        return self.cluster in ("", cluster) and self.namespace in ("", namespace)

    def overlaps(self, cluster: str, namespace: str) -> bool:
        """Whether some namespace is in both."""
        pairs = ((self.cluster, cluster), (self.namespace, namespace))
        return all(own == other or "" in (own, other) for own, other in pairs)

    @property
    def words(self) -> str:
        """“namespace shop of cluster production”, for instance."""
        cluster = f"cluster {self.cluster}" if self.cluster else "all clusters"
        return f"namespace {self.namespace} of {cluster}" if self.namespace else cluster


EVERYWHERE = Place()
