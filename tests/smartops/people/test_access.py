"""Rights: what grants add up to, in values and in the conditions of queries."""

from itertools import product
from typing import Any, cast

import pytest
from django.contrib.auth.models import AnonymousUser, Group, User
from django.db import IntegrityError, transaction
from hypothesis import given
from hypothesis import strategies as st

from guardrails.models import Freeze
from orchestrator.models import Workload
from signals.types import Target
from smartops.models import RoleGrant
from smartops.people.access import ALL, Access, Place, Right, Role, access_by, access_of
from smartops.people.roles import RIGHTS
from tests.kit.people import grant, person

SHOP, PAY, EAST, EVERYWHERE = Place("east", "shop"), Place("", "pay"), Place("east"), Place()
NAMES = ["", "east", "west"], ["", "shop", "pay"]
PLACES = [Place(*names) for names in product(*NAMES)]
grants = st.lists(st.tuples(st.sampled_from(Role), *map(st.sampled_from, NAMES)), max_size=5)


@pytest.mark.parametrize(
    ("place", "inside", "overlapping", "outside"),
    [
        (EVERYWHERE, ["/", "east/", "/shop", "east/shop"], ["/", "east/", "/shop", "east/shop"], []),
        (EAST, ["east/", "east/shop"], ["/", "/shop", "east/"], ["west/", "west/shop"]),
        (PAY, ["/pay", "east/pay"], ["/", "east/", "/pay"], ["/shop", "east/shop"]),
        (SHOP, ["east/shop"], ["/", "east/", "/shop"], ["west/", "/pay", "east/pay", "west/shop"]),
    ],
)
def test_a_place_contains_the_narrower_and_overlaps_the_wider(
    place: Place, inside: list[str], overlapping: list[str], outside: list[str]
) -> None:
    names = [tuple(one.split("/")) for one in inside]
    assert all(place.contains(*one) and place.overlaps(*one) for one in names)
    assert all(place.overlaps(*one.split("/")) for one in overlapping)
    assert not any(place.contains(*one.split("/")) for one in {*overlapping} - {*inside})
    assert not any(place.contains(*one.split("/")) or place.overlaps(*one.split("/")) for one in outside)


@pytest.mark.parametrize(
    ("place", "words"),
    [
        (EVERYWHERE, "all clusters"),
        (EAST, "cluster east"),
        (PAY, "namespace pay of all clusters"),
        (SHOP, "namespace shop of cluster east"),
    ],
)
def test_a_place_has_words(place: Place, words: str) -> None:
    assert place.words == words


@pytest.mark.parametrize(
    ("role", "rights"),
    [
        (Role.VIEWER, {Right.READ}),
        (Role.OPERATOR, {Right.READ, Right.ACT, Right.TUNE}),
        (Role.APPROVER, {Right.READ, Right.APPROVE}),
        (Role.ADMIN, {*Right}),
    ],
)
def test_a_role_has_its_rights_in_its_place_and_nowhere_else(role: Role, rights: set[Right]) -> None:
    access = access_by([(role, "east", "shop")])
    assert {right for right in Right if access.may(right, "east", "shop")} == rights
    assert {right for right in Right if access.may_change(right, Target("east", "shop", "web"))} == rights
    assert {right for right in Right if access.has(right)} == rights
    for cluster, namespace in (("east", "pay"), ("west", "shop"), ("east", ""), ("", "shop"), ("", "")):
        assert not any(access.may(right, cluster, namespace) for right in Right)


def test_every_role_has_its_rights() -> None:
    assert RIGHTS.keys() == {*Role}
    assert all(Right.READ in rights for rights in RIGHTS.values())


@pytest.mark.hypothesis
@given(grants)
def test_grants_add_up_and_the_narrower_ones_change_nothing(given: list[tuple[Role, str, str]]) -> None:
    access = access_by(given)
    for right, place in product(Right, PLACES):
        holders = [Place(*where) for role, *where in given if right in RIGHTS[role]]
        names = (place.cluster, place.namespace)
        assert access.may(right, *names) == any(one.contains(*names) for one in holders)
        if right is Right.READ:
            assert access.sees(*names) == any(one.overlaps(*names) for one in holders)
    for right, places in access.places.items():
        pairs = product(places, places)
        assert not any(one != other and one.contains(other.cluster, other.namespace) for one, other in pairs), right


GIVEN: list[list[tuple[str, str, str]]] = [
    [],
    [("viewer", "", "")],
    [("viewer", "east", "")],
    [("viewer", "", "pay")],
    [("viewer", "east", "shop")],
    [("viewer", "east", "shop"), ("operator", "west", "pay")],
    [("viewer", "east", ""), ("admin", "", "pay")],
]


