"""Acts on actions, and freezes, as a browser sends them; and what the server refuses of a forged post."""

from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.utils.html import strip_tags

from guardrails.models import Freeze
from orchestrator.models import Action, ActionState, AuditEvent, ObservedWorkload, Preview
from orchestrator.reconciler.snapshot import describe
from signals.models import Signal
from signals.types import Kind
from smartops.people.roles import Place, Role
from tests.kit.people import grant
from tests.kit.signals import NAMESPACE, anomaly, post
from tests.kit.verbs import requested, row
from tests.orchestrator.acts.test_actions import unclear
from tests.smartops.console.scene import deployment
from tests.smartops.console.test_pages import text

HERE, ELSEWHERE = Place("default", NAMESPACE), Place("default", "elsewhere")
DIALOG = {"HX-Request": "true", "HX-Target": "dialog#act"}


def path(action: Action, name: str = "") -> str:
    return f"/console/actions/{action.pk}/{name and name + '/'}"


def observed(name: str, namespace: str = NAMESPACE, kind: Kind = Kind.DEPLOYMENT, **columns: Any) -> ObservedWorkload:
    described = describe(deployment(name, 2, namespace), None) | {"kind": kind}
    return ObservedWorkload.objects.create(cluster="default", **described | columns)


@pytest.fixture
def acting(reader: User, reading: Client) -> Client:
    grant(reader, Role.OPERATOR)
    return reading


class TestActions:
    @pytest.mark.parametrize(
        ("name", "make", "given", "state"),
        [
            ("settle", unclear, {"applied": "yes", "reason": "I compared it."}, ActionState.SUCCEEDED),
            ("settle", unclear, {"applied": "no", "reason": "I compared it."}, ActionState.CANCELLED),
            ("cancel", requested, {}, ActionState.CANCELLED),
        ],
    )
    def test_an_act_is_a_button_a_form_and_a_transition(
        self, acting: Client, name: str, make: Any, given: dict[str, str], state: ActionState
    ) -> None:
        action = make()
        assert f'href="{path(action, name)}"' in text(acting.get(path(action)))
        form = text(acting.get(path(action, name), headers=DIALOG))
        assert "<code>Deployment smartops-dev/erp-simulator</code>" in form
        assert "checked" not in form
        answer = acting.post(path(action, name), given, follow=True)
        assert row(action).state == state
        assert AuditEvent.objects.filter(action=action).latest("id").actor == "user:rita"
        assert f'href="{path(action, name)}"' not in text(answer)

    def test_a_retry_leads_to_the_new_action(self, acting: Client) -> None:
        action = requested()
        acting.post(path(action, "cancel"))
        answer = acting.post(path(action, "retry"), {"reason": "Now."}, follow=True)
        again = Action.objects.exclude(pk=action.pk).get()
        assert answer.redirect_chain == [(path(again), 302)]
        assert (again.requested_by, again.justification) == ("user:rita", f"Retry of action {action.pk}: Now.")

    def test_a_refused_act_says_why_and_changes_nothing(self, acting: Client) -> None:
        action = requested()
        answer = acting.post(path(action, "settle"), {"applied": "yes", "reason": "I compared it."})
        assert answer.status_code == 422
        assert "does not need a review" in answer.content.decode()

    @pytest.mark.parametrize("given", [{"applied": "yes"}, {"reason": "x"}, {"applied": "maybe", "reason": "x"}])
    def test_a_settlement_needs_an_answer_and_a_reason(self, acting: Client, given: dict[str, str]) -> None:
        action = unclear()
        assert acting.post(path(action, "settle"), given).status_code == 422
        assert row(action).state == ActionState.NEEDS_REVIEW


