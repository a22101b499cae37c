"""A name that no object can have would make a freeze, a limit or a rule without effect."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from signals.names import name_problems


@pytest.mark.parametrize(
    "names",
    [
        {},
        {"cluster": "eu-1.prod", "namespace": "smartops-dev", "workload": "erp-simulator"},
        {"workload": "api.v2"},
        {"namespace": "a"},
        {"namespace": "0"},
        {"namespace": "n" * 63, "workload": ".".join(["w" * 62] * 4)},
    ],
)
def test_a_name_that_an_object_can_have_has_no_problem(names: dict[str, str]) -> None:
    assert name_problems(**names) == {}


@pytest.mark.parametrize(
    ("names", "said"),
    [
        ({"namespace": "Smartops-Dev"}, "Write “smartops-dev”."),
        ({"workload": "deployment/payments"}, "Write “payments”, without the kind “deployment”."),
        ({"workload": "Deployment/payments"}, "without the kind “Deployment”"),
        ({"workload": "deployments.apps/payments"}, "without the kind “deployments.apps”"),
        ({"workload": "shop/payments"}, "Write “payments”, without the namespace “shop”."),
        ({"namespace": "a.b"}, "Kubernetes does not accept this name."),
        ({"namespace": "*"}, "Leave the field empty"),
        ({"workload": "pay*"}, "Kubernetes does not accept this name."),
        ({"namespace": "shop,erp"}, "Kubernetes does not accept this name."),
        ({"namespace": "-shop"}, "Kubernetes does not accept this name."),
        ({"namespace": "shop\n"}, "Kubernetes does not accept this name."),
        ({"workload": "pay_ments"}, "and dots between them"),
        ({"workload": "payments "}, "Kubernetes does not accept this name."),
        ({"workload": "\u0440ayments"}, "Kubernetes does not accept this name."),
        ({"workload": "x/"}, "Kubernetes does not accept this name."),
        ({"namespace": "n" * 64}, "at most 63 characters; this one has 64"),
        ({"workload": "w" * 254}, "at most 253 characters"),
        ({"cluster": "c" * 64}, "at most 63 characters"),
    ],
)
def test_an_impossible_name_is_named_with_what_to_write_instead(names: dict[str, str], said: str) -> None:
    [(field, problem)] = name_problems(**names).items()
    assert field in names
    assert said in problem


@given(st.text(max_size=300))
def test_every_text_has_an_answer(text: str) -> None:
    assert set(name_problems(cluster=text, namespace=text, workload=text)) <= {"cluster", "namespace", "workload"}
