import json
import re
from typing import Any

import pytest
from django.contrib import admin
from django.contrib.auth.models import User
from django.test import Client

from guardrails.models import Cooldown, Freeze, GuardrailSetting
from orchestrator.models import Action, Approval, AuditEvent, DecisionRecord, RefusedRequest, Verification, Workload
from signals import actors
from signals.aliases import Alias
from signals.allowance import Quota
from signals.lib.history_admin import HistoryAdmin
from signals.models import Observation, Rule, SettingChange, Signal
from signals.types import Target
from smartops.models import Passkey, RoleGrant, SecondFactor, SignIn, Token
from smartops.people.roles import Place, Role
from smartops.tokens import Scope, issue, verify
from tests.kit.forms import confirm, errors, page, save
from tests.kit.people import grant, person
from tests.kit.visitor import Visitor
from tests.smartops.console.scene import Hour

MODELS: list[Any] = sorted(admin.site._registry, key=lambda model: model._meta.label)
HISTORY: set[Any] = {
    Workload,
    Action,
    DecisionRecord,
    Verification,
    Approval,
    AuditEvent,
    RefusedRequest,
    Signal,
    Observation,
    SettingChange,
    SignIn,
}
OWNED: set[Any] = {SecondFactor, Passkey}  # only their owner makes them


@pytest.fixture
def operator(db: None) -> Visitor:
    """Who may do everything."""
    return Visitor(User.objects.create_superuser("olga"))


@pytest.fixture
def browser(operator: Visitor, client: Client) -> Client:
    """Of the same person. It loads whole pages."""
    client.force_login(operator.user)
    return client


@pytest.fixture
def running(browser: Client, hour: Hour) -> Client:
    """With a row of each model."""
    GuardrailSetting.objects.create(namespace="smartops-dev", max_replicas=6)
    Freeze.objects.create(reason="audit", by="user:ops")
    issue("agent-smith", [Scope.SIGNALS_WRITE])
    SignIn.objects.create(event="signed in", actor="user:olga")
    RefusedRequest.record(actors.token("agent-smith"), Target("default", "erp", "web"), "PatchForbidden", "no")
    Approval.objects.create(action=Action.objects.all()[0], digest="d", by="user:ben", decision="approve")
    return browser


def test_every_model_is_in_the_admin_and_history_is_marked_as_such() -> None:
    ours = {model for model in MODELS if model._meta.app_label in ("signals", "guardrails", "orchestrator", "smartops")}
    assert ours == HISTORY | {Rule, Alias, GuardrailSetting, Freeze, Cooldown, Token, RoleGrant, *OWNED}
    assert {model for model in ours if isinstance(admin.site._registry[model], HistoryAdmin)} == HISTORY


@pytest.mark.parametrize("model", MODELS, ids=lambda one: one.__name__)
def test_the_pages_of_each_model_render(running: Client, model: Any) -> None:
    assert running.get(page(model, "changelist"), {"q": "erp"}).status_code == 200
    assert running.get(page(model, "add")).status_code == (403 if model in {*HISTORY, *OWNED} else 200)
    for row in model._default_manager.all()[:1]:
        assert running.get(page(model, "change", row.pk)).status_code == 200


@pytest.mark.parametrize("model", [one for one in MODELS if one in HISTORY], ids=lambda one: one.__name__)
def test_history_cannot_be_added_changed_or_deleted(running: Client, model: Any) -> None:
    before = list(model.objects.order_by("pk").values())
    row = model.objects.first()
    assert running.post(page(model, "add"), {}).status_code == 403
    assert running.post(page(model, "change", row.pk), {"message": "forged"}).status_code == 403
    assert running.post(page(model, "delete", row.pk), {"post": "yes"}).status_code == 403
    chosen = {"action": "delete_selected", "_selected_action": row.pk, "index": 0, "post": "yes"}
    running.post(page(model, "changelist"), chosen)
    assert list(model.objects.order_by("pk").values()) == before


