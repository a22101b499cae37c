"""What a person may see and do, and where.

Every page, act, socket and admin page uses this. The rights come from role grants (grants.py). A superuser has all of
them. Staff status opens the admin site, and gives no right. (docs/adr/0048-roles-are-granted-for-places.md)
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from django.contrib.auth.backends import BaseBackend
from django.db.models import Q

from signals.types import Target
from smartops.people.grants import RoleGrant
from smartops.people.roles import EVERYWHERE, RIGHTS, Place, Right, Role

__all__ = ["EVERYTHING", "EVERYWHERE", "NOTHING", "Access", "Place", "Right", "Role", "access_by", "access_of"]


NOTHING = Q(pk__in=())
EVERYTHING = ~NOTHING  # an empty Q would vanish from `Q() | other`


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

    def sees(self, cluster: str = "", namespace: str = "") -> bool:
        """Whether `affecting` finds a row with these values."""
        return any(place.overlaps(cluster, namespace) for place in self.places.get(Right.READ, ()))

    def visible(self, *, cluster: str = "cluster", namespace: str = "namespace") -> Q:
        """The condition for rows that the person may see. `cluster` and `namespace` are the names of their columns, for
        instance `workload__namespace`."""
        return self.where(Right.READ, cluster=cluster, namespace=namespace)

    def where(self, right: Right, *, cluster: str = "cluster", namespace: str = "namespace") -> Q:
        """The condition for rows in places where the person has the right, with all of their scope. A name of "" stands
        for a column that the rows do not have: they are about all clusters, or all namespaces."""
        found = NOTHING
        for place in self.places.get(right, ()):
            if place == EVERYWHERE:
                return EVERYTHING
            named = {cluster: place.cluster, namespace: place.namespace}
            if not named.get(""):
                found |= Q(**{column: value for column, value in named.items() if value})
        return found

    def affecting(self, *, cluster: str = "cluster", namespace: str = "namespace") -> Q:
        """The condition for rows with a scope, whose empty columns mean any: those that affect something that the
        person may see. A name of "" stands for a column that the rows do not have."""
        found = NOTHING
        for place in self.places.get(Right.READ, ()):
            named = {cluster: place.cluster, namespace: place.namespace}
            scope = {f"{column}__in": ("", value) for column, value in named.items() if column and value}
            if not scope:
                return EVERYTHING
            found |= Q(**scope)
        return found

    def namespaces(self, right: Right) -> frozenset[str] | None:
        """Those in which the person has the right in all clusters; None for all of them."""
        names = {place.namespace for place in self.places.get(right, ()) if not place.cluster}
        return None if "" in names else frozenset(names)


def access_by(grants: Iterable[tuple[str, str, str]]) -> Access:
    """`grants`: role, cluster and namespace of each. Places that another one contains are left out."""
    places: dict[Right, set[Place]] = {}
    for role, cluster, namespace in grants:
        for right in RIGHTS[Role(role)]:
            places.setdefault(right, set()).add(Place(cluster, namespace))
    return Access({right: _widest(places[right]) for right in Right if right in places})


def _widest(places: set[Place]) -> tuple[Place, ...]:
    kept = [one for one in places if not any(other != one and other.contains(*_names(one)) for other in places)]
    return tuple(sorted(kept, key=_names))


def _names(place: Place) -> tuple[str, str]:
    return place.cluster, place.namespace


ALL = access_by([(Role.ADMIN, "", "")])


def access_of(user: Any) -> Access:
    """No access for an anonymous or inactive account. One query, none for a superuser. Each call reads the grants
    again: a request keeps the result as `request.access`."""
    if user is None or not user.is_active:
        return Access()
    if user.is_superuser:
        return ALL
    grants = RoleGrant.objects.filter(Q(user=user.pk) | Q(group__user=user.pk)).order_by()
    return access_by(grants.values_list("role", "cluster", "namespace"))


def access_in(request: Any) -> Access:
    """That of the person behind a request, read once."""
    if not hasattr(request, "access"):
        request.access = access_of(request.user)
    access: Access = request.access
    return access


class RoleBackend(BaseBackend):
    """`user.has_perm("smartops.approve", target)`, for packages that cannot import this one: whether the account has
    the right where the target is; without a target, anywhere."""

    def has_perm(self, user_obj: Any, perm: str, obj: Any = None) -> bool:
        app, _, name = perm.partition(".")
        if app != "smartops" or name not in set(Right):
            return False
        access = access_of(user_obj)
        return access.has(Right(name)) if obj is None else access.may_change(Right(name), obj)
