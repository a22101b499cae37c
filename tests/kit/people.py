"""People with roles, and the groups of a new installation."""

from importlib import import_module
from typing import Any

from django.apps import apps
from django.contrib.auth.models import Group, User

from smartops.models import RoleGrant
from smartops.people.roles import EVERYWHERE, Place, Role


def install_roles() -> None:
    """As the migration does: a test with real transactions ends with empty tables."""
    import_module("smartops.migrations.0002_roles").install(apps, None)


def grant(user: User, role: Role | str, place: Place = EVERYWHERE) -> RoleGrant:
    return RoleGrant.objects.create(user=user, role=role, cluster=place.cluster, namespace=place.namespace)


def person(name: str, role: Role | str | None = None, place: Place = EVERYWHERE, **fields: Any) -> User:
    """An account with a role in one place. Without staff status, unless `fields` have it."""
    user = User.objects.create_user(name, **fields)
    if role is not None:
        grant(user, role, place)
    return user


def lose_roles() -> None:
    """Nobody has a role any more."""
    for row in RoleGrant.objects.all():
        row.delete()
    for group in Group.objects.all():
        group.user_set.clear()
