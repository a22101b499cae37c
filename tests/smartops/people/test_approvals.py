"""Who may decide: one table of all paths on which a person can be behind an action."""

from typing import Any

import pytest
from django.contrib.auth.models import AnonymousUser, User
from django.db import IntegrityError
from django.utils import timezone

from orchestrator.decide.approval import has_right
from orchestrator.models import Action, Approval
from signals import actors
from signals.identity import dump_naming
from signals.lib.acting import acting
from signals.models import Alias, Rule, Signal
from signals.types import Named, Naming, NamingFacts, Source, Target
from smartops.people.access import Place, Role
from smartops.people.approvals import objection
from smartops.tokens import Scope, issue
from tests.kit.people import person
from tests.kit.rules import install_default_rules
from tests.kit.signals import NAMESPACE
from tests.kit.verbs import requested

pytestmark = pytest.mark.django_db
ANA, BEN = actors.user("ana"), actors.user("ben")


@pytest.fixture(autouse=True)
def people() -> dict[str, User]:
    """Both may approve everywhere."""
    return {name: person(name, Role.APPROVER) for name in ("ana", "ben")}


def by(requester: str, *reporters: str) -> Action:
    action = requested()
    action.requested_by, action.reported_by = requester, list(reporters)
    action.created_at = timezone.now()  # a test is one transaction, and has one Now()
    return action


def by_person() -> Action:
    return by(ANA)


def by_token() -> Action:
    with acting(ANA):
        issue("robot", [Scope.ACTIONS_WRITE])
    return by(actors.token("robot"))


def by_signal_of_token() -> Action:
    with acting(ANA):
        issue("robot", [Scope.SIGNALS_WRITE])
    return by(actors.rule("another"), actors.token("other"), actors.token("robot"))


def changed_by_ana() -> Rule:
    install_default_rules()
    rule = Rule.objects.all()[0]
    with acting(BEN):
        rule.save()
    with acting(ANA):
        rule.priority = 7
        rule.save()
    return rule


def by_rule() -> Action:
    return by(actors.rule(changed_by_ana().name))


def named_by_alias(**facts: Any) -> Action:
    """Of a signal whose name an alias of ana resolves, unless the cluster knows it."""
    with acting(BEN):
        alias = Alias.objects.create(pattern="ERP-.*", workload="erp-simulator")
    with acting(ANA):
        alias.priority = 7
        alias.save()
    named = Named(Source.ANOMALY, "default", NAMESPACE, "ERP-1")
    action = by(actors.rule("another"))
    action.signal = Signal(naming=dump_naming(Naming(named, NamingFacts(alias=alias.spec(), **facts))))
    with acting(actors.user("cem")):
        alias.priority = 8
        alias.save()  # it changes nothing about the action
    return action


def rename(rule: Rule) -> None:
    rule.name = "another-name"
    rule.save()


def change(rule: Rule) -> None:
    rule.priority = 8
    rule.save()


@pytest.mark.parametrize("hide", [rename, Rule.delete, change], ids=["renamed", "deleted", "changed by another"])
def test_who_made_the_rule_what_it_was_counts_whatever_becomes_of_it(people: dict[str, User], hide: Any) -> None:
    rule = changed_by_ana()
    action = by(actors.rule(rule.name))
    with acting(actors.user("cem")):
        hide(rule)

    assert "You made the last change of the rule" in objection(people["ana"], action)
    assert objection(people["ben"], action) == ""
    assert "You changed the rule" in objection(person("cem", Role.APPROVER), action)


PATHS = {
    "the console": (by_person, "You requested it: another person decides."),
    "a token": (by_token, "You issued the token robot, which requested it: another person decides."),
    "a signal": (by_signal_of_token, "You issued the token robot, which reported its signal: another person decides."),
    "a rule": (by_rule, "You made the last change of the rule"),
    "an alias": (named_by_alias, "which says that its signal means this workload: another person decides."),
}


@pytest.mark.parametrize(("path", "words"), PATHS.values(), ids=PATHS)
def test_the_requester_may_not_decide_on_any_path_and_another_person_may(
    people: dict[str, User], path: Any, words: str
) -> None:
    action = path()

    assert words in objection(people["ana"], action)
    assert objection(people["ben"], action) == ""


def test_an_alias_that_the_cluster_makes_superfluous_has_no_author(people: dict[str, User]) -> None:
    action = named_by_alias(existing=(Target("default", NAMESPACE, "ERP-1"),))

    assert [objection(one, action) for one in people.values()] == ["", ""]


def test_who_changes_an_alias_after_the_action_may_decide(people: dict[str, User]) -> None:
    assert objection(person("cem", Role.APPROVER), named_by_alias()) == ""


def test_a_requester_with_all_rights_may_not_decide_either() -> None:
    root = User.objects.create_superuser("root")
    action = by(actors.user("root"))
    assert "You requested it" in objection(root, action)
    action.requested_by = ANA
    assert objection(root, action) == ""


@pytest.mark.parametrize(
    ("role", "place", "may"),
    [
        (Role.VIEWER, Place(), False),
        (Role.OPERATOR, Place(), False),
        (Role.APPROVER, Place(), True),
        (Role.ADMIN, Place(), True),
        (Role.APPROVER, Place("default", NAMESPACE), True),
        (Role.APPROVER, Place("", NAMESPACE), True),
        (Role.APPROVER, Place("default", "another"), False),
        (Role.APPROVER, Place("another", NAMESPACE), False),
        (None, Place(), False),
    ],
)
def test_the_right_is_that_of_the_place_of_the_target(role: Role | None, place: Place, may: bool) -> None:
    """The check before the write gives the same answer."""
    cem, action = person("cem", role, place), requested()

    assert (objection(cem, action) == "") is may
    assert has_right(actors.user("cem"), action.workload.target) is may


def test_an_account_that_is_locked_or_missing_may_not_decide(people: dict[str, User]) -> None:
    action = requested()
    User.objects.filter(username="ben").update(is_active=False)

    assert objection(User.objects.get(username="ben"), action) != ""
    assert objection(AnonymousUser(), action) != ""
    assert not has_right(BEN, action.workload.target)
    assert not has_right(actors.user("nobody"), action.workload.target)
    assert not has_right(actors.token("ana"), action.workload.target)  # the name of a token is no person


@pytest.mark.parametrize("by", [actors.token("robot"), actors.rule("scale-up"), actors.system("smartops")])
def test_the_database_accepts_persons_only(by: str) -> None:
    with pytest.raises(IntegrityError, match="approval_by_person"):
        Approval.objects.create(action=requested(), digest="d", by=by, decision="approve")
