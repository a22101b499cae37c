"""What an operator on call does in a browser, while a reconciler runs on a sandbox cluster. The tests share the
processes; each has a workload of its own, named after what is done to it."""

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

import pytest
from django.conf import settings
from django.contrib.auth.models import User
from django.core.management import call_command
from django.db import connections
from django.test import Client
from playwright.sync_api import Browser, ConsoleMessage, Locator, Page, expect

from guardrails.models import Freeze, GuardrailSetting
from orchestrator.decide.direct import admit_direct
from orchestrator.k8s.types import WorkloadKey
from orchestrator.models import Action, ActionState, Approval, Heartbeat
from signals import actors
from signals.models import Signal
from signals.reasons import Reason
from signals.types import ActionType, Origin, Proposal, Target
from smartops.console.feed import TICK
from smartops.console.freshness import STOPPED_AFTER
from smartops.dev.sandbox.sandbox import Sandbox
from smartops.people.roles import Role
from tests.kit.people import person
from tests.kit.processes import reconcilers, until
from tests.kit.rules import install_default_rules
from tests.kit.signals import NAMESPACE, anomaly, post
from tests.kit.web import Web
from tests.kit.world import World, deployment
from tests.smartops.console.chromium import CHROMIUM, new_context
from tests.smartops.console.test_browser import REPORT_VIOLATIONS, badge, browser, live

__all__ = ["browser"]  # the fixture

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")

APPROVED = ("approved", "changed", "rejected", "requested")  # workloads in the mode `approve`
WORKLOADS = (*APPROVED, "frozen", "tuned")
LEFT_EARLY = "WebSocket is closed before the connection is established"  # of a page that is left while it connects


@dataclass
class Shop:
    """Everything runs. `ana` is an operator, `ben` an approver, and `ada` an administrator. `errors`: what the pages
    complained of."""

    world: World
    web: Web
    browser: Browser
    reconciler: ExitStack
    sessions: dict[str, str] = field(default_factory=dict)
    errors: list[str] = field(default_factory=list)
    contexts: list[Any] = field(default_factory=list)

    def page(self, name: str, path: str) -> Page:
        """In a browser of its own."""
        if name not in self.sessions:
            client = Client()
            client.force_login(User.objects.get(username=name))
            self.sessions[name] = client.cookies["sessionid"].value
        context = new_context(self.browser, base_url=self.web.url, reduced_motion="reduce")
        self.contexts.append(context)
        context.add_cookies([{"name": "sessionid", "value": self.sessions[name], "url": self.web.url}])
        page = context.new_page()
        page.add_init_script(REPORT_VIOLATIONS)
        page.on("console", self._said)
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.goto(path)
        if page.locator("#live").count():
            live(page)
        return page

    def _said(self, said: ConsoleMessage) -> None:
        if said.type in ("error", "warning") and LEFT_EARLY not in said.text:
            self.errors.append(said.text)

    def refused(self) -> None:
        """The browser notes a refused form, which is no error."""
        noted = [one for one in self.errors if "the server responded with a status of 422" in one]
        assert len(noted) == 1
        self.errors.remove(noted[0])

    def asked(self, service: str) -> Action:
        """A signal's action that waits for an approval."""
        post(anomaly(service))
        return self.waiting(service)

    def waiting(self, service: str) -> Action:
        waits = Action.objects.filter(workload__name=service, state=ActionState.AWAITING_APPROVAL)
        until(waits.exists)
        return waits.select_related("workload", "signal").get()

    def decided(self, service: str) -> Signal:
        """The signal of a new report, after it was decided on."""
        [receipt] = post(anomaly(service))
        decided = Signal.objects.filter(pk=receipt.signal_id).exclude(state="pending", reason="")
        until(decided.exists)
        return decided.get()

    def until_succeeded(self, service: str) -> None:
        until(Action.objects.filter(workload__name=service, state=ActionState.SUCCEEDED).exists)


@pytest.fixture(scope="module")
def transactional_db(django_db_setup: None, django_db_blocker: Any) -> Iterator[None]:
    """As the fixture of that name, by which pytest-django knows who needs a database; but the database is emptied after
    the module."""
    with django_db_blocker.unblock():
        yield
        call_command("flush", verbosity=0, interactive=False)
        connections.close_all()  # of the context in which Playwright's loop runs


