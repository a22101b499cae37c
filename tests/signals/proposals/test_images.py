"""Images of changes, and the patches that put them back. The sandbox's strategic merge is the judge."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from signals.proposals import inverse, patch, restart, scale
from signals.proposals.images import UNCHANGED, Images, Irreversible, images, values_at
from signals.proposals.images import inverse as inverse_patch
from signals.proposals.patch_allowlist import forbidden
from signals.proposals.paths import Item, join, split
from signals.types import ActionType
from smartops.dev.sandbox.strategic import strategic_merge

POD = "spec.template.spec"
SPREAD = f"{POD}.topologySpreadConstraints"
LIMIT = f"{POD}.containers[name=main].resources.limits.memory"
MAPS = ("metadata", "labels", "annotations", "nodeSelector", "resources", "limits", "requests")


def some(optional: dict[str, st.SearchStrategy[Any]], **required: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.fixed_dictionaries(required, optional=optional)


def workloads(nothing: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    """What actions may change of a Deployment; with `nothing` as None, patches of it."""
    words, numbers = st.sampled_from(["a", "b"]), st.integers(1, 9)
    names = st.dictionaries(st.sampled_from(["team", "a.b/c", 'q"]']), words | nothing, max_size=2)
    amounts = some({"memory": st.sampled_from(["1Gi", "2Gi"]), "cpu": st.sampled_from(["1", "500m"])})
    resources = some({"limits": amounts, "requests": amounts})
    containers = st.lists(st.sampled_from(["main", "proxy"]), min_size=1, unique=True).map(sorted)
    terms = st.lists(
        st.builds(lambda key: {"matchExpressions": [{"key": key, "operator": "Exists"}]}, words), max_size=2
    )
    required = "requiredDuringSchedulingIgnoredDuringExecution"
    nodes = some({required: some({}, nodeSelectorTerms=terms) | nothing})
    affinity = some({"nodeAffinity": nodes | nothing, "podAffinity": some({required: terms | nothing}) | nothing})
    item = some({"maxSkew": numbers, "minDomains": numbers | nothing}, topologyKey=st.sampled_from(["zone", "host"]))
    rolling = some({"maxSurge": numbers | nothing, "maxUnavailable": numbers | nothing})
    pod = {
        "terminationGracePeriodSeconds": numbers | nothing,
        "nodeSelector": names,
        "tolerations": st.lists(st.builds(lambda key: {"key": key}, words), max_size=2) | nothing,
        "affinity": affinity | nothing,
        "topologySpreadConstraints": st.lists(item, unique_by=lambda one: one["topologyKey"], max_size=2) | nothing,
    }
    listed = containers.flatmap(
        lambda found: st.tuples(*(some({}, name=st.just(one), resources=resources) for one in found)).map(list)
    )
    spec = {
        "replicas": numbers,
        "minReadySeconds": numbers | nothing,
        "strategy": some({"type": st.just("RollingUpdate"), "rollingUpdate": rolling | nothing}) | nothing,
    }
    template = some({"metadata": some({"annotations": names})}, spec=some(pod, containers=listed))
    return some({"metadata": some({"labels": names})}, spec=some(spec, template=template))


DOCUMENTS = workloads(st.nothing()).filter(
    lambda one: len(one["spec"]["template"]["spec"]["containers"]) == 2  # a patch adds no container
)
PATCHES = workloads(st.none())


def resources(**limits: str) -> dict[str, Any]:
    container = {"name": "main", "resources": {"limits": limits}}
    return {"spec": {"template": {"spec": {"containers": [container]}}}}


def pruned(value: Any, name: str = "") -> Any:
    """Without the empty maps that an API server does not store."""
    if isinstance(value, list):
        return [pruned(one) for one in value]
    if not isinstance(value, dict):
        return value
    inner = {key: pruned(one, key) for key, one in value.items()}
    return {key: one for key, one in inner.items() if one != {} or key not in MAPS}


def as_stored(image: dict[str, Any]) -> dict[str, Any]:
    """PostgreSQL keeps no order of keys."""
    return dict(sorted(image.items(), key=lambda one: (len(one[0]), one[0])))


def by_key(image: Any) -> dict[str, Any]:
    """Neither the order of constraints nor that of their keys matters."""
    return {
        path: {item["topologyKey"]: item for item in one} if path == SPREAD and one else one
        for path, one in image.items()
    }


@given(DOCUMENTS, PATCHES)
def test_the_inverse_of_a_change_leads_back(document: dict[str, Any], change: dict[str, Any]) -> None:
    changed = strategic_merge(document, change)
    planned = images(change, document)
    paths = {**planned.before, **planned.after}
    known = Images(as_stored(dict(planned.before)), as_stored(dict(values_at(paths, changed))))

    back = inverse_patch(change, known)

    assert by_key(planned.after) == by_key(known.after)
    assert values_at(paths, document) == planned.before
    if back is UNCHANGED:
        assert pruned(changed) == pruned(document)
    elif isinstance(back, Irreversible):
        assert back.why.startswith(SPREAD)
    else:
        assert pruned(strategic_merge(changed, back)) == pruned(document)


@given(DOCUMENTS, PATCHES)
def test_an_inverse_is_a_patch_that_may_be_requested_or_says_why_there_is_none(
    document: dict[str, Any], change: dict[str, Any]
) -> None:
    known = images(change, document)

    found = inverse(ActionType.PATCH, {"patch": change}, known)

    if isinstance(found, Irreversible):
        assert found.why
    else:
        assert forbidden(found["patch"], (), ("main", "proxy")) is None


@pytest.mark.parametrize(
    ("change", "before", "after", "restored"),
    [
        ({"spec": {"replicas": 5}}, {"spec.replicas": 2}, {"spec.replicas": 5}, {"spec": {"replicas": 2}}),
        ({"spec": {"minReadySeconds": 5}}, {}, {"spec.minReadySeconds": 5}, {"spec": {"minReadySeconds": None}}),
        (
            {"metadata": {"labels": {"team": None}}},
            {"metadata.labels.team": "a"},
            {},
            {"metadata": {"labels": {"team": "a"}}},
        ),
        (
            {"spec": {"template": {"spec": {"affinity": {"podAffinity": {"x": []}}}}}},
            {},
            {f"{POD}.affinity": {"podAffinity": {"x": []}}},
            {"spec": {"template": {"spec": {"affinity": None}}}},
        ),
        (
            resources(memory="2Gi"),
            {LIMIT: "1Gi"},
            {LIMIT: "2Gi"},
            resources(memory="1Gi"),
        ),
        ({"spec": {"template": {"spec": {"volumes": []}}}}, {}, {}, UNCHANGED),
    ],
    ids=["changed", "added", "removed", "an object is created", "an item of a list", "left out of pods"],
)  # fmt: skip
def test_an_image_has_the_fields_of_the_patch(
    change: dict[str, Any], before: dict[str, Any], after: dict[str, Any], restored: Any
) -> None:
    container = {"name": "main", "resources": {"limits": {"memory": "1Gi"}}}
    document = {
        "metadata": {"labels": {"team": "a"}},
        "spec": {"replicas": 2, "template": {"spec": {"containers": [container]}}},
    }

    known = images(change, document)

    assert known == Images(before, after)
    assert inverse_patch(change, known) == restored


def spread(**skews: int | None) -> dict[str, Any]:
    items = [{"topologyKey": key} | ({"maxSkew": skew} if skew else {}) for key, skew in skews.items()]
    return {"spec": {"template": {"spec": {"topologySpreadConstraints": items}}}}


@pytest.mark.parametrize(
    ("document", "change", "restored"),
    [
        ({"spec": {"replicas": 2}}, {"spec": {"replicas": 2}}, UNCHANGED),
        (spread(zone=1, host=1), spread(zone=2), spread(zone=1, host=None)),
        (
            {"spec": {"template": {"spec": {}}}},
            spread(zone=2),
            {"spec": {"template": {"spec": {"topologySpreadConstraints": None}}}},
        ),
        (resources(memory="1Gi", cpu="1"), resources(memory="2Gi", cpu="2"), resources(memory="1Gi", cpu="1")),
    ],
    ids=["nothing changes", "one of two constraints", "the first constraints", "two fields of a container"],
)
def test_a_change_of_list_items_is_put_back(document: dict[str, Any], change: dict[str, Any], restored: Any) -> None:
    known = images(change, document)
    changed = strategic_merge(document, change)

    back = inverse_patch(change, known)

    assert back == restored
    assert by_key(known.after) == by_key(values_at(known.after, changed))
    assert isinstance(back, Irreversible) or by_key(values_at(known.after, strategic_merge(changed, back))) == by_key(
        known.before
    )


def test_defaults_of_the_api_server_are_put_back_too() -> None:
    change = {"spec": {"strategy": None}}
    before = {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1}}
    answer = {
        "spec": {"strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "25%", "maxUnavailable": 1}}}
    }
    known = Images(images(change, {"spec": {"strategy": before}}).before, values_at(["spec.strategy"], answer))

    assert inverse_patch(change, known) == {
        "spec": {"strategy": {"rollingUpdate": {"maxSurge": 1, "maxUnavailable": None}}}
    }


@pytest.mark.parametrize(
    ("before", "after", "why"),
    [
        ([{"topologyKey": "zone"}], [{"topologyKey": "zone"}, {"topologyKey": "host"}], "constraint of host"),
        ([{"topologyKey": "zone"}] * 2, [{"topologyKey": "zone", "maxSkew": 2}], "cannot distinguish"),
        ([{"topologyKey": "zone"}], [{"topologyKey": "zone", "maxSkew": 2}] * 2, "cannot distinguish"),
    ],
)
def test_constraints_that_a_patch_cannot_restore_say_so(before: Any, after: Any, why: str) -> None:
    found = inverse_patch({}, Images({SPREAD: before}, {SPREAD: after}))

    assert isinstance(found, Irreversible)
    assert why in found.why


@pytest.mark.parametrize(
    ("type_", "change", "known", "expected"),
    [
        (ActionType.SCALE, {"replicas": 5}, Images({"spec.replicas": 2}, {"spec.replicas": 5}), {"replicas": 2}),
        (ActionType.SCALE, {"replicas": 2}, Images({"spec.replicas": 2}, {"spec.replicas": 2}), "No field has changed"),
        (ActionType.SCALE, {"replicas": 5}, Images({}, {"spec.replicas": 5}), "is unknown"),
        (ActionType.RESTART, {"value": "a"}, Images({}, {restart.FIELD: "a"}), "has replaced the pods"),
        (
            ActionType.PATCH,
            {"patch": {"spec": {"replicas": 5}}},
            Images({"spec.replicas": 2}, {"spec.replicas": 5}),
            {"patch": {"spec": {"replicas": 2}}},
        ),
        (
            ActionType.PATCH,
            {"patch": {"spec": {"template": {"spec": {"containers": [{"name": "main", "resources": {}}]}}}}},
            Images({}, {LIMIT: "1Gi"}),
            "null would remove the bound",
        ),
        (
            ActionType.PATCH,
            {"patch": {}},
            Images({SPREAD: [{"topologyKey": "zone"}]}, {SPREAD: [{"topologyKey": "host"}]}),
            "constraint of host",
        ),
    ],
)
def test_each_type_has_an_inverse_or_says_why_there_is_none(
    type_: ActionType, change: Any, known: Images, expected: Any
) -> None:
    found = inverse(type_, change, known)

    if isinstance(found, Irreversible):
        assert expected in found.why
    else:
        assert found == expected


@pytest.mark.parametrize(
    ("half", "change", "expected"),
    [
        (scale, {"replicas": 3}, {"spec.replicas": 3}),
        (restart, {"value": "0199-a"}, {restart.FIELD: "0199-a"}),
        (patch, {"patch": {"spec": {"paused": True}}}, {"spec.paused": True}),
    ],
)
def test_each_type_is_a_patch_of_its_fields(half: Any, change: Any, expected: dict[str, Any]) -> None:
    assert images(half.patch(change), {}) == Images({}, expected)


@given(st.lists(st.text(min_size=1, max_size=5) | st.sampled_from(["spec", "a.b/c", "x]"]), min_size=1, max_size=5))
def test_a_path_is_split_into_the_names_that_it_was_joined_of(names: list[str]) -> None:
    path = "spec"
    for name in names:
        path = join(path, f"f:{name}")

    assert split(path) == ("spec", *names)


def test_a_path_names_the_item_of_a_list() -> None:
    assert split(LIMIT)[3:5] == ("containers", Item("name", "main"))
    assert values_at([LIMIT], {"spec": {"template": {"spec": {"containers": [{"name": "other"}]}}}}) == {}
    assert values_at([LIMIT], {"spec": {"template": {"spec": {"containers": None}}}}) == {}
