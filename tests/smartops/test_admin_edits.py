"""The kill switch is not mistyped: impossible values are refused, wide ones are asked about, and nobody overwrites what
somebody else has just saved."""

import re
from datetime import timedelta
from typing import Any

import pytest
from django.contrib import admin
from django.contrib.auth.models import Group, User
from django.test import Client
from django.utils import timezone
from pytest_django import DjangoCaptureOnCommitCallbacks

from guardrails.models import BOUNDS, LIMIT_FIELDS, Cooldown, Freeze, GuardrailSetting
from orchestrator.models import Workload
from signals.models import Rule, SettingChange
from smartops.models import Token
from smartops.people.roles import Role
from smartops.tokens import Scope, issue, verify
from tests.kit.forms import confirm, errors, load, page, save
from tests.kit.people import person
from tests.kit.visitor import Visitor

DELETABLE = [Rule, GuardrailSetting, Cooldown]
EDITED = [*DELETABLE, Freeze, Token, User]


@pytest.fixture
def olga(db: None) -> Visitor:
    return Visitor(User.objects.create_superuser("olga"))


@pytest.fixture
def otto(db: None) -> Visitor:
    return Visitor(User.objects.create_superuser("otto"))


def in_browser(person: Visitor) -> Client:
    """With messages, and whole pages: they take most of the time."""
    client = Client()
    client.force_login(person.user)
    return client


def at(moment: Any) -> dict[str, str]:
    return {"until_0": f"{moment:%Y-%m-%d}", "until_1": f"{moment:%H:%M:%S}"}


def row(model: Any) -> Any:
    scope = {"cluster": "default", "namespace": "shop", "workload": "api"}
    if model is Rule:
        return Rule.objects.create(
            name="mine", source="anomaly", symptom="error", action_type="RESTART", namespace="shop"
        )
    if model is Freeze:
        return Freeze.objects.create(**scope, reason="incident 42", by="user:ops")
    if model is GuardrailSetting:
        return GuardrailSetting.objects.create(**scope, max_replicas=6)
    if model is Cooldown:
        return Cooldown.objects.create(**scope, action_type="SCALE", until=timezone.now() + timedelta(hours=1))
    if model is Token:
        issue("agent", [Scope.READ], ["shop"])
        return Token.objects.get()
    return User.objects.create_user("rita", is_staff=True)


def changed(row: Any) -> tuple[str, str, str]:
    """The last change of a row: what, by whom, why."""
    last = SettingChange.objects.filter(table_name=row._meta.db_table, key=str(row.pk)).latest("id")
    return last.operation, last.actor, last.reason


CHANGES: dict[Any, tuple[dict[str, Any], dict[str, Any]]] = {
    Rule: ({"enabled": None}, {"priority": 7}),
    Freeze: ({"reason": "incident 43"}, {"namespace": "erp"}),
    GuardrailSetting: ({"max_replicas": 2}, {"cooldown_seconds": 5}),
    Cooldown: (at(timezone.now() + timedelta(minutes=59)), {"workload": "web"}),
    Token: ({"scopes": ["signals:write"]}, {"namespaces": "erp"}),
    User: ({"is_staff": None}, {"first_name": "Rita"}),
}


# What is typed wrongly


@pytest.mark.parametrize("model", [Freeze, GuardrailSetting])
@pytest.mark.parametrize(
    ("fields", "field", "said"),
    [
        ({"namespace": "Smartops-Dev"}, "namespace", "Write “smartops-dev”."),
        ({"namespace": "shop", "workload": "deployment/payments"}, "workload", "Write “payments”"),
        ({"namespace": "shop", "workload": "Payments"}, "workload", "Write “payments”."),
        ({"namespace": "shop", "workload": "pay*"}, "workload", "does not accept this name"),
        ({"cluster": "Prod"}, "cluster", "Write “prod”."),
        ({"cluster": "https://prod:6443"}, "cluster", "does not accept this name"),
        ({}, "everything", "It would cover everything."),
    ],
)
def test_an_impossible_or_empty_scope_is_refused(
    olga: Visitor, model: Any, fields: dict[str, str], field: str, said: str
) -> None:
    answer = olga.post(page(model, "add"), {"reason": "incident 42", "max_replicas": 5, **fields})
    assert list(errors(answer)) == [field]
    assert said in errors(answer)[field][0]
    assert not model.objects.exists()