def rule(**fields: Any) -> dict[str, Any]:
    ordinary = {"name": "mine", "priority": 5, "enabled": "on", "source": "anomaly", "symptom": "resource"}
    ordinary |= {"everything": "on", "symptom_match": "equal", "for_seconds": 0, "min_reports": 0, "of_reports": 0}
    ordinary |= {"action_type": "SCALE", "params": '{"delta": 1}', "mode": "auto"}
    return ordinary | {"min_score": 0.8} | fields


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"params": '{"delta": -1}'},
        {"params": '{"replicas": 1}'},
        {"action_type": "RESTART", "params": "{}"},
        {"action_type": "PATCH", "params": '{"patch": {"spec": {"replicas": 2}}}'},
        {"min_score": 1},
        {"source": "rca", "symptom": "memory_leak", "min_score": "", "min_probability": 0, "min_confidence": 1},
        {"namespace": "shop", "everything": ""},
        {"namespace": "shop-.*", "workload": "(cart|pay)-.*", "everything": ""},
        {"labels": 'team="payments", tier!="test"', "everything": ""},
        {"symptom": "Resource, LATENCY", "symptom_match": "one_of", "severity": "critical, major"},
        {"symptom": "res.*|lat.*", "symptom_match": "pattern", "for_seconds": 600},
        {"min_reports": 3, "of_reports": 5},
    ],
)
def test_a_valid_rule_is_saved_and_its_version_counted(operator: Visitor, fields: dict[str, Any]) -> None:
    assert operator.post(page(Rule, "add"), rule(**fields)).status_code == 302
    saved = Rule.objects.get(name="mine")
    assert saved.version == 1
    save(operator, page(Rule, "change", saved.pk), priority=6)
    saved.refresh_from_db()
    assert (saved.priority, saved.version) == (6, 2)


@pytest.mark.parametrize(
    ("field", "fields"),
    [
        ("params", {"params": '{"delta": 0}'}),
        ("params", {"params": '{"delta": 1.5}'}),
        ("params", {"params": '{"delta": true}'}),
        ("params", {"params": '{"delta": 1, "replicas": 2}'}),
        ("params", {"params": '{"replicas": -1}'}),
        ("params", {"params": "[]"}),
        ("params", {"params": "{}"}),
        ("params", {"action_type": "RESTART", "params": '{"delta": 1}'}),
        ("params", {"action_type": "PATCH", "params": "{}"}),
        ("params", {"action_type": "PATCH", "params": '{"patch": {"spec": {"selector": {}}}}'}),
        ("params", {"action_type": "PATCH", "params": '{"patch": {"spec": {"replicas": null}}}'}),
        ("params", {"action_type": "PATCH", "params": '{"patch": {}}'}),
        ("params", {"action_type": "PATCH", "params": '{"patch": [1]}'}),
        ("params", {"action_type": "PATCH", "params": '{"patch": {"spec": {}}, "delta": 1}'}),
        ("min_score", {"min_score": 1.01}),
        ("min_probability", {"min_probability": -0.1}),
        ("min_confidence", {"source": "rca", "symptom": "x", "min_score": "", "min_confidence": 95}),
        ("min_probability", {"min_probability": 0.5}),
        ("min_score", {"source": "rca", "symptom": "memory_leak"}),
        ("symptom", {"symptom": "a(", "symptom_match": "pattern"}),
        ("symptom", {"symptom": "memory.*", "symptom_match": "pattern"}),
        ("symptom_match", {"symptom_match": "near"}),
        ("workload", {"workload": "shop-*"}),
        ("labels", {"labels": "team: payments"}),
        ("labels", {"labels": "team=a, team=b"}),
        ("min_reports", {"min_reports": 3, "of_reports": 2}),
        ("for_seconds", {"for_seconds": 604_801}),
        ("symptom", {"symptom": "cpu"}),
        ("namespace", {"namespace": "Smartops-Dev"}),
        ("workload", {"workload": "deployment/payments"}),
        ("kind", {"kind": "Pod"}),
        ("kind", {"kind": "DaemonSet"}),
        ("everything", {"everything": ""}),
    ],
)
def test_a_rule_that_could_not_work_is_refused(operator: Visitor, field: str, fields: dict[str, Any]) -> None:
    answer = operator.post(page(Rule, "add"), rule(**fields))
    assert list(answer.context_data["adminform"].form.errors) == [field]
    assert not Rule.objects.filter(name="mine").exists()


@pytest.mark.parametrize("model", [GuardrailSetting, Freeze])
def test_a_scope_with_a_workload_needs_its_namespace(operator: Visitor, model: Any) -> None:
    answer = operator.post(page(model, "add"), {"workload": "erp-simulator", "reason": "why not", "max_replicas": 5})
    assert list(errors(answer)) == ["namespace"]


def test_a_freeze_names_who_set_it(operator: Visitor) -> None:
    operator.post(page(Freeze, "add"), {"namespace": "smartops-dev", "reason": "release", "by": "somebody else"})
    assert Freeze.objects.get(reason="release").by == "user:olga"


@pytest.mark.parametrize(("choice", "state"), [("mark_as_applied", "succeeded"), ("mark_as_not_applied", "cancelled")])
def test_a_reviewer_marks_an_unknown_write_as_applied_or_not(running: Client, choice: str, state: str) -> None:
    action = Action.objects.get(state="needs_review")
    confirm(running, action, choice, change_reason="I compared it.")
    action.refresh_from_db()
    assert (action.state, action.reason) == (state, "Reviewed")
    event = AuditEvent.objects.filter(action=action).latest("id")
    assert (event.actor, "I compared it." in event.message) == ("user:olga", True)


