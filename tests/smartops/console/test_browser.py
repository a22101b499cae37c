"""The console in a real browser, served by two web processes that share nothing but the database."""

import os
import re
import signal
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import Group, User
from django.test import Client
from playwright.sync_api import Browser, Page, expect, sync_playwright

from guardrails.models import Freeze
from orchestrator.models import Action, Heartbeat, VerificationStatus, transition_store, transitions
from signals import actors
from signals.reasons import Reason
from signals.types import ActionType
from smartops.models import RoleGrant
from smartops.people.roles import Place, Role
from smartops.people.sessions import Session
from tests.kit.people import person
from tests.kit.web import Web
from tests.smartops.console.chromium import CHROMIUM, launch, new_context
from tests.smartops.console.scene import NAMESPACE, Hour, an_ordinary_hour, anomaly, reconciled, waiting_for_approval

REPORT_VIOLATIONS = "addEventListener('securitypolicyviolation', e => console.error('CSP', e.violatedDirective))"

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with pytest.MonkeyPatch.context() as environment, sync_playwright() as playwright:
        # Playwright's loop runs in this thread, between its calls; Django takes that for asynchronous code.
        environment.setenv("DJANGO_ALLOW_ASYNC_UNSAFE", "1")
        with launch(playwright) as chromium:
            yield chromium


@pytest.fixture
def scene(transactional_db: None) -> Hour:
    return an_ordinary_hour()


class Visitor:
    """Somebody who is signed in, and opens pages. `errors`: what the pages complained of."""

    def __init__(self, browser: Browser, session: str) -> None:
        self.errors: list[str] = []
        self._context = new_context(browser, reduced_motion="reduce")
        self._session = session

    def __call__(self, web: Web, path: str = "/console/") -> Page:
        self._context.add_cookies([{"name": "sessionid", "value": self._session, "url": web.url}])
        page = self._context.new_page()
        page.add_init_script(REPORT_VIOLATIONS)
        page.on("console", lambda said: self.errors.append(said.text) if said.type in ("error", "warning") else None)
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.goto(web.url + path)
        if path.startswith("/console/"):
            live(page)
        return page

    def leave(self) -> None:
        self._context.close()


@pytest.fixture
def visit(browser: Browser, transactional_db: None, client: Client) -> Iterator[Visitor]:
    client.force_login(User.objects.create_superuser("ada"))
    visitor = Visitor(browser, client.cookies["sessionid"].value)
    yield visitor
    visitor.leave()
    assert visitor.errors == []


def live(page: Page) -> None:
    expect(page.get_by_role("status")).to_have_text("Live", use_inner_text=True)


def row(page: Page, action: Action) -> Any:
    return page.locator(f"#action-{action.pk}")


def test_a_transition_appears_in_the_pages_of_both_web_processes(
    web: Web, serve: Callable[..., Web], scene: Hour, visit: Visitor
) -> None:
    action = Action.objects.select_related("workload", "signal").get(state="verifying")
    other = serve()
    actions = "/console/actions/"
    pages = [visit(web, actions), visit(other, actions), visit(other, f"{actions}{action.pk}/")]
    for page in pages:
        page.evaluate("document.body.dataset.kept = 'never reloaded'")
    expect(row(pages[0], action)).to_contain_text("Verifying")
    scene.success(action)  # this process is the third
    for page in pages[:2]:
        expect(row(page, action)).to_contain_text("Succeeded")
        expect(row(page, action)).to_contain_text("4 / 4 / 4")
    expect(pages[2].locator(".title")).to_contain_text("Succeeded")
    expect(pages[2].locator(".timeline li").last).to_contain_text("RolloutComplete")
    for page in pages:
        assert page.evaluate("document.body.dataset.kept") == "never reloaded"


def test_open_overviews_and_lists_get_what_waits_for_an_approval_by_the_socket_alone(
    web: Web, scene: Hour, visit: Visitor, browser: Browser
) -> None:
    person("ben", Role.APPROVER, Place(namespace=NAMESPACE))
    person("eve").groups.add(group := Group.objects.create(name="on call"))
    RoleGrant.objects.create(group=group, role=Role.VIEWER)
    visitors = [visit]
    for name in ("ben", "eve"):
        client = Client()
        client.force_login(User.objects.get(username=name))
        visitors.append(Visitor(browser, client.cookies["sessionid"].value))
    overviews = [visitor(web) for visitor in visitors]
    lists = [visitor(web, "/console/actions/?state=active") for visitor in visitors]
    fetched: list[str] = []
    for page in (*overviews, *lists):
        page.on("request", lambda request: fetched.append(request.url) if request.resource_type == "fetch" else None)
    action = waiting_for_approval(scene)
    need = f"{action.workload.name}: "
    for page in overviews:
        expect(page.locator("#needs")).to_contain_text("1 action waits for an approval")
        expect(page.locator("#needs").get_by_role("link", name=need).first).to_be_visible()
    for page in lists:
        expect(page.get_by_role("button", name=re.compile(r"^\d+ new$"))).to_be_visible()
    assert fetched == []
    for visitor in visitors[1:]:
        visitor.leave()
        assert visitor.errors == []