@pytest.mark.parametrize(
    ("ago", "said"),
    [(timedelta(hours=1), "is in the past. To end a freeze, lift it."), (timedelta(days=-400), "more than 366 days")],
)
def test_a_freeze_does_not_end_in_the_past_or_after_a_year(olga: Visitor, ago: timedelta, said: str) -> None:
    answer = olga.post(page(Freeze, "add"), {"namespace": "shop", "reason": "x", **at(timezone.now() - ago)})
    assert said in errors(answer)["until"][0]


@pytest.mark.parametrize(("name", "bounds"), BOUNDS.items())
def test_an_absurd_limit_is_refused(olga: Visitor, name: str, bounds: tuple[int, int]) -> None:
    for value in (bounds[0] - 1, bounds[1] + 1):
        assert name in errors(olga.post(page(GuardrailSetting, "add"), {"namespace": "shop", name: value}))
    for value in bounds:
        fields = {"namespace": f"n{value}", name: value, "change_reason": "a test"}
        assert olga.post(page(GuardrailSetting, "add"), fields).status_code == 302


def test_every_limit_that_is_a_number_has_bounds() -> None:
    numbers = {
        name
        for name in LIMIT_FIELDS
        if GuardrailSetting._meta.get_field(name).get_internal_type() not in ("BooleanField", "CharField")
    }
    assert numbers == BOUNDS.keys()


def test_a_setting_without_a_limit_is_refused(olga: Visitor) -> None:
    answer = olga.post(page(GuardrailSetting, "add"), {"namespace": "shop", "respect_owners": ""})
    assert "This row sets no limit." in errors(answer)["__all__"][0]


def test_a_rollout_cannot_be_stable_for_longer_than_its_verification_lasts(olga: Visitor) -> None:
    fields = {"namespace": "shop", "verification_timeout_seconds": 60, "stabilization_seconds": 60}
    assert list(errors(olga.post(page(GuardrailSetting, "add"), fields))) == ["stabilization_seconds"]


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"namespaces": "Shop"}, "namespaces"),
        ({"namespaces": "shop, deployment/x"}, "namespaces"),
        ({"namespaces": "shop", "expires_at_0": "2020-01-01", "expires_at_1": "00:00:00"}, "expires_at"),
        ({"namespaces": "shop", "expires_at_0": "2260-01-01", "expires_at_1": "00:00:00"}, "expires_at"),
        ({"namespaces": " , "}, "everything"),
        ({"namespaces": "shop", "scopes": []}, "scopes"),
        ({"namespaces": "shop", "name": "two\u202elines"}, "name"),
        ({"namespaces": "shop", "name": "admin\u3164"}, "name"),
    ],
)
def test_a_token_with_impossible_fields_is_refused(olga: Visitor, fields: dict[str, Any], field: str) -> None:
    answer = olga.post(page(Token, "add"), {"name": "agent", "scopes": ["read"], **fields})
    assert list(errors(answer)) == [field]
    assert not Token.objects.exists()


def test_a_token_is_not_revoked_later(olga: Visitor) -> None:
    token = row(Token)
    answer = save(olga, page(Token, "change", token.pk), revoked_at_0="2126-01-01", revoked_at_1="00:00:00")
    assert list(errors(answer)) == ["revoked_at"]


def test_a_cooldown_is_not_extended_without_end(olga: Visitor) -> None:
    cooldown = row(Cooldown)
    answer = save(olga, page(Cooldown, "change", cooldown.pk), **at(timezone.now() + timedelta(days=30)))
    assert "add a freeze" in errors(answer)["until"][0]


# What is wide


