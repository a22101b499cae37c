"""Which roles the groups of a person give, as SMARTOPS_OIDC_ROLES says. Pure.

The setting is a JSON object. A key is the name of a group; its value is a grant, or a list of them:

    {"platform": ["admin", "staff"], "sre": "operator@production", "shop-leads": ["viewer", "approver@production/shop"]}

A grant is a role, after `@` a cluster, and after `/` a namespace. What is missing means all of them, as the cluster in
`viewer@/shop`. `staff` is no role: it opens the admin site.
"""

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from signals.names import name_problems
from smartops.people.roles import Place, Role

STAFF = "staff"
Grant = tuple[Role, Place]
_UNSTORABLE = re.compile("[\0-\x1f\x7f-\x9f\ud800-\udfff]")  # control characters, and halves of characters


@dataclass(frozen=True, slots=True)
class GroupRoles:
    """What each group gives."""

    grants: Mapping[str, frozenset[Grant]] = field(default_factory=dict, hash=False)
    staff: frozenset[str] = frozenset()

    def granted(self, groups: Iterable[str]) -> frozenset[Grant]:
        return frozenset[Grant]().union(*(self.grants.get(group, frozenset()) for group in groups))

    def is_staff(self, groups: Iterable[str]) -> bool:
        return not self.staff.isdisjoint(groups)


def group_roles(text: str) -> GroupRoles:
    """Raises ValueError, with a sentence that says which group or grant is wrong."""
    try:
        given = json.loads(text or "{}")
    except ValueError as error:
        raise ValueError(f"it is not JSON: {error}") from None
    if not isinstance(given, dict):
        raise ValueError('it is not a JSON object of groups, as {"sre": ["operator"]}')
    words = {group: [value] if isinstance(value, str) else value for group, value in given.items()}
    for group, value in words.items():
        if not isinstance(value, list) or not value or not all(isinstance(one, str) for one in value):
            raise ValueError(f"the value of the group “{group}” is not a grant or a list of grants")
    return GroupRoles(
        {group: frozenset(_grant(group, one) for one in value if one != STAFF) for group, value in words.items()},
        frozenset(group for group, value in words.items() if STAFF in value),
    )


def groups_in(claim: object) -> frozenset[str]:
    """The names in the value of the claim: a list of texts, or one text. Anything else names no group."""
    names = [claim] if isinstance(claim, str) else claim if isinstance(claim, list) else []
    return frozenset(name for name in names if isinstance(name, str) and name and not _UNSTORABLE.search(name))


def _grant(group: str, text: str) -> Grant:
    role, _, place = text.partition("@")
    cluster, _, namespace = place.partition("/")
    if role not in set(Role):
        raise ValueError(f"“{text}” of the group “{group}” names no role: {', '.join(Role)}, or {STAFF}")
    if text.endswith(("@", "/")):  # the name that a template left out would give the role everywhere
        raise ValueError(f"“{text}” of the group “{group}” ends before the name of a place")
    for problem in name_problems(cluster=cluster, namespace=namespace).values():
        raise ValueError(f"“{text}” of the group “{group}” names no place: {problem}")
    return Role(role), Place(cluster, namespace)