class TestForgedPosts:
    """Every act, by people who may not do it here, and without the token against forgery."""

    ACTS = ("settle", "cancel", "retry")

    @pytest.mark.parametrize("name", ACTS)
    @pytest.mark.parametrize(
        ("role", "place", "status"),
        [(Role.VIEWER, HERE, 403), (Role.APPROVER, HERE, 403), (Role.OPERATOR, ELSEWHERE, 404), (None, HERE, 403)],
    )
    def test_another_role_or_another_namespace_is_refused(
        self, db: None, client: Client, name: str, role: Role | None, place: Place, status: int
    ) -> None:
        action = unclear() if name == "settle" else requested()
        mallory = User.objects.create_user("mallory")
        if role:
            grant(mallory, role, place)
        client.force_login(mallory)
        before = row(action).state
        for headers in ({}, DIALOG):
            given = {"applied": "yes", "reason": "x"}
            assert client.post(path(action, name), given, headers=headers).status_code == status
        assert row(action).state == before
        assert f'href="{path(action, name)}"' not in client.get(path(action)).content.decode()

    def test_who_reads_here_and_acts_elsewhere_has_no_button_and_is_refused(
        self, reader: User, reading: Client
    ) -> None:
        grant(reader, Role.OPERATOR, ELSEWHERE)
        action = requested()
        assert "Cancel</a>" not in text(reading.get(path(action)))
        assert reading.post(path(action, "cancel")).status_code == 403
        assert row(action).state == ActionState.PENDING

    @pytest.mark.parametrize("name", ACTS)
    def test_a_post_without_the_token_against_forgery_is_refused(self, acting: Client, reader: User, name: str) -> None:
        action = unclear() if name == "settle" else requested()
        forged = Client(enforce_csrf_checks=True)
        forged.force_login(reader)
        assert forged.post(path(action, name), {"applied": "yes", "reason": "x"}).status_code == 403
        forged.get("/console/")
        assert (
            forged.post("/console/freeze/", {"namespace": NAMESPACE, "lasts": "1h", "reason": "x"}).status_code == 403
        )
        assert (AuditEvent.objects.filter(actor="user:rita").count(), Freeze.objects.count()) == (0, 0)