@pytest.mark.parametrize(
    ("model", "fields"),
    [
        (Freeze, {"reason": "incident 42"}),
        (GuardrailSetting, {"max_replicas": 5}),
        (
            Rule,
            {
                "name": "r",
                "priority": 1,
                "source": "anomaly",
                "symptom": "error",
                "action_type": "RESTART",
                "params": "{}",
            },
        ),
        (Token, {"name": "agent", "scopes": ["read"]}),
    ],
)
def test_what_covers_everything_is_saved_only_on_purpose(olga: Visitor, model: Any, fields: dict[str, Any]) -> None:
    before = model.objects.count()
    loaded = {name: value for name, value in load(olga, page(model, "add")).items() if value is not None}
    fields = loaded | fields
    found = errors(olga.post(page(model, "add"), fields))
    assert list(found) == ["everything"]
    assert "“Namespace" in found["everything"][0]
    olga.post(page(model, "add"), fields | {"everything": "on"})
    assert model.objects.count() == before + 1


def test_a_scope_that_becomes_everything_is_asked_about_and_one_that_was_is_not(olga: Visitor) -> None:
    freeze = row(Freeze)
    url = page(Freeze, "change", freeze.pk)
    empty = {"cluster": "", "namespace": "", "workload": ""}
    why = {"change_reason": "it is everywhere"}
    assert list(errors(save(olga, url, **empty, **why))) == ["everything"]
    assert save(olga, url, **empty, **why, everything="on").status_code == 302
    assert save(olga, url, reason="incident 43", **why).status_code == 302


def test_after_saving_the_page_says_what_is_covered(olga: Visitor) -> None:
    browser = in_browser(olga)
    for namespace, name in [("shop", "payments"), ("shop", "cart"), ("erp", "api")]:
        Workload.objects.create(cluster="default", namespace=namespace, kind="Deployment", name=name)

    def said(**scope: Any) -> str:
        answer = browser.post(page(Freeze, "add"), {"reason": "x", **scope}, follow=True)
        return " ".join(str(one) for one in answer.context["messages"])

    assert "covers 2 known workloads: shop/cart, shop/payments." in said(namespace="shop")
    assert "covers 1 known workload: shop/payments." in said(namespace="shop", workload="payments")
    assert "covers 3 known workloads: erp/api, shop/cart, shop/payments." in said(everything="on")
    Workload.objects.create(cluster="default", namespace="shop", kind="StatefulSet", name="db")
    assert "covers 1 known workload: StatefulSet shop/db." in said(kind="StatefulSet")
    mistyped = said(namespace="shop", workload="paymnets")
    assert "covers 0 known workloads." in mistyped
    assert "Similar: payments." in mistyped


def test_a_new_token_says_what_it_covers(olga: Visitor) -> None:
    browser = in_browser(olga)
    answer = browser.post(page(Token, "add"), {"name": "agent", "scopes": ["read"], "namespaces": "shpo"})
    assert "covers 0 known workloads." in answer.content.decode()


# What somebody else has changed


@pytest.mark.parametrize("model", EDITED, ids=lambda one: one.__name__)
def test_a_form_does_not_overwrite_a_newer_version(olga: Visitor, otto: Visitor, model: Any) -> None:
    one = row(model)
    url = page(model, "change", one.pk)
    his, hers = CHANGES[model]
    stale = load(olga, url)
    assert save(otto, url, **his, change_reason="first").status_code == 302
    stored = model.objects.filter(pk=one.pk).values().get()

    answer = olga.post(url, {name: value for name, value in (stale | hers).items() if value is not None})

    said = errors(answer)["__all__"]
    assert "Nothing was saved" in said[0]
    assert "by user:otto" in said[0]
    assert "because “first”" in said[0]
    assert len(said) >= 2, "both versions are shown"
    assert model.objects.filter(pk=one.pk).values().get() == stored
    again = olga.post(url, {name: value for name, value in (stale | hers).items() if value is not None})
    assert "Nothing was saved" in errors(again)["__all__"][0], "not even the second time"
    assert save(olga, url, **hers, change_reason="second").status_code == 302
    assert changed(one) == ("update", "user:olga", "second")


def test_a_form_without_a_version_is_refused(olga: Visitor) -> None:
    freeze = row(Freeze)
    answer = olga.post(page(Freeze, "change", freeze.pk), {"namespace": "shop", "reason": "x"})
    assert "Nothing was saved" in errors(answer)["__all__"][0]