@pytest.fixture(scope="module")
def everything(
    browser: Browser, transactional_db: None, served_url: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Shop]:
    folder = tmp_path_factory.mktemp("on-call")
    install_default_rules()
    GuardrailSetting.objects.create(stabilization_seconds=0)
    for name in APPROVED:
        GuardrailSetting.objects.create(namespace=NAMESPACE, workload=name, mode="approve")
    for name, role in (("ana", Role.OPERATOR), ("ben", Role.APPROVER), ("ada", Role.ADMIN)):
        person(name, role)
    with ExitStack() as stack:
        environment = stack.enter_context(pytest.MonkeyPatch.context())
        environment.setattr(settings, "SESSION_COOKIE_SECURE", False)
        world = World(stack.enter_context(Sandbox()), folder)
        world.deploy(*(deployment(name, ready_after="0") for name in WORKLOADS))
        web = Web(served_url)
        stack.callback(web.stop)
        reconciler = stack.enter_context(ExitStack())
        reconciler.enter_context(reconcilers(1, world.sandbox.kubeconfig, folder / "reconciler.log"))
        until(Heartbeat.objects.exists)
        yield Shop(world, web, browser, reconciler)


@pytest.fixture
def shop(everything: Shop) -> Iterator[Shop]:
    yield everything
    for context in everything.contexts:
        context.close()
    errors, everything.errors, everything.contexts = everything.errors, [], []
    assert errors == []


def approval(action: Action) -> str:
    return f"/console/approvals/{action.pk}/"


def opened(page: Page, button: str) -> Locator:
    """The dialog that this button opens. Before its scripts are loaded, a page would open the form as a page."""
    page.wait_for_load_state()
    page.get_by_role("button", name=button, exact=True).first.click()
    dialog = page.get_by_role("dialog")
    expect(dialog.get_by_role("button", name=button, exact=True)).to_be_visible()
    return dialog


def confirm(dialog: Locator, button: str, reason: str = "") -> None:
    if reason:
        dialog.get_by_label("Reason").fill(reason)
    dialog.get_by_role("button", name=button, exact=True).click()
    expect(dialog.page.locator(".messages")).to_be_visible()


def test_what_is_approved_runs_and_its_timeline_fills_while_it_is_read(shop: Shop) -> None:
    overview = shop.page("ben", "/console/")
    action = shop.asked("approved")
    need = overview.locator("#needs").get_by_role("link", name="approved: Scale")
    expect(need).to_be_visible()  # nobody has loaded the page again
    watched = shop.page("ana", f"/console/actions/{action.pk}/")
    expect(watched.locator(".title")).to_contain_text("Awaiting approval")
    watched.evaluate("document.body.dataset.kept = 'never reloaded'")
    need.click()
    confirm(opened(overview, "Approve"), "Approve")
    expect(watched.locator(".title")).to_contain_text("Succeeded")
    expect(watched.locator(".timeline li").last).to_contain_text("RolloutComplete")
    expect(watched.locator(".timeline")).to_contain_text("user:ben")
    assert watched.evaluate("document.body.dataset.kept") == "never reloaded"
    expect(overview.locator(".title")).to_contain_text("Succeeded")
    expect(overview.get_by_role("button", name="Approve", exact=True)).to_have_count(0)
    assert shop.world.replicas("approved") == 3


def test_a_changed_plan_is_asked_about_again_with_the_difference(shop: Shop) -> None:
    action = shop.asked("changed")
    page = shop.page("ben", approval(action))
    dialog = opened(page, "Approve")
    shop.world.cluster.patch_workload(WorkloadKey(NAMESPACE, "changed"), {"spec": {"replicas": 4}})
    until(Action.objects.filter(pk=action.pk).exclude(digest=action.digest).exists)
    dialog.get_by_role("button", name="Approve", exact=True).click()
    expect(dialog.get_by_role("alert").first).to_contain_text("not what you were shown")
    expect(dialog.get_by_role("alert").first).to_be_focused()  # before that, the dialog would open again
    shop.refused()
    assert not Approval.objects.filter(action=action.pk).exists()
    page.keyboard.press("Escape")
    expect(page.locator("#changed")).to_contain_text("Generation")
    confirm(opened(page, "Approve"), "Approve")
    expect(page.locator(".title")).to_contain_text("Succeeded")
    assert shop.world.replicas("changed") == 5


def test_a_rejection_has_a_reason_which_its_page_shows(shop: Shop) -> None:
    page = shop.page("ben", approval(shop.asked("rejected")))
    dialog = opened(page, "Reject")
    dialog.get_by_role("button", name="Reject", exact=True).click()
    expect(dialog.get_by_label("Reason")).to_be_focused()  # the browser asks for it
    confirm(dialog, "Reject", "The sale is over")
    expect(page.locator(".messages")).to_contain_text("rejected")
    expect(page.locator(".title")).to_contain_text("Rejected")
    expect(page.locator("main")).to_contain_text("The sale is over")
    assert shop.world.replicas("rejected") == 2