class TestFreeze:
    GIVEN = {"cluster": "default", "namespace": NAMESPACE, "lasts": "1h", "reason": "a release"}

    def test_a_freeze_and_its_lift_are_on_every_page(self, acting: Client) -> None:
        observed("web")
        shown = text(acting.get(f"/console/actions/?namespace={NAMESPACE}"))
        assert f"/console/freeze/?namespace={NAMESPACE}&amp;back=" in shown

        answer = acting.post(f"/console/freeze/?back=/console/actions/?namespace={NAMESPACE}", self.GIVEN, follow=True)

        assert answer.redirect_chain == [(f"/console/actions/?namespace={NAMESPACE}", 302)]
        freeze = Freeze.objects.get()
        assert (freeze.scope, freeze.by) == (f"cluster default, namespace {NAMESPACE}", "user:rita")
        for page in ("/console/", "/console/actions/"):
            assert f"Frozen: cluster default, namespace {NAMESPACE}." in text(acting.get(page))
            assert f"/console/freezes/{freeze.pk}/lift/" in text(acting.get(page))

        acting.post(f"/console/freezes/{freeze.pk}/lift/", {"reason": "The release is done."})
        freeze.refresh_from_db()
        assert (freeze.lifted_by, freeze.lift_reason) == ("user:rita", "The release is done.")
        assert "Frozen:" not in text(acting.get("/console/"))

    @pytest.mark.parametrize(
        ("changed", "said"),
        [
            ({"reason": ""}, "This field is required."),
            ({"lasts": ""}, "This field is required."),
            ({"lasts": "9h"}, "Select a valid choice"),
            ({"cluster": "another"}, "Select a valid choice"),
            ({"namespace": "shpo"}, "There is no cluster default, namespace shpo."),
            ({"namespace": "", "workload": "web"}, "A workload is named within its namespace."),
            ({"namespace": ""}, "Type “cluster default” to confirm it."),
            ({"namespace": "", "typed": "cluster"}, "Type “cluster default” to confirm it."),
            ({"cluster": "", "namespace": ""}, "Type “everything” to confirm it."),
            ({"reason": "x" * 257}, "At most 256 are stored."),
        ],
    )
    def test_a_freeze_that_is_not_meant_is_refused(self, acting: Client, changed: dict[str, str], said: str) -> None:
        observed("web")
        answer = acting.post("/console/freeze/", self.GIVEN | changed)
        assert (answer.status_code, Freeze.objects.count()) == (422, 0)
        assert said in answer.content.decode()

    @pytest.mark.parametrize(
        ("scope", "typed"),
        [({}, "everything"), ({"cluster": "default"}, "cluster default"), ({"kind": "StatefulSet"}, "StatefulSets")],
    )
    def test_a_wide_freeze_is_confirmed_by_its_name(self, acting: Client, scope: dict[str, str], typed: str) -> None:
        observed("web")
        assert f"Type <code>{typed}</code>" in text(acting.get("/console/freeze/held/", scope))
        acting.post("/console/freeze/", {"lasts": "lifted", "reason": "an incident", "typed": typed, **scope})
        assert (Freeze.objects.get().scope, Freeze.objects.get().until) == (typed, None)

    def test_a_preview_of_a_freeze_is_optional_and_freezes_nothing(self, acting: Client) -> None:
        observed("web")
        entered = {"cluster": "default", "namespace": NAMESPACE, "window": "week"}

        page = text(acting.post("/console/freeze/", entered | {"reason": "a rel", "typed": "x"}))

        assert "Stored decisions under this change" in page
        assert "a rel" in page
        assert 'value="month"' in page
        assert page.index(">Freeze</button>") < page.index('name="window"'), "the key Enter freezes"
        row = Preview.objects.get()
        assert (row.owner, Freeze.objects.count()) == ("user:rita", 0)
        assert "All decisions of the period" in text(acting.post("/console/preview/", {"preview": str(row.pk)}))
        assert "Stored decisions" not in text(acting.get("/console/freeze/"))
        unknown = acting.post("/console/freeze/", entered | {"namespace": "shpo"})
        assert (unknown.status_code, "There is no" in unknown.content.decode()) == (422, True)

    def test_a_person_previews_a_freeze_only_where_they_may_freeze(self, db: None, client: Client) -> None:
        observed("api", "elsewhere")
        otto = User.objects.create_user("otto")
        grant(otto, Role.OPERATOR, HERE)
        client.force_login(otto)
        for scope in ({"namespace": "elsewhere"}, {"cluster": "default"}):
            assert client.post("/console/freeze/", {"window": "day", **scope}).status_code == 403
        assert not Preview.objects.exists()

    def test_everything_is_frozen_before_a_workload_is_known(self, acting: Client) -> None:
        given = {"namespace": "shop", "lasts": "15m", "reason": "an incident"}
        assert acting.post("/console/freeze/", given).status_code == 302
        assert Freeze.objects.get().scope == "namespace shop"

    def test_the_counts_follow_the_scope(self, acting: Client) -> None:
        post(anomaly("web"), anomaly("api"))
        requested("web", signal=Signal.objects.get(workload="web"))
        requested("api")
        shown = text(acting.get("/console/freeze/", {"namespace": NAMESPACE}))
        assert "holds 2 signals and 1 waiting action now, and refuses 1 direct action that waits." in strip_tags(shown)
        one = {"cluster": "default", "kind": "Deployment", "namespace": NAMESPACE, "workload": "api"}
        held = strip_tags(text(acting.get("/console/freeze/held/", one)))
        assert "holds 1 signal and 0 waiting actions now" in held

    def test_a_person_freezes_only_where_they_may(self, db: None, client: Client) -> None:
        observed("web")
        observed("api", "elsewhere")
        otto = User.objects.create_user("otto")
        grant(otto, Role.OPERATOR, HERE)
        client.force_login(otto)
        form = text(client.get("/console/freeze/", {"cluster": "default"}))
        assert '<option value="default"' in form
        assert "All clusters" not in form
        assert "elsewhere" not in form
        for scope in ({"namespace": "elsewhere"}, {"namespace": "", "typed": "cluster default"}):
            assert client.post("/console/freeze/", self.GIVEN | scope).status_code == 403
        wide = Freeze.objects.create(reason="an incident", by="user:ana")
        shown = text(client.get("/console/actions/"))
        assert "Frozen: everything." in shown
        assert f"/console/freezes/{wide.pk}/lift/" not in shown
        assert client.post(f"/console/freezes/{wide.pk}/lift/", {"reason": "x"}).status_code == 403
        other = Freeze.objects.create(namespace="elsewhere", reason="a secret", by="user:ana")
        assert "a secret" not in text(client.get("/console/actions/"))
        assert client.post(f"/console/freezes/{other.pk}/lift/", {"reason": "x"}).status_code == 404
        assert Freeze.in_force().count() == 2
        assert client.post("/console/freeze/", self.GIVEN).status_code == 302

    @pytest.mark.parametrize("back", ["https://example.com/", "//example.com/", "/admin/", "javascript:alert(1)"])
    def test_the_way_back_is_a_page_of_the_console(self, acting: Client, back: str) -> None:
        observed("web")
        answer = acting.post(f"/console/freeze/?back={back}", self.GIVEN)
        assert answer.headers["Location"] == "/console/"

    def test_a_lift_says_what_will_run(self, acting: Client) -> None:
        post(anomaly("web"))
        Signal.objects.update(reason="Frozen")
        freeze = Freeze.objects.create(reason="an incident", by="user:ana")
        form = text(acting.get(f"/console/freezes/{freeze.pk}/lift/"))
        assert "1 signal and 0 actions are decided on at once." in strip_tags(form)
        assert acting.post(f"/console/freezes/{freeze.pk}/lift/", {"reason": ""}).status_code == 422
        assert Freeze.in_force().exists()