def test_a_list_announces_new_rows_and_shows_them_when_it_is_asked_to(web: Web, scene: Hour, visit: Visitor) -> None:
    page = visit(web, "/console/actions/")
    page.get_by_role("link", name="cartservice: Restart all pods").focus()
    first = page.locator("tbody tr").first.get_attribute("id") or ""
    new = scene.direct(ActionType.RESTART, "redis-cart", {}, "ops-cli", "try it")
    expect(page.get_by_role("button", name="1 new")).to_be_visible()
    expect(page.locator("tbody tr").first).to_have_id(first)
    assert page.evaluate("document.activeElement.textContent") == "cartservice: Restart all pods"
    page.get_by_role("button", name="1 new").click()
    expect(page.locator("tbody tr").first).to_have_id(f"action-{new.pk}")
    expect(page.locator("#news")).to_be_hidden()


def test_a_burst_of_changes_of_a_list_costs_no_fetches(web: Web, scene: Hour, visit: Visitor) -> None:
    action = Action.objects.select_related("workload", "signal").get(state="verifying")
    page = visit(web, "/console/actions/")
    fetched: list[str] = []
    page.on("request", lambda request: fetched.append(request.url) if request.resource_type == "fetch" else None)
    for _ in range(20):
        last = scene.direct(ActionType.RESTART, "redis-cart", {}, "ops-cli", "again")
        transition_store.store(
            [transitions.cancel(last, Reason.SIGNAL_RESOLVED, "Never mind.", actors.token("ops-cli"))]
        )
    scene.success(action)
    expect(row(page, action)).to_contain_text("Succeeded")
    expect(page.get_by_role("button", name=re.compile(r"^\d+ new$"))).to_be_visible()
    assert len(fetched) <= 1  # when listening has begun


def test_a_paused_page_stays_as_it_is_and_counts_what_is_new(web: Web, scene: Hour, visit: Visitor) -> None:
    action = Action.objects.select_related("workload", "signal").get(state="verifying")
    pages = [visit(web, path) for path in ("/console/actions/", f"/console/actions/{action.pk}/")]
    for page in pages:
        page.get_by_role("button", name="Pause").click()
        badge(page, "Paused")
        expect(page.locator(".as-of")).to_have_text(re.compile(r"As of \d\d:\d\d:\d\d"))
    scene.success(action)
    for page, shown in zip(pages, (row(pages[0], action), pages[1].locator(".title")), strict=True):
        expect(page.get_by_role("button", name="1 new")).to_be_visible()
        expect(shown).to_contain_text("Verifying")
        page.get_by_role("button", name="Pause").click()
        live(page)
        expect(shown).to_contain_text("Succeeded")


def test_a_hidden_page_fetches_nothing_and_shows_later_what_it_missed(web: Web, scene: Hour, visit: Visitor) -> None:
    action = Action.objects.select_related("workload", "signal").get(state="verifying")
    path = f"/console/actions/{action.pk}/"
    page, other = visit(web, path), visit(web, path)
    fetched: list[str] = []
    page.on("request", lambda request: fetched.append(request.url))
    hide(page, hidden=True)
    badge(page, "Reconnecting")
    scene.success(action)
    expect(other.locator(".title")).to_contain_text("Succeeded")
    expect(page.locator(".title")).to_contain_text("Verifying")
    assert fetched == []
    hide(page, hidden=False)
    expect(page.locator(".title")).to_contain_text("Succeeded")
    live(page)


def hide(page: Page, *, hidden: bool) -> None:
    """As if the person had chosen another tab."""
    page.evaluate(
        """hidden => {
          Object.defineProperty(document, "hidden", {configurable: true, get: () => hidden});
          document.dispatchEvent(new Event("visibilitychange"));
        }""",
        hidden,
    )