def test_who_has_requested_an_action_has_no_button_and_cannot_forge_one(shop: Shop) -> None:
    target = Target("default", NAMESPACE, "requested")
    admit_direct(Proposal(ActionType.RESTART, target, Origin.DIRECT, {}, "A new certificate"), actors.user("ada"))
    action = shop.waiting("requested")
    page = shop.page("ada", approval(action))
    expect(page.locator("main")).to_contain_text("You requested it: another person decides.")
    for name in ("Approve", "Reject", "Approve as dry run"):
        expect(page.get_by_role("button", name=name, exact=True)).to_have_count(0)
    own = page.locator("[name=csrfmiddlewaretoken]").first.input_value()
    for token in (own, "of another site"):
        for act in ("approve", "reject", "dry-run"):
            answer = page.request.post(
                f"{approval(action)}{act}/",
                form={"csrfmiddlewaretoken": token, "digest": action.digest, "reason": "Mine"},
            )
            assert answer.status == 403, (act, token)
    assert not Approval.objects.filter(action=action.pk).exists()
    page = shop.page("ben", approval(action))
    confirm(opened(page, "Approve"), "Approve")  # another person may
    expect(page.locator(".title")).to_contain_text("Succeeded")


def test_a_freeze_holds_what_is_reported_and_lift_lets_it_run(shop: Shop) -> None:
    page = shop.page("ana", "/console/")
    dialog = opened(page, "Freeze")
    for name, value in (("Namespace", NAMESPACE), ("Workload", "frozen")):
        dialog.get_by_label(name, exact=True).fill(value)
    dialog.get_by_label("1 hour").check()
    confirm(dialog, "Freeze", "A migration of the database")
    notice = page.locator(".notice", has_text="A migration of the database")
    expect(notice).to_contain_text(f"{NAMESPACE}/frozen")
    assert shop.decided("frozen").reason == Reason.FROZEN
    dialog = opened(page, "Lift")
    expect(dialog).to_contain_text("frozen")  # what will run
    confirm(dialog, "Lift", "It is done")
    expect(notice).to_have_count(0)
    shop.until_succeeded("frozen")
    [freeze] = Freeze.objects.filter(workload="frozen")
    assert (freeze.by, freeze.lifted_by) == ("user:ana", "user:ana")


def test_a_limit_is_previewed_before_it_is_saved_and_the_next_decision_obeys_it(shop: Shop) -> None:
    shop.decided("tuned")
    shop.until_succeeded("tuned")
    page = shop.page("ana", f"/console/guardrails/add/?namespace={NAMESPACE}&workload=tuned")
    page.get_by_label("Max replicas").fill("2")
    page.get_by_role("button", name="Preview").click()
    expect(page.locator(".progress-words")).to_have_text("All decisions of the period are evaluated.")
    expect(page.locator(".differences")).to_contain_text("tuned")
    page.get_by_role("button", name="Save").click()
    expect(page.locator(".messages")).to_contain_text("Saved")
    signal = shop.decided("tuned")
    assert (signal.state, signal.reason) == ("denied", Reason.REPLICA_LIMIT)
    page = shop.page("ana", f"/console/signals/{signal.pk}/")
    expect(page.locator("main")).to_contain_text("ReplicaLimit")


def test_of_two_browsers_that_change_a_limit_the_second_one_is_refused(shop: Shop) -> None:
    row = GuardrailSetting.objects.create(namespace=NAMESPACE, workload="edited", max_replicas=6)
    pages = [shop.page(name, f"/console/guardrails/{row.pk}/change/") for name in ("ana", "ada")]
    for page, replicas in zip(pages, ("5", "4"), strict=True):
        page.get_by_label("Max replicas").fill(replicas)
        page.get_by_role("button", name="Preview").click()
        expect(page.get_by_role("button", name="Save")).to_be_visible()
    pages[0].get_by_role("button", name="Save").click()
    expect(pages[0].locator(".messages")).to_contain_text("Saved")
    pages[1].get_by_role("button", name="Save").click()
    expect(pages[1].get_by_role("alert")).to_contain_text("user:ana")
    shop.refused()
    row.refresh_from_db()
    assert row.max_replicas == 5


def test_a_reconciler_that_stops_is_shown_within_15_seconds(shop: Shop) -> None:
    """The last test: nothing is decided after it."""
    page = shop.page("ana", "/console/")
    shop.reconciler.close()
    assert STOPPED_AFTER.total_seconds() + TICK < 15
    badge(page, "Reconciler stopped")
    expect(page.locator("main")).to_contain_text("nothing is decided, executed or verified")
    expect(page.locator("#heartbeats")).to_contain_text("Stopped")
    expect(page.get_by_text("Live", exact=True)).to_be_hidden()
