"""The screen of approvals: who has a button, what a person reads, and what a forged or late post does."""

import re
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db.models.functions import Now
from django.test import Client
from django.urls import reverse

from orchestrator.models import Action, ActionState, Approval, transition_store, transitions
from smartops.people.access import Place, Role
from tests.kit.history import rewritable
from tests.kit.people import person
from tests.smartops.console.scene import NAMESPACE, RECONCILER, Hour, waiting_for_approval

pytestmark = pytest.mark.django_db
ACTS = ("approve", "reject", "rehearse")


@pytest.fixture
def action(hour: Hour) -> Action:
    return waiting_for_approval(hour)


def as_(user: User) -> Client:
    client = Client()
    client.force_login(user)
    return client


@pytest.fixture
def ben() -> Client:
    return as_(person("ben", Role.APPROVER))


def url(action: Action, act: str = "") -> str:
    return reverse(f"console:{act or 'approval'}", args=[action.pk])


def text(answer: Any) -> str:
    return str(answer.content.decode())


def test_the_list_has_what_waits_and_its_number_of_approvals(ben: Client, action: Action) -> None:
    page = text(ben.get(reverse("console:approvals")))

    assert f'href="{url(action)}"' in page
    assert "0 of 1" in page
    assert page.count('id="approval-') == 1


def test_the_page_says_what_would_change_what_speaks_against_it_and_who_may_decide(ben: Client, action: Action) -> None:
    page = text(ben.get(url(action)))

    assert "currencyservice: Scale to 4 (2\N{NO-BREAK SPACE}→\N{NO-BREAK SPACE}4)" in page
    assert "<code>spec.replicas</code>" in page
    assert "Changed since it was shown before" in page
    assert "other actions in the namespace" in page
    assert "At most 3 replicas added within 15 minutes" in page
    assert "<code>ben</code>" in page
    assert url(action, "approve") in page
    assert url(action, "reject") in page


def test_an_approval_makes_the_action_pending(ben: Client, action: Action) -> None:
    answer = ben.post(url(action, "approve"), {"digest": action.digest}, follow=True)

    assert "is approved" in text(answer)
    action.refresh_from_db()
    assert (action.state, action.moved_by) == (ActionState.PENDING, "user:ben")


@pytest.fixture
def risky(action: Action) -> Action:
    """Its change is large."""
    with rewritable():
        Action.objects.filter(pk=action.pk).update(params={"replicas": 9})
    return action


LARGE = "It adds 7 replicas to 2."


def acknowledgement_in(form: str) -> str:
    [found] = re.findall(r'name="acknowledged" value="(\w+)" required', form)
    return str(found)


def test_an_approval_of_a_high_risk_takes_an_acknowledgement_that_names_the_reasons(ben: Client, risky: Action) -> None:
    page = text(ben.get(url(risky)))
    form = text(ben.get(url(risky, "approve"), {"digest": risky.digest}))
    assert "High risk" in page
    assert LARGE in page
    assert LARGE in form

    refused = ben.post(url(risky, "approve"), {"digest": risky.digest})
    assert refused.status_code == 422
    assert "The risk is high: the change is large. Acknowledge it to approve the action." in text(refused)
    assert acknowledgement_in(text(refused)) == acknowledgement_in(form)
    assert not Approval.objects.exists()

    given = {"digest": risky.digest, "acknowledged": acknowledgement_in(form)}
    assert "is approved" in text(ben.post(url(risky, "approve"), given, follow=True))
    assert Approval.objects.get().acknowledged == [LARGE]
    assert f"acknowledged a high risk: <bdi>{LARGE}" in text(ben.get(url(risky)))


def test_an_acknowledgement_is_of_the_risk_that_was_shown(ben: Client, risky: Action) -> None:
    given = {"digest": risky.digest}
    given["acknowledged"] = acknowledgement_in(text(ben.get(url(risky, "approve"), {"digest": risky.digest})))
    with rewritable():
        Action.objects.filter(pk=risky.pk).update(params={"replicas": 0})

    refused = ben.post(url(risky, "approve"), given)

    assert refused.status_code == 422
    assert "The risk is not what you acknowledged. Now it is: no pod is left." in text(refused)
    assert "No pod of the workload is left after the change." in text(refused)
    assert not Approval.objects.exists()
    given["acknowledged"] = acknowledgement_in(text(refused))
    assert ben.post(url(risky, "approve"), given).status_code == 302


def test_an_ordinary_approval_has_no_further_step(ben: Client, action: Action) -> None:
    for page in (text(ben.get(url(action))), text(ben.get(url(action, "approve")))):
        assert "High risk" not in page
        assert "acknowledged" not in page


def test_a_rejection_and_a_dry_run_of_a_high_risk_need_no_acknowledgement(ben: Client, risky: Action) -> None:
    assert ben.post(url(risky, "rehearse"), {"digest": risky.digest}).status_code == 302
    assert ben.post(url(risky, "reject"), {"digest": risky.digest, "reason": "Not now."}).status_code == 302


