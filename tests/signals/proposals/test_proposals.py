"""The pure half of each action type: a table of each function, and what holds for all parameters."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from signals.proposals import PROPOSAL_TYPES, desired_replicas, scale_increase
from signals.proposals.paths import REPLICAS
from signals.types import ActionType, Origin, Proposal, Target

SCALE, RESTART, PATCH = (PROPOSAL_TYPES[type_] for type_ in (ActionType.SCALE, ActionType.RESTART, ActionType.PATCH))
MEMORY = {"containers": [{"name": "main", "resources": {"limits": {"memory": "1Gi"}}}]}
LIMIT = "spec.template.spec.containers[name=main].resources.limits.memory"
RESTART_FIELD = 'spec.template.metadata.annotations["smartops.io/restart"]'


def proposal(type_: ActionType, **params: Any) -> Proposal:
    return Proposal(type_, Target("default", "dev", "web"), Origin.DIRECT, params)


def patch(**patched: Any) -> dict[str, Any]:
    return {"patch": patched}


def test_every_action_type_has_its_pure_half() -> None:
    assert set(PROPOSAL_TYPES) == set(ActionType)


def test_the_kubernetes_events_are_named_in_the_past_tense() -> None:
    assert {type_: half.event for type_, half in PROPOSAL_TYPES.items()} == {
        ActionType.SCALE: "Scaled",
        ActionType.RESTART: "Restarted",
        ActionType.PATCH: "Patched",
    }


@pytest.mark.parametrize(
    ("type_", "params", "accepted"),
    [
        ("SCALE", {"delta": 1}, True),
        ("SCALE", {"delta": -2}, True),
        ("SCALE", {"delta": 0}, False),
        ("SCALE", {"delta": True}, False),
        ("SCALE", {"delta": 1.0}, False),
        ("SCALE", {"replicas": 0}, True),
        ("SCALE", {"replicas": 4}, True),
        ("SCALE", {"replicas": -1}, False),
        ("SCALE", {"replicas": False}, False),
        ("SCALE", {"replicas": 4, "delta": 1}, False),
        ("SCALE", {"replicas": "4"}, False),
        ("SCALE", {"replicas": 4, "direction": "up"}, True),
        ("SCALE", {"replicas": 4, "direction": "down"}, True),
        ("SCALE", {"replicas": 4, "direction": "any"}, True),
        ("SCALE", {"replicas": 4, "direction": "sideways"}, False),
        ("SCALE", {"replicas": 4, "direction": None}, False),
        ("SCALE", {"replicas": 4, "direction": ["up"]}, False),
        ("SCALE", {"delta": 1, "direction": "up"}, False),
        ("SCALE", {"direction": "up"}, False),
        ("SCALE", {}, False),
        ("SCALE", [], False),
        ("RESTART", {}, True),
        ("RESTART", {"delta": 1}, False),
        ("RESTART", None, False),
        ("PATCH", {"patch": {"metadata": {}}}, True),
        ("PATCH", {"patch": {}}, False),
        ("PATCH", {"patch": {"spec": {}}, "more": 1}, False),
        ("PATCH", {"patch": {"spec": {"replicas": 3}}, "direction": "down"}, True),
        ("PATCH", {"patch": {"spec": {"replicas": 3}}, "direction": "back"}, False),
        ("PATCH", {"patch": {"spec": {"paused": True}}, "direction": "down"}, False),
        ("PATCH", {"patch": "spec"}, False),
        ("PATCH", {}, False),
    ],
)
def test_parameters_fit_their_action_type(type_: str, params: Any, accepted: bool) -> None:
    assert (PROPOSAL_TYPES[ActionType(type_)].problem(params) == "") is accepted


@pytest.mark.parametrize("type_", ActionType)
def test_a_problem_says_what_the_parameters_look_like(type_: ActionType) -> None:
    assert PROPOSAL_TYPES[type_].problem([]).startswith(f"{type_} takes ")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 9) | st.floats(allow_nan=False) | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=8,
)
SPECS = st.fixed_dictionaries(
    {},
    optional={"replicas": JSON, "paused": JSON, "template": JSON | st.just({"spec": MEMORY}), "strategy": JSON},
)
PATCHES = JSON | st.fixed_dictionaries({}, optional={"metadata": JSON, "spec": JSON | SPECS})
PARAMS = (
    JSON
    | st.fixed_dictionaries({"patch": PATCHES})
    | st.sampled_from(["delta", "replicas"]).flatmap(lambda name: st.fixed_dictionaries({name: JSON}))
)


@given(st.sampled_from(ActionType), PARAMS)
def test_any_json_has_a_problem_or_is_answered_by_all_functions(type_: ActionType, params: Any) -> None:
    half = PROPOSAL_TYPES[type_]
    assert isinstance(half.refusal(params), str)
    if half.problem(params):
        return
    desired = half.replicas(params, 2)
    assert desired is None or type(desired) is int
    assert desired is None or REPLICAS in half.fields(params)
    assert isinstance(half.waits_for_pods(params), bool)
    assert half.describe(params)


@given(PATCHES.filter(lambda patch: isinstance(patch, dict) and bool(patch)))
def test_a_patch_that_may_be_made_names_what_it_changes(patched: dict[str, Any]) -> None:
    params = {"patch": patched}
    if not PATCH.refusal(params):
        assert PATCH.fields(params)
        assert PATCH.done({"replicas": 2}, params).endswith(PATCH.fields(params)[-1])
        assert not PATCH.problem(params)


@given(st.integers(0, 100), st.integers(-100, 100).filter(bool))
def test_a_delta_leads_to_the_same_number_as_its_sum(current: int, delta: int) -> None:
    relative = proposal(ActionType.SCALE, delta=delta)
    absolute = proposal(ActionType.SCALE, replicas=current + delta)

    assert desired_replicas(relative, current) == desired_replicas(absolute, None) == current + delta
    assert scale_increase(relative, current) == scale_increase(absolute, current) == max(0, delta)


@pytest.mark.parametrize(
    ("half", "params", "path"),
    [
        (SCALE, {"replicas": 3}, ""),
        (RESTART, {}, ""),
        (PATCH, patch(spec={"replicas": 3}), ""),
        (PATCH, patch(spec={"selector": {}}), "spec.selector: this field must not be patched"),
        (PATCH, patch(), "patch: it changes nothing"),
        (PATCH, {"patch": "spec"}, "patch: it must be an object"),
        (PATCH, None, "patch: it must be an object"),
    ],
)
def test_only_a_patch_outside_of_the_allowlist_is_refused(half: Any, params: Any, path: str) -> None:
    assert half.refusal(params) == path


@pytest.mark.parametrize(
    ("half", "params", "fields"),
    [
        (SCALE, {"delta": 1}, (REPLICAS,)),
        (RESTART, {}, (RESTART_FIELD,)),
        (PATCH, patch(spec={"replicas": 3, "template": {"spec": MEMORY}}), (REPLICAS, LIMIT)),
        (PATCH, patch(metadata={"labels": {"a.b/c": None}}), ('metadata.labels["a.b/c"]',)),
        (PATCH, patch(spec={"strategy": {}}), ()),
        (PATCH, {"patch": "spec"}, ()),
    ],
)
def test_the_changed_fields_are_paths(half: Any, params: Any, fields: tuple[str, ...]) -> None:
    assert half.fields(params) == fields


@pytest.mark.parametrize(
    ("half", "params", "current", "replicas"),
    [
        (SCALE, {"delta": 2}, 3, 5),
        (SCALE, {"delta": -4}, 3, -1),
        (SCALE, {"delta": 2}, None, None),
        (SCALE, {"replicas": 4}, None, 4),
        (SCALE, {"replicas": 0}, 3, 0),
        (RESTART, {}, 3, None),
        (PATCH, patch(spec={"replicas": 4}), None, 4),
        (PATCH, patch(spec={"replicas": True}), 3, None),
        (PATCH, patch(spec={"replicas": None}), 3, None),
        (PATCH, patch(spec=None), 3, None),
        (PATCH, {"patch": []}, 3, None),
    ],
)
def test_the_replicas_that_a_change_leads_to(half: Any, params: Any, current: int | None, replicas: int | None) -> None:
    assert half.replicas(params, current) == replicas


@pytest.mark.parametrize(
    ("type_", "params", "increase"),
    [
        (ActionType.SCALE, {"replicas": 5}, 3),
        (ActionType.SCALE, {"replicas": 1}, 0),
        (ActionType.PATCH, patch(spec={"replicas": 4}), 2),
        (ActionType.PATCH, patch(spec={"paused": True}), 0),
        (ActionType.RESTART, {}, 0),
    ],
)
def test_the_increase_is_what_is_added_to_the_present_replicas(
    type_: ActionType, params: dict[str, Any], increase: int
) -> None:
    assert scale_increase(proposal(type_, **params), 2) == increase


@pytest.mark.parametrize(
    ("half", "params", "waits"),
    [
        (SCALE, {"delta": 1}, False),
        (RESTART, {}, True),
        (PATCH, patch(spec={"template": {"spec": MEMORY}}), True),
        (PATCH, patch(spec={"template": {"spec": MEMORY}, "paused": False}), False),
        (PATCH, patch(spec={"replicas": 4}), False),
    ],
)
def test_a_change_of_the_pod_template_waits_for_pods(half: Any, params: Any, waits: bool) -> None:
    assert half.waits_for_pods(params) is waits


@pytest.mark.parametrize(
    ("half", "params", "words"),
    [
        (SCALE, {"delta": 1}, "Scale by +1"),
        (SCALE, {"delta": -2}, "Scale by -2"),
        (SCALE, {"replicas": 4}, "Scale to 4"),
        (SCALE, {"replicas": 4, "direction": "any"}, "Scale to 4"),
        (SCALE, {"replicas": 4, "direction": "down"}, "Scale down to 4"),
        (RESTART, {}, "Restart all pods"),
        (PATCH, patch(spec={"replicas": 3}), "Patch spec.replicas"),
        (PATCH, patch(spec={"replicas": 3, "paused": True, "minReadySeconds": 4}), "Patch spec.replicas and 2 more"),
        (PATCH, patch(), "Patch nothing"),
    ],
)
def test_a_proposal_is_described_in_the_imperative(half: Any, params: Any, words: str) -> None:
    assert half.describe(params) == words


@pytest.mark.parametrize(
    ("half", "change", "words"),
    [
        (SCALE, {"replicas": 3}, "Scaled from 2 to 3 replicas"),
        (RESTART, {"value": "0199-a"}, "Restarted all pods"),
        (
            PATCH,
            patch(spec={"template": {"spec": MEMORY}}, metadata={"labels": {"übung": None}}),
            f"Patched {LIMIT}, metadata.labels.übung",
        ),
    ],
)
def test_an_applied_change_is_reported_in_the_past_tense(half: Any, change: Any, words: str) -> None:
    assert half.done({"replicas": 2, "available": 2}, change) == words