def test_the_use_of_a_token_is_no_change_of_it(olga: Visitor) -> None:
    issue("agent", [Scope.READ], ["shop"])
    token = Token.objects.get()
    form = load(olga, page(Token, "change", token.pk))
    Token.objects.update(last_used_at=timezone.now())
    assert olga.post(page(Token, "change", token.pk), form).status_code == 302


@pytest.mark.parametrize("model", DELETABLE, ids=lambda one: one.__name__)
def test_a_deletion_is_confirmed_for_the_version_that_was_shown(olga: Visitor, otto: Visitor, model: Any) -> None:
    browser = in_browser(olga)
    one = row(model)
    url = page(model, "delete", one.pk)
    [shown] = re.findall(r'name="loaded" value="(\w+)"', browser.get(url).content.decode())
    save(otto, page(model, "change", one.pk), **CHANGES[model][0])

    answer = browser.post(url, {"post": "yes", "loaded": shown}, follow=True)

    assert "Nothing was deleted" in answer.content.decode()
    assert model.objects.filter(pk=one.pk).exists()
    browser.post(url, {"post": "yes"})
    assert model.objects.filter(pk=one.pk).exists()
    [shown] = re.findall(r'name="loaded" value="(\w+)"', browser.get(url).content.decode())
    browser.post(url, {"post": "yes", "loaded": shown, "change_reason": "no longer needed"})
    assert changed(one) == ("delete", "user:olga", "no longer needed")
    assert not model.objects.filter(pk=one.pk).exists()


def test_an_account_is_deactivated_and_not_deleted(olga: Visitor) -> None:
    rita = User.objects.create_user("rita", is_staff=True)

    assert olga.get(page(User, "delete", rita.pk)).status_code == 403
    olga.post(page(User, "delete", rita.pk), {"post": "yes"})
    assert User.objects.filter(pk=rita.pk).exists()


@pytest.mark.parametrize("model", DELETABLE, ids=lambda one: one.__name__)
def test_a_bulk_deletion_says_what_it_deletes_and_leaves_newer_versions_alone(
    olga: Visitor, otto: Visitor, model: Any
) -> None:
    browser = in_browser(olga)
    one = row(model)
    chosen = {"action": "delete_chosen", "_selected_action": [one.pk]}
    asked = browser.post(page(model, "changelist"), chosen)
    assert model.objects.filter(pk=one.pk).exists()
    [effect] = re.findall(r"<li>(.*?)</li>", asked.content.decode().split('id="effects"')[1].split("</ul>")[0])
    assert "is deleted" in effect
    loaded = re.findall(r'name="loaded" value="(.+?)"', asked.content.decode())
    save(otto, page(model, "change", one.pk), **CHANGES[model][0])
    reason = {"change_reason": "no longer needed"}
    answer = browser.post(page(model, "changelist"), chosen | {"loaded": loaded} | reason, follow=True)
    assert "has changed since" in answer.content.decode()
    assert model.objects.filter(pk=one.pk).exists()
    asked = browser.post(page(model, "changelist"), chosen)
    loaded = re.findall(r'name="loaded" value="(.+?)"', asked.content.decode())
    browser.post(page(model, "changelist"), chosen | {"loaded": loaded, "change_reason": "no longer needed"})
    assert changed(one) == ("delete", "user:olga", "no longer needed")
    assert not model.objects.filter(pk=one.pk).exists()


def test_no_list_of_the_admin_is_editable_and_none_deletes_without_a_page_that_shows_versions(
    olga: Visitor, rf: Any
) -> None:
    request = rf.get("/")
    request.user = User.objects.get(username="olga")
    for model, found in admin.site._registry.items():
        assert not found.list_editable, model
        assert "delete_selected" not in found.get_actions(request), model


def test_a_stale_list_does_not_switch_a_rule_on_again(olga: Visitor) -> None:
    rule = row(Rule)
    Rule.objects.filter(pk=rule.pk).update(enabled=False)
    rows = {
        "form-TOTAL_FORMS": 1,
        "form-INITIAL_FORMS": 1,
        "form-0-id": rule.pk,
        "form-0-enabled": "on",
        "_save": "Save",
    }
    olga.post(page(Rule, "changelist"), rows | {"form-0-priority": 7})
    rule.refresh_from_db()
    assert (rule.enabled, rule.priority) == (False, 100)


