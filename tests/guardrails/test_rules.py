"""A rule that would break a limit wherever it matches is rejected when it is saved."""

from typing import Any

import pytest
from django.core.exceptions import ValidationError

from guardrails.models import GuardrailSetting
from signals.models import Rule

pytestmark = pytest.mark.django_db


def rule(params: dict[str, Any], action_type: str = "SCALE", **fields: Any) -> Rule:
    return Rule(name="a", source="anomaly", symptom="error", action_type=action_type, params=params, **fields)


def rejection(one: Rule, field: str = "params") -> str:
    try:
        one.full_clean()
    except ValidationError as error:
        return error.message_dict[field][0]
    return ""


@pytest.mark.parametrize(
    ("params", "limit"),
    [
        ({"replicas": 8}, ""),
        ({"replicas": 9}, "max_replicas"),
        ({"replicas": 1, "direction": "down"}, ""),
        ({"replicas": 0, "direction": "down"}, "min_replicas"),
        ({"delta": 3}, ""),
        ({"delta": 4}, "max_scale_increase"),
        ({"delta": -3}, ""),
        ({"delta": -5}, "max_scale_decrease"),
    ],
)
def test_a_rule_is_held_to_the_defaults(params: dict[str, Any], limit: str) -> None:
    assert (limit in rejection(rule(params))) if limit else rejection(rule(params)) == ""


@pytest.mark.parametrize(
    ("patch", "limit"),
    [
        ({"spec": {"replicas": 9}}, "max_replicas"),
        ({"spec": {"replicas": 0}}, "min_replicas"),
        ({"spec": {"replicas": 4}}, ""),
        ({"spec": {"paused": True}}, ""),
    ],
)
def test_a_patch_of_the_replicas_is_held_to_the_same_limits(patch: dict[str, Any], limit: str) -> None:
    found = rejection(rule({"patch": patch}, "PATCH"))
    assert (limit in found) if limit else found == ""


def test_a_restart_has_no_limit_to_break() -> None:
    assert rejection(rule({}, "RESTART")) == ""


@pytest.mark.parametrize(
    ("params", "type_"),
    [({"delta": 1}, "SCALE"), ({"replicas": 2}, "SCALE"), ({"patch": {"spec": {"replicas": 2}}}, "PATCH")],
)
def test_no_rule_scales_daemon_sets(params: dict[str, Any], type_: str) -> None:
    why = "No such workload can be changed in this way: a DaemonSet has no spec.replicas"

    assert rejection(rule(params, type_, kind="DaemonSet"), "kind").startswith(why)
    assert rejection(rule(params, type_, kind="StatefulSet"), "kind") == ""
    assert rejection(rule(params, type_), "kind") == ""


def test_a_rule_of_an_unknown_kind_is_rejected() -> None:
    assert "'CronJob' is not a valid choice" in rejection(rule({}, "RESTART", kind="CronJob"), "kind")


@pytest.mark.parametrize(
    ("scope", "fields", "rejected"),
    [
        ({}, {}, False),  # everywhere
        ({"namespace": "shop"}, {}, False),  # there it may be allowed
        ({"namespace": "shop", "workload": "api"}, {}, False),
        ({"cluster": "c"}, {}, False),
        ({"namespace": "shop"}, {"namespace": "shop"}, False),
        ({"namespace": "shop"}, {"namespace": "left"}, True),
        ({"namespace": "shop", "workload": "api"}, {"namespace": "shop"}, False),
        ({"namespace": "shop", "workload": "api"}, {"namespace": "shop", "workload": "api"}, False),
        ({"namespace": "shop", "workload": "api"}, {"namespace": "shop", "workload": "web"}, True),
        ({"namespace": "shop", "workload": "api"}, {"workload": "web"}, True),
        ({"kind": "StatefulSet"}, {}, False),
        ({"kind": "StatefulSet"}, {"kind": "StatefulSet"}, False),
        ({"kind": "StatefulSet"}, {"kind": "Deployment"}, True),
    ],
)
def test_a_rule_is_saved_if_one_scope_that_it_matches_allows_it(
    scope: dict[str, str], fields: dict[str, str], rejected: bool
) -> None:
    GuardrailSetting.objects.create(
        **scope, max_replicas=12, min_replicas=0, max_scale_increase=9, max_scale_decrease=9
    )

    for params in ({"replicas": 12}, {"replicas": 0}, {"delta": 9}, {"delta": -9}):
        assert bool(rejection(rule(params, **fields))) is rejected


def test_a_stricter_setting_for_all_that_a_rule_matches_rejects_it() -> None:
    GuardrailSetting.objects.create(max_replicas=3)
    assert "max_replicas is 3" in rejection(rule({"replicas": 4}))
    assert "max_replicas is 3" in rejection(rule({"delta": 3}))  # a workload has one replica at least
    assert rejection(rule({"delta": 2})) == ""

    GuardrailSetting.objects.create(namespace="shop", max_replicas=5)
    assert rejection(rule({"replicas": 4})) == ""
    assert "max_replicas is 3" in rejection(rule({"replicas": 4}, namespace="left"))


def test_a_minimum_above_the_maximum_is_rejected() -> None:
    with pytest.raises(ValidationError, match="more than “Max replicas”"):
        GuardrailSetting(min_replicas=4, max_replicas=3).full_clean()
    GuardrailSetting(min_replicas=3, max_replicas=3).full_clean()
