import pytest

from smartops.people.roles import EVERYWHERE, Place

SHOP = Place("production", "shop")
OF_ANY_CLUSTER = Place(namespace="shop")
CLUSTER = Place("production")


@pytest.mark.parametrize(
    ("place", "other", "contains", "overlaps"),
    [
        (EVERYWHERE, EVERYWHERE, True, True),
        (EVERYWHERE, SHOP, True, True),
        (SHOP, EVERYWHERE, False, True),
        (SHOP, SHOP, True, True),
        (SHOP, Place("production", "erp"), False, False),
        (SHOP, Place("staging", "shop"), False, False),
        (CLUSTER, SHOP, True, True),
        (CLUSTER, Place("staging"), False, False),
        (OF_ANY_CLUSTER, SHOP, True, True),
        (OF_ANY_CLUSTER, CLUSTER, False, True),
        (SHOP, OF_ANY_CLUSTER, False, True),
    ],
)
def test_a_place_contains_or_overlaps_another(place: Place, other: Place, contains: bool, overlaps: bool) -> None:
    assert place.contains(other.cluster, other.namespace) == contains
    assert place.overlaps(other.cluster, other.namespace) == overlaps


@pytest.mark.parametrize(
    ("place", "words"),
    [
        (EVERYWHERE, "all clusters"),
        (CLUSTER, "cluster production"),
        (OF_ANY_CLUSTER, "namespace shop of all clusters"),
        (SHOP, "namespace shop of cluster production"),
    ],
)
def test_a_place_has_words(place: Place, words: str) -> None:
    assert place.words == words