def test_no_decision_is_preset(ben: Client, action: Action) -> None:
    page = text(ben.get(url(action)))
    classes = {act: re.findall(rf'<a class="([^"]*)" role="button" href="{url(action, act)}', page) for act in ACTS}
    assert classes == {act: ["button "] for act in ACTS}
    form = text(ben.get(url(action, "approve")))
    assert "checked" not in form[form.index('<form class="act"') : form.index("</main>")]


def test_a_rejection_needs_a_reason(ben: Client, action: Action) -> None:
    assert ben.post(url(action, "reject"), {"digest": action.digest, "reason": ""}).status_code == 422
    answer = ben.post(url(action, "reject"), {"digest": action.digest, "reason": "Not now."}, follow=True)

    assert "user:ben rejected it: Not now." in text(answer)
    action.refresh_from_db()
    assert action.state == ActionState.REJECTED


@pytest.mark.parametrize("act", ACTS)
def test_what_has_changed_since_it_was_read_is_refused(ben: Client, action: Action, act: str) -> None:
    answer = ben.post(url(action, act), {"digest": "another", "reason": "Because."})

    assert answer.status_code == 422
    assert "not what you were shown" in text(answer)
    assert not Approval.objects.exists()


@pytest.mark.parametrize("act", ACTS)
def test_the_requester_has_no_button_and_a_forged_post_is_refused(action: Action, act: str) -> None:
    ana = person("ana", Role.APPROVER)
    requested = waiting_by(action, "user:ana")
    page = text(as_(ana).get(url(requested)))

    assert "You requested it: another person decides." in page
    assert url(requested, act) not in page
    answer = as_(ana).post(url(requested, act), {"digest": requested.digest, "reason": "Please."})
    assert answer.status_code == 403
    assert not Approval.objects.exists()


def waiting_by(action: Action, requester: str) -> Action:
    """The same, requested by a person."""
    transition_store.store([transitions.cancel(action, "Cancelled", "", RECONCILER)])
    copy = Action.new(action.proposal, action.workload, moved_by=requester)
    copy.requested_by = requester
    copy.save(force_insert=True)
    plan = {name: getattr(action, name) for name in ("planned_uid", "before_image", "after_image", "change")}
    asks = transition_store.Asks(action.shown or {}, action.digest, "ApprovalRequired", "", {}, 600)  # type: ignore[arg-type]
    transition_store.store([transitions.claim(copy, RECONCILER)])
    transition_store.store([transitions.ask(copy, plan, asks, RECONCILER)])
    return copy


@pytest.mark.parametrize(
    ("role", "place", "status"),
    [
        (Role.VIEWER, Place(), 403),
        (Role.OPERATOR, Place(), 403),
        (Role.APPROVER, Place("default", NAMESPACE), 302),
        (Role.APPROVER, Place("default", "another"), 404),
        (None, Place(), 403),
    ],
)
def test_the_right_is_checked_at_the_post(action: Action, role: Role | None, place: Place, status: int) -> None:
    cem = as_(person("cem", role, place))

    assert cem.post(url(action, "approve"), {"digest": action.digest}).status_code == status


def test_after_its_time_there_is_no_form_and_it_is_not_counted(ben: Client, action: Action) -> None:
    Action.objects.filter(pk=action.pk).update(deadline_at=Now() - timedelta(seconds=1))

    assert 'id="approval-' not in text(ben.get(reverse("console:approvals")))
    assert url(action, "approve") not in text(ben.get(url(action)))
    assert ben.post(url(action, "approve"), {"digest": action.digest}).status_code == 422


def test_a_refusal_at_the_run_is_shown(ben: Client, action: Action) -> None:
    ben.post(url(action, "approve"), {"digest": action.digest})
    action.refresh_from_db()
    transition_store.store([transitions.cancel(action, "Frozen", "user:ana froze everything: incident", RECONCILER)])

    page = text(ben.get(url(action)))
    assert "user:ana froze everything: incident" in page
    assert "approved" in page


def test_a_link_leads_to_the_approval_after_the_sign_in(client: Client, action: Action) -> None:
    answer = client.get(url(action))

    assert answer.status_code == 302
    assert answer.headers["Location"].endswith(f"?next={url(action)}")


def test_an_action_that_nobody_was_asked_about_has_no_such_page(ben: Client, action: Action) -> None:
    other = Action.objects.exclude(pk=action.pk).filter(digest="").latest("pk")
    assert ben.get(url(other)).status_code == 404


def test_a_dry_run_is_requested_and_its_result_is_shown(ben: Client, action: Action) -> None:
    answer = ben.post(url(action, "rehearse"), {"digest": action.digest}, follow=True)
    assert "Waits for a reconciler." in text(answer)

    result = {"done": True, "ok": False, "message": "a webhook denies it", "after": {}}
    Action.objects.filter(pk=action.pk).update(rehearsal={"digest": action.digest, "by": "user:ben", **result})
    assert "a webhook denies it" in text(ben.get(url(action)))
    action.refresh_from_db()
    assert action.state == ActionState.AWAITING_APPROVAL
