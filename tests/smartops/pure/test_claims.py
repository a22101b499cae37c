"""Which roles the groups of a person give."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smartops.people.claims import group_roles, groups_in
from smartops.people.roles import EVERYWHERE, Place, Role

SETTING = (
    '{"platform": ["admin", "staff"], "sre": "operator@eu-1.prod", "cn=shop,dc=acme": ["viewer@/shop", "approver@a/b"]}'
)


@pytest.mark.parametrize(
    ("groups", "granted"),
    [
        ([], set()),
        (["unknown", "staff", "operator"], set()),
        (["sre"], {(Role.OPERATOR, Place("eu-1.prod"))}),
        (["platform", "sre"], {(Role.ADMIN, EVERYWHERE), (Role.OPERATOR, Place("eu-1.prod"))}),
        (["cn=shop,dc=acme"], {(Role.VIEWER, Place("", "shop")), (Role.APPROVER, Place("a", "b"))}),
    ],
)
def test_a_group_gives_its_roles_in_their_places(groups: list[str], granted: set[object]) -> None:
    assert group_roles(SETTING).granted(groups) == granted


def test_staff_is_no_role() -> None:
    roles = group_roles(SETTING)
    assert [roles.is_staff(groups) for groups in ([], ["sre"], ["sre", "platform"])] == [False, False, True]
    assert group_roles('{"helpdesk": "staff"}').granted(["helpdesk"]) == set()
    assert group_roles("") == group_roles("{}")


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("sre=operator", "it is not JSON"),
        ('["sre"]', "it is not a JSON object"),
        ('{"sre": 1}', "the value of the group “sre” is not a grant or a list of grants"),
        ('{"sre": []}', "the value of the group “sre” is not"),
        ('{"sre": ["operator", null]}', "the value of the group “sre” is not"),
        ('{"sre": {"operator": "prod"}}', "the value of the group “sre” is not"),
        ('{"sre": "root"}', "“root” of the group “sre” names no role: viewer, operator, approver, admin, or staff"),
        ('{"sre": "Operator"}', "“Operator” of the group “sre” names no role"),
        ('{"sre": "staff@prod"}', "“staff@prod” of the group “sre” names no role"),
        ('{"sre": "operator@Prod"}', "“operator@Prod” of the group “sre” names no place"),
        ('{"sre": "operator@*/shop"}', "names no place"),
        ('{"sre": "operator@a/b/c"}', "names no place"),
        ('{"sre": "operator@"}', "“operator@” of the group “sre” ends before the name of a place"),
        ('{"sre": "operator@/"}', "ends before the name of a place"),
        ('{"sre": "operator@production/"}', "ends before the name of a place"),
    ],
)
def test_a_wrong_setting_says_which_group_is_wrong(text: str, why: str) -> None:
    with pytest.raises(ValueError, match=r"^(it|the|“)") as raised:
        group_roles(text)
    assert why in str(raised.value)


@pytest.mark.parametrize(
    ("claim", "groups"),
    [
        (None, set()),
        ("sre", {"sre"}),
        ("", set()),
        (["sre", "leads", "sre"], {"sre", "leads"}),
        (["sre", 7, None, ["leads"], "", "a\0b", "a\nb", "a\ud800"], {"sre"}),
        (["Ops\u3000Tokyo", "\u0421\u0420"], {"Ops\u3000Tokyo", "\u0421\u0420"}),
        ({"sre": True}, set()),
        (True, set()),
    ],
)
def test_a_claim_is_a_list_of_texts_or_a_text(claim: object, groups: set[str]) -> None:
    assert groups_in(claim) == groups


@given(
    st.recursive(
        st.none() | st.booleans() | st.floats() | st.text(max_size=5),
        lambda one: st.lists(one, max_size=4) | st.dictionaries(st.text(max_size=5), one, max_size=2),
        max_leaves=10,
    )
)
def test_no_claim_is_an_error(claim: object) -> None:
    assert all(isinstance(group, str) for group in groups_in(claim))