def test_a_change_leaves_open_details_and_a_selection_alone(web: Web, scene: Hour, visit: Visitor) -> None:
    action = Action.objects.select_related("workload", "signal").get(state="verifying")
    page = visit(web, f"/console/actions/{action.pk}/")
    page.get_by_text("Last payload").click()
    page.evaluate("getSelection().selectAllChildren(document.querySelector('details pre'))")
    selected = page.evaluate("String(getSelection())")
    scene.success(action)
    expect(page.locator(".timeline li").last).to_contain_text("RolloutComplete")
    expect(page.locator("details pre")).to_be_visible()
    assert page.evaluate("String(getSelection())") == selected != ""


def test_a_page_shows_that_its_web_process_was_killed_and_shows_later_what_it_missed(
    serve: Callable[..., Web], scene: Hour, visit: Visitor
) -> None:
    action = Action.objects.select_related("workload", "signal").get(state="verifying")
    web = serve()
    page = visit(web, "/console/actions/")
    web.process.kill()
    expect(page.get_by_role("status")).to_have_text("Reconnecting", use_inner_text=True)
    message = "4 of 4 replicas are not available."
    scene.verify(action, VerificationStatus.FAILED, Reason.PROGRESS_DEADLINE_EXCEEDED, message, available=0)
    serve(port=web.port)
    live(page)
    expect(row(page, action)).to_contain_text("Failed")
    visit.errors.clear()  # the browser's own, of connections that it was refused


def test_a_page_whose_session_has_ended_goes_to_the_login_page(web: Web, scene: Hour, visit: Visitor) -> None:
    page = visit(web)
    Session.objects.all().delete()
    scene.direct(ActionType.RESTART, "redis-cart", {}, "ops-cli", "look up")
    page.wait_for_url("**/admin/login/?next=/console/")
    visit.errors.clear()  # the browser notes the 401


def test_hostile_text_is_not_run_by_the_browser(web: Web, scene: Hour, visit: Visitor) -> None:
    page = visit(web, "/console/actions/")
    markup = "<img src=x onerror=document.title='owned'><script>document.title='owned'</script>"
    new = scene.direct(ActionType.RESTART, "redis-cart", {}, markup, markup)
    page.get_by_role("button", name="1 new").click()
    expect(row(page, new)).to_contain_text(markup)
    row(page, new).get_by_role("link").click()
    page.wait_for_url("**/actions/**")
    live(page)
    expect(page.locator(".facts").last).to_contain_text(markup)
    assert "owned" not in page.title()


def test_the_admin_works_under_the_same_policy(web: Web, scene: Hour, visit: Visitor) -> None:
    for path in ("", "orchestrator/action/", "signals/rule/add/", "smartops/token/", "login/"):
        visit(web, f"/admin/{path}")
    page = visit(web, "/admin/guardrails/freeze/add/")
    page.get_by_role("link", name="Now").click()
    assert page.locator("#id_until_1").input_value()


def badge(page: Page, text: str) -> None:
    expect(page.get_by_role("status")).to_have_text(text, use_inner_text=True)


def test_live_includes_the_reconciler_and_never_describes_old_data(web: Web, scene: Hour, visit: Visitor) -> None:
    page = visit(web, "/console/guardrails/")
    expect(page.locator(".as-of")).to_be_hidden()
    reconciled(ago=timedelta(seconds=16))
    badge(page, "Reconciler stopped")
    expect(page.locator(".as-of")).to_have_text(re.compile(r"As of \d\d:\d\d:\d\d"))
    expect(page.locator("main")).to_contain_text("nothing is decided, executed or verified")
    reconciled()
    badge(page, "Live")
    Heartbeat.objects.all().delete()
    badge(page, "No reconciler")
    reconciled()
    badge(page, "Live")
    page.route("**/console/guardrails/", lambda route: route.fulfill(status=503))  # the socket stays open
    freeze = Freeze.objects.create(reason="a migration", by=actors.user("ada"))
    expect(page.get_by_role("status")).to_have_text(re.compile(r"^As of \d\d:\d\d:\d\d$"), use_inner_text=True)
    page.unroute("**/console/guardrails/")
    badge(page, "Live")
    expect(page.locator("main")).to_contain_text(freeze.reason)
    visit.errors.clear()  # the browser's own, of the answers 503


RECORD_BADGES = """id => {
    window.badges = [];
    const note = () => badges.push([
        document.documentElement.dataset.connection, document.getElementById(id).dataset.state]);
    new MutationObserver(note).observe(document, { subtree: true, childList: true, attributes: true });
}"""


