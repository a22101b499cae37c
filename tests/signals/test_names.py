"""A name that no object can have would make a freeze, a limit or a rule without effect."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from signals.invisible import invisible_character
from signals.names import Cause, name_matches, name_problems, pattern_problems


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
        ({"workload": "sts/payments"}, "without the kind “sts”"),
        ({"workload": "pods/payments"}, "without the kind “pods”"),
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


@pytest.mark.parametrize(
    ("wanted", "name", "held"),
    [
        ("", "shop", True),
        ("shop", "shop", True),
        ("shop", "shop-api", False),
        ("shop-.*", "shop-api", True),
        ("shop|erp", "erp", True),
        ("api.v1", "api.v1", True),
        ("api.v1", "apixv1", False),  # a name, as each of its characters may be in one
        ("(", "shop", False),
    ],
)
def test_a_rule_names_a_workload_or_a_pattern(wanted: str, name: str, held: bool) -> None:
    assert name_matches(wanted, name) is held


@pytest.mark.parametrize(
    ("wanted", "said"),
    [
        ("", ""),
        ("shop", ""),
        ("shop-.*", ""),
        ("(shop|erp)-[a-z]{3}", ""),
        (r"shop-\W?", ""),
        ("shop-*", "in which * repeats the “-”. For any characters, write “shop-.*”."),
        ("*-api", "in which * repeats nothing. For any characters, write “.*-api”."),
        ("*", "Leave the field empty"),
        ("Shop-.*", "no upper-case letters"),
        ("(shop", "not a regular expression of RE2"),
        ("shop/api", "without the namespace"),
        ("a" * 600 + "+", "at most 512 characters"),
    ],
)
def test_a_pattern_with_a_mistake_says_what_to_write(wanted: str, said: str) -> None:
    found = pattern_problems(namespace="", workload=wanted)
    assert said in found.get("workload", "")
    assert bool(found) is bool(said)


def test_a_character_that_nobody_sees_is_named() -> None:
    assert invisible_character("memory leak") == ""
    assert invisible_character("memory\u00adleak") == "U+00AD (SOFT HYPHEN)"
    with pytest.raises(ValidationError, match=r"It contains the invisible character U\+200B \(ZERO WIDTH SPACE\)"):
        TypeAdapter(Cause).validate_python("memory\u200bleak")