@pytest.mark.django_db
@pytest.mark.parametrize("given", GIVEN, ids=str)
def test_the_conditions_of_queries_find_what_the_values_allow(given: list[tuple[str, str, str]]) -> None:
    access = access_by(given)
    places = [{"cluster": one.cluster, "namespace": one.namespace} for one in PLACES]
    scopes = [Freeze.objects.create(**place, reason="x", by="user:x") for place in places]
    workloads = [
        Workload.objects.create(cluster=cluster, namespace=namespace, name="web", kind="Deployment")
        for cluster, namespace in product(NAMES[0][1:], NAMES[1][1:])
    ]

    affecting = set(Freeze.objects.filter(access.affecting()))
    assert affecting == {one for one in scopes if access.sees(one.cluster, one.namespace)}
    assert set(Workload.objects.filter(access.visible())) == {
        one for one in workloads if access.may(Right.READ, one.cluster, one.namespace)
    }
    assert set(Workload.objects.filter(access.where(Right.ACT))) == {
        one for one in workloads if access.may(Right.ACT, one.cluster, one.namespace)
    }
    of_cluster = set(Workload.objects.filter(access.affecting(namespace="")))
    assert of_cluster == {one for one in workloads if access.sees(one.cluster)}


@pytest.mark.django_db
def test_the_groups_of_the_installation_have_their_roles_everywhere() -> None:
    for role in Role:
        member = User.objects.create_user(f"of-{role}")
        member.groups.add(Group.objects.get(name=role))
        access = access_of(member)
        assert {right for right in Right if access.may(right)} == RIGHTS[role]


@pytest.mark.django_db
def test_grants_of_the_account_and_of_its_groups_add_up_in_one_query(django_assert_num_queries: Any) -> None:
    rita = person("rita", Role.VIEWER, EAST)
    team = Group.objects.create(name="team")
    rita.groups.add(team, Group.objects.create(name="another"))
    RoleGrant.objects.create(group=team, role=Role.OPERATOR, cluster="east", namespace="shop")
    person("olaf", Role.ADMIN)
    with django_assert_num_queries(1):
        access = access_of(rita)
    assert access == access_by([("viewer", "east", ""), ("operator", "east", "shop")])


@pytest.mark.django_db
def test_a_superuser_may_do_everything_without_a_query(django_assert_num_queries: Any) -> None:
    root = User.objects.create_superuser("root")
    with django_assert_num_queries(0):
        assert access_of(root) == ALL
    assert all(ALL.may(right) for right in Right)


@pytest.mark.django_db
@pytest.mark.parametrize("fields", [{"is_active": False}, {"is_active": False, "is_superuser": True}])
def test_an_inactive_account_has_no_right(fields: Any) -> None:
    assert access_of(person("rita", Role.ADMIN, **fields)) == Access()


@pytest.mark.django_db
def test_staff_status_and_permissions_of_django_give_no_right() -> None:
    assert access_of(person("rita", is_staff=True)) == Access()
    assert access_of(AnonymousUser()) == access_of(None) == Access()


@pytest.mark.django_db
def test_a_package_below_asks_by_the_permissions_of_the_account() -> None:
    rita = person("rita", Role.APPROVER, SHOP)
    target, other = cast(Any, Target("east", "shop", "web")), cast(Any, Target("east", "pay", "web"))
    assert rita.has_perm("smartops.approve", target)
    assert rita.has_perm("smartops.approve")
    assert not rita.has_perm("smartops.approve", other)
    assert not rita.has_perm("smartops.act", target)
    assert not rita.has_perm("smartops.view_token")
    assert not rita.has_perm("orchestrator.approve")


@pytest.mark.django_db
@pytest.mark.parametrize("subjects", [(), ("user", "group")])
def test_a_grant_has_one_subject(subjects: tuple[str, ...]) -> None:
    found: dict[str, Any] = {"user": person("rita"), "group": Group.objects.get(name="viewer")}
    with pytest.raises(IntegrityError, match="role_grant_has_one_subject"), transaction.atomic():
        RoleGrant.objects.create(role=Role.VIEWER, **{name: found[name] for name in subjects})


@pytest.mark.django_db
def test_a_grant_is_not_repeated() -> None:
    rita = person("rita", Role.VIEWER, SHOP)
    with pytest.raises(IntegrityError, match="one_role_grant_of_user"), transaction.atomic():
        grant(rita, Role.VIEWER, SHOP)
    grant(rita, Role.VIEWER, EAST)