def test_a_web_process_that_stood_still_never_says_live_over_what_it_has_not_sent(
    serve: Callable[..., Web], scene: Hour, visit: Visitor
) -> None:
    action = Action.objects.select_related("workload", "signal").get(state="verifying")
    web = serve()
    page = visit(web, "/console/actions/")
    page.evaluate(RECORD_BADGES, f"action-{action.pk}")
    os.kill(web.pid, signal.SIGSTOP)
    try:
        scene.success(action)
        expect(page.get_by_role("status")).to_have_text(re.compile(r"^As of"), use_inner_text=True)
        page.evaluate("badges.length = 0")
    finally:
        os.kill(web.pid, signal.SIGCONT)
    live(page)
    expect(row(page, action)).to_contain_text("Succeeded")
    assert ["live", "verifying"] not in page.evaluate("badges")
    assert ["live", "succeeded"] in page.evaluate("badges")


def test_a_page_that_may_not_be_read_any_more_disappears(web: Web, scene: Hour, visit: Visitor) -> None:
    page = visit(web)
    User.objects.update(is_superuser=False)
    expect(page.locator("main")).to_contain_text("Your account has no right to read anywhere.")
    visit.errors.clear()  # the browser notes the 403


BIDI = "pay\u202etnemyap\u2066\u05d0\u05d1 "
LONG = "w" * 120 + ".x" * 66


def hostile(scene: Hour) -> Action:
    """Names and texts as long as they may be, some of which change the direction of what follows."""
    text = BIDI * 60 + "x" * 400
    Freeze.objects.create(namespace="elsewhere", workload=LONG, reason=(BIDI * 20)[:256], by=actors.user(BIDI[:20]))
    scene.signal(anomaly(LONG, "resource", 0.94, "w"))
    scene.signal(anomaly(LONG, (BIDI * 20)[:128], 0.94, "w"))
    action = scene.direct(ActionType.RESTART, LONG, {}, (BIDI * 20)[:128], text)
    transition_store.store([transitions.cancel(action, Reason.SIGNAL_RESOLVED, text, actors.user(BIDI[:20]))])
    return action


def test_no_text_of_the_admin_changes_the_direction_of_others(web: Web, scene: Hour, visit: Visitor) -> None:
    action = hostile(scene)
    for path in (
        "guardrails/freeze/", "orchestrator/action/", f"orchestrator/action/{action.pk}/change/",
        "orchestrator/auditevent/", "orchestrator/decisionrecord/", "signals/signal/", "signals/observation/",
    ):  # fmt: skip
        page = visit(web, f"/admin/{path}")
        assert page.evaluate(UNISOLATED) == [], path
        assert page.evaluate(TOO_WIDE) == [], path


# Visible elements that stick out of the page, or out of a cell, without a scroll bar.
OUTSIDE = """() => [...document.querySelectorAll("body *")].filter(element => {
  if (!element.checkVisibility() || element.closest(".skip, svg, [hidden]")) return false;
  const cell = element.closest("td, th, .panel, .notice, .top, .loop li") ?? document.body;
  const inner = element.getBoundingClientRect(), outer = cell.getBoundingClientRect();
  for (let at = element.parentElement; at && at !== cell; at = at.parentElement)
    if (getComputedStyle(at).overflowX !== "visible") return false;
  return inner.width && inner.right > 0 && (inner.right > outer.right + 1 || inner.left < outer.left - 1);
}).map(element => `${element.tagName} ${element.className} ${element.textContent.slice(0, 30)}`)"""

# Texts with an invisible character that changes the direction; texts that had one, in no element that isolates them.
UNISOLATED = """() => {
  const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT), found = [];
  while (texts.nextNode()) {
    const element = texts.currentNode.parentElement;
    if (/[\u202a-\u202e\u2066-\u2069]/.test(texts.currentNode.data)) found.push(texts.currentNode.data);
    if (!texts.currentNode.data.includes("[U+202E]") || element.closest("option, script")) continue;
    let at = element;
    while (getComputedStyle(at).display === "inline" && getComputedStyle(at).unicodeBidi === "normal")
      at = at.parentElement;
    const isolates = ["isolate", "plaintext"].includes(getComputedStyle(at).unicodeBidi);
    if (!isolates) found.push(`${element.tagName} ${element.className} ${texts.currentNode.data.slice(0, 20)}`);
  }
  return found;
}"""

TOO_WIDE = """() => [...document.querySelectorAll("#result_list td, #result_list tbody th")]
  .filter(cell => cell.scrollWidth > cell.clientWidth + 1).map(cell => cell.className)"""