def test_a_review_needs_a_reason(running: Client) -> None:
    action = Action.objects.get(state="needs_review")
    assert "Enter a reason" in confirm(running, action, "mark_as_applied").content.decode()
    action.refresh_from_db()
    assert action.state == "needs_review"


def test_an_action_that_needs_no_review_is_not_reviewed(running: Client) -> None:
    action = Action.objects.get(state="verifying")
    answer = confirm(running, action, "mark_as_applied", change_reason="I compared it.")
    action.refresh_from_db()
    assert action.state == "verifying"
    assert "does not need a review" in answer.content.decode()


def test_a_review_in_bulk_says_what_it_does_to_each_action(running: Client) -> None:
    unclear, verified = Action.objects.get(state="needs_review"), Action.objects.get(state="verifying")
    chosen = {"action": "mark_as_applied", "_selected_action": [unclear.pk, verified.pk]}
    shown = running.post(page(Action, "changelist"), chosen).content.decode()
    assert "is marked as applied, and succeeds" in shown
    assert "does not need a review, and is not changed" in shown
    unclear.refresh_from_db()
    assert unclear.state == "needs_review"


def test_a_review_needs_the_right_to_act(client: Client, hour: Hour) -> None:
    clerk = person("clerk", Role.VIEWER, is_staff=True)
    client.force_login(clerk)
    action = Action.objects.get(state="needs_review")
    chosen = {"action": "mark_as_applied", "_selected_action": [action.pk]}
    client.post(page(Action, "changelist"), chosen)
    action.refresh_from_db()
    assert action.state == "needs_review"
    grant(clerk, Role.OPERATOR, Place("default", action.workload.namespace))
    confirm(client, action, "mark_as_applied", change_reason="I compared it.")
    action.refresh_from_db()
    assert action.state == "succeeded"


def test_a_token_is_shown_once_in_the_response_that_creates_it(browser: Client) -> None:
    form: dict[str, Any] = {"name": "new-agent", "scopes": ["read", "signals:write"]}
    form["namespaces"] = "shop, smartops-dev ,"
    answer = browser.post(page(Token, "add"), form)
    [text] = re.findall(r"smo_\w{12}_\w{38}", answer.content.decode())
    bearer = verify(text)
    assert bearer is not None
    assert bearer.name == "new-agent"
    assert bearer.scopes == {"read", "signals:write"}
    assert tuple(bearer.namespaces) == ("shop", "smartops-dev")
    assert "no-store" in answer.headers["Cache-Control"]
    token = Token.objects.get(name="new-agent")
    for again in (page(Token, "changelist"), page(Token, "change", token.pk)):
        shown = browser.get(again).content.decode()
        assert text[17:] not in shown
        assert token.digest.hex() not in shown


def test_a_token_is_restricted_and_revoked_but_keeps_its_name(operator: Visitor) -> None:
    text = issue("shop-agent", [Scope.READ, Scope.ACTIONS_WRITE])
    token = Token.objects.get(name="shop-agent")
    save(operator, page(Token, "change", token.pk), name="root", scopes=["read"], namespaces="shop")
    bearer = verify(text)
    assert bearer is not None
    assert (bearer.name, bearer.scopes, tuple(bearer.namespaces)) == ("shop-agent", frozenset({"read"}), ("shop",))
    save(operator, page(Token, "change", token.pk), revoked_at_0="2026-01-01", revoked_at_1="00:00:00")
    assert verify(text) is None
    save(operator, page(Token, "change", token.pk), revoked_at_0="", revoked_at_1="")
    token.refresh_from_db()
    assert token.revoked_at is not None


def test_a_token_gets_limits_of_its_own_for_its_signals(operator: Visitor) -> None:
    text = issue("shop-agent", [Scope.SIGNALS_WRITE])
    token = Token.objects.get(name="shop-agent")
    save(operator, page(Token, "change", token.pk), signals_per_minute="60", waiting_signals="7")
    bearer = verify(text)
    assert bearer is not None
    assert bearer.quota == Quota(60, 7)
    operator.post(page(Token, "change", token.pk), {"signals_per_minute": "0"})
    token.refresh_from_db()
    assert token.signals_per_minute == 60


def test_the_payload_of_a_signal_is_shown_unchanged(running: Client) -> None:
    signal = Signal.objects.get(symptom="memory_leak", state="admitted")
    shown = running.get(page(Signal, "change", signal.pk)).content.decode()
    assert json.dumps(signal.payload["windowId"]).replace('"', "&quot;") in shown