def test_who_may_only_view_sees_the_row_without_a_form(db: None) -> None:
    client = Client()
    client.force_login(person("clerk", Role.VIEWER, is_staff=True))
    for model in (Rule, GuardrailSetting, Cooldown, Freeze):
        assert client.get(page(model, "change", row(model).pk)).status_code == 200


def test_a_revoked_token_is_refused_at_once_and_its_form_is_closed(
    olga: Visitor, django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks
) -> None:
    browser = in_browser(olga)
    text = issue("agent", [Scope.READ])
    token = Token.objects.get()
    assert verify(text)
    with django_capture_on_commit_callbacks(execute=True):
        confirm(browser, token, "revoke_chosen", change_reason="leaked")

    assert verify(text) is None
    assert changed(token) == ("update", "user:olga", "leaked")
    assert browser.post(page(Token, "change", token.pk), {"scopes": ["actions:write"]}).status_code == 403
    assert browser.get(page(Token, "delete", token.pk)).status_code == 403
    assert list(
        errors(browser.post(page(Token, "add"), {"name": "agent", "scopes": ["read"], "everything": "on"}))
    ) == ["name"]


def test_a_freeze_is_lifted_with_a_reason_and_stays(olga: Visitor, otto: Visitor) -> None:
    browser = in_browser(olga)
    freeze = row(Freeze)
    assert "Enter a reason" in confirm(browser, freeze, "lift_chosen").content.decode()
    assert Freeze.in_force().exists()
    confirm(browser, freeze, "lift_chosen", change_reason="the release is out")
    answer = confirm(in_browser(otto), freeze, "lift_chosen", change_reason="too late")

    assert "olga has lifted the freeze" in answer.content.decode()
    freeze.refresh_from_db()
    assert not Freeze.in_force().exists()
    assert (freeze.lifted_by, freeze.lift_reason, freeze.lifted_at is not None) == (
        "user:olga",
        "the release is out",
        True,
    )
    assert changed(freeze) == ("update", "user:olga", "the release is out")
    assert browser.post(page(Freeze, "change", freeze.pk), {"reason": "x"}).status_code == 403
    assert browser.get(page(Freeze, "delete", freeze.pk)).status_code == 403


# Why


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"max_replicas": 9}, "it loosens “Max replicas” from 8 to 9."),
        ({"cooldown_seconds": 299, "max_replicas": 5}, "it loosens “Cooldown (seconds)” from 300 to 299."),
        ({"respect_owners": "False"}, "it loosens “Respect owners” from yes to no."),
        ({"max_replicas": 8, "cooldown_seconds": 301}, ""),
    ],
)
def test_a_limit_is_loosened_with_a_reason_only(olga: Visitor, fields: dict[str, Any], said: str) -> None:
    answer = olga.post(page(GuardrailSetting, "add"), {"namespace": "shop", **fields})
    if not said:
        assert answer.status_code == 302
        return
    assert errors(answer) == {"change_reason": [f"Enter a reason: {said}"]}
    reason = {"change_reason": "the sale begins"}
    assert olga.post(page(GuardrailSetting, "add"), {"namespace": "shop", **fields, **reason}).status_code == 302
    assert changed(GuardrailSetting.objects.get()) == ("insert", "user:olga", "the sale begins")


def test_a_limit_that_moves_away_from_its_scope_loosens_it(olga: Visitor) -> None:
    GuardrailSetting.objects.create(namespace="shop", max_replicas=5)
    one = GuardrailSetting.objects.create(namespace="shop", workload="api", max_replicas=2)
    url = page(GuardrailSetting, "change", one.pk)

    assert save(olga, url, max_replicas=1).status_code == 302
    assert "“Max replicas” from 1 to 5" in errors(save(olga, url, workload="web"))["change_reason"][0]
    assert "“Max replicas” from 1 to 5" in errors(save(olga, url, max_replicas="", min_replicas=2))["change_reason"][0]
    assert save(olga, url, workload="web", change_reason="the wrong one").status_code == 302


def test_a_limit_is_deleted_with_a_reason_only(olga: Visitor) -> None:
    browser = in_browser(olga)
    one = row(GuardrailSetting)
    url = page(GuardrailSetting, "delete", one.pk)
    [shown] = re.findall(r'name="loaded" value="(\w+)"', browser.get(url).content.decode())

    answer = browser.post(url, {"post": "yes", "loaded": shown}, follow=True)

    assert "Nothing was deleted. Enter a reason" in answer.content.decode()
    assert GuardrailSetting.objects.exists()
    browser.post(url, {"post": "yes", "loaded": shown, "change_reason": "the sale\0 is over " + "!" * 10_000})
    assert changed(one) == ("delete", "user:olga", "the sale is over ".ljust(256, "!"))


def test_the_reason_of_a_freeze_and_of_each_change_of_it_is_in_the_history(olga: Visitor) -> None:
    olga.post(page(Freeze, "add"), {"namespace": "shop", "reason": "incident 42"})
    freeze = Freeze.objects.get()
    assert changed(freeze) == ("insert", "user:olga", "incident 42")
    url = page(Freeze, "change", freeze.pk)

    assert list(errors(save(olga, url, namespace="erp"))) == ["change_reason"]
    save(olga, url, namespace="erp", change_reason="the wrong namespace")

    assert changed(freeze) == ("update", "user:olga", "the wrong namespace")


def test_the_page_of_history_has_who_why_and_what_of_every_change_also_in_sql(olga: Visitor) -> None:
    browser = in_browser(olga)
    rita = User.objects.create_user("rita", password="canary", is_staff=True)  # noqa: S106
    group = Group.objects.create(name="approvers")
    save(browser, page(User, "change", rita.pk), groups=[group.pk], first_name="Rita", change_reason="new in the team")
    User.objects.filter(pk=rita.pk).update(is_superuser=True)
    last = SettingChange.objects.filter(table_name="auth_user_groups").get()
    assert (last.actor, last.address, last.reason) == ("user:olga", "127.0.0.1", "new in the team")

    shown = re.sub(r"\s+", " ", browser.get(page(User, "history", rita.pk)).content.decode())

    for text in (
        "<bdi>user:olga</bdi></td> <td>127.0.0.1</td> <td><bdi>new in the team</bdi>",
        "First name: <bdi>not set</bdi> → <bdi>Rita</bdi>",
        "created user-group relationship",
        "Superuser status: <bdi>no</bdi> → <bdi>yes</bdi>",
    ):
        assert text in shown
    assert rita.password not in shown


def test_the_history_is_listed_by_table_month_actor_and_key(olga: Visitor) -> None:
    browser = in_browser(olga)
    freeze = row(Freeze)
    save(browser, page(Freeze, "change", freeze.pk), until_0="2126-01-01", change_reason="x")
    save(browser, page(Freeze, "change", freeze.pk), reason="incident 43", change_reason="more is known")

    def count(**query: str) -> int:
        return int(browser.get(page(SettingChange, "changelist"), query).context["cl"].result_count)

    assert count(table_name="guardrails_freeze") == 2
    assert count(table_name="guardrails_freeze", q="user:olga") == 1
    assert count(table_name="guardrails_freeze", q=str(freeze.pk)) == 2
    assert count(q="user:nobody") == count(month="2020-02") == count(month="February") == 0
    assert count(month=f"{timezone.now():%Y-%m}") == SettingChange.objects.count()


def test_a_conflict_names_only_fields_that_differ(olga: Visitor, otto: Visitor) -> None:
    rule = row(Rule)
    url = page(Rule, "change", rule.pk)
    opened = load(olga, url)
    save(otto, url, priority=7)

    why, *fields = list(errors(olga.post(url, opened | {"priority": 8}))["__all__"])
    assert why.endswith("These fields differ:")
    assert fields == ["Priority: now “7”, in your form “8”."]
    [why] = list(errors(olga.post(url, opened | {"priority": 7}))["__all__"])
    assert why.endswith("Your form has the same values.")
