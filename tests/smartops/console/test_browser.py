"""The console in a real browser, served by two web processes that share nothing but the database."""

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.contrib.sessions.models import Session
from django.test import Client
from playwright.sync_api import Browser, Page, expect, sync_playwright

from orchestrator.models import Action, VerificationStatus, transitions
from signals.reasons import Reason
from signals.types import ActionType
from tests.kit.web import Web
from tests.smartops.console.chromium import CHROMIUM, launch
from tests.smartops.console.scene import Hour, an_ordinary_hour

REPORT_VIOLATIONS = "addEventListener('securitypolicyviolation', e => console.error('CSP', e.violatedDirective))"

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")
expect.set_options(timeout=10_000)


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
        self._context = browser.new_context()
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
    serve: Callable[..., Web], scene: Hour, visit: Visitor
) -> None:
    action = Action.objects.select_related("workload", "signal").get(state="verifying")
    one, other = serve(), serve()
    pages = [visit(one), visit(other), visit(other, f"/console/actions/{action.pk}/")]
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


def test_a_new_action_appears_on_top_and_the_focus_stays(
    serve: Callable[..., Web], scene: Hour, visit: Visitor
) -> None:
    page = visit(serve())
    page.get_by_role("link", name="cartservice: Restart all pods").focus()
    new = scene.direct(ActionType.RESTART, "redis-cart", {}, "ops-cli", "try it")
    expect(page.locator("tbody tr").first).to_have_id(f"action-{new.pk}")
    assert page.evaluate("document.activeElement.textContent") == "cartservice: Restart all pods"


def test_a_burst_of_changes_costs_few_refreshes(serve: Callable[..., Web], scene: Hour, visit: Visitor) -> None:
    page = visit(serve())
    fetched: list[str] = []
    page.on("request", lambda request: fetched.append(request.url) if request.resource_type == "fetch" else None)
    began = time.monotonic()
    for _ in range(60):
        last = scene.direct(ActionType.RESTART, "redis-cart", {}, "ops-cli", "again")
        transitions.store([transitions.cancel(last, Reason.SIGNAL_RESOLVED, "Never mind.", "ops-cli")])
    expect(row(page, last)).to_contain_text("Cancelled")
    lasted = time.monotonic() - began
    assert len(fetched) <= 4 * lasted + 2


def test_a_lost_connection_is_shown_and_missed_changes_appear_later(
    serve: Callable[..., Web], scene: Hour, visit: Visitor
) -> None:
    action = Action.objects.select_related("workload", "signal").get(state="verifying")
    web = serve()
    page = visit(web)
    web.stop()
    expect(page.get_by_role("status")).to_have_text("Reconnecting", use_inner_text=True)
    message = "4 of 4 replicas are not available."
    scene.verify(action, VerificationStatus.FAILED, Reason.PROGRESS_DEADLINE_EXCEEDED, message, available=0)
    serve(port=web.port)
    live(page)
    expect(row(page, action)).to_contain_text("Failed")
    visit.errors.clear()  # the browser's own, of connections that it was refused


def test_a_page_whose_session_has_ended_goes_to_the_login_page(
    serve: Callable[..., Web], scene: Hour, visit: Visitor
) -> None:
    page = visit(serve())
    Session.objects.all().delete()
    scene.direct(ActionType.RESTART, "redis-cart", {}, "ops-cli", "look up")
    page.wait_for_url("**/admin/login/?next=/console/")
    visit.errors.clear()  # the browser notes the 401


def test_hostile_text_is_not_run_by_the_browser(serve: Callable[..., Web], scene: Hour, visit: Visitor) -> None:
    page = visit(serve())
    markup = "<img src=x onerror=document.title='owned'><script>document.title='owned'</script>"
    new = scene.direct(ActionType.RESTART, "redis-cart", {}, markup, markup)
    expect(row(page, new)).to_contain_text(markup)
    row(page, new).get_by_role("link").click()
    page.wait_for_url("**/actions/**")
    live(page)
    expect(page.locator(".facts").last).to_contain_text(markup)
    assert "owned" not in page.title()


def test_the_admin_works_under_the_same_policy(serve: Callable[..., Web], scene: Hour, visit: Visitor) -> None:
    web = serve()
    for path in ("", "orchestrator/action/", "signals/rule/add/", "smartops/token/", "login/"):
        visit(web, f"/admin/{path}")
    page = visit(web, "/admin/guardrails/freeze/add/")
    page.get_by_role("link", name="Now").click()
    assert page.locator("#id_until_1").input_value()


@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_no_page_overflows_and_its_text_has_contrast(
    serve: Callable[..., Web], scene: Hour, visit: Visitor, width: int, scheme: Any
) -> None:
    page = visit(serve())
    page.emulate_media(color_scheme=scheme)
    page.set_viewport_size({"width": width, "height": 844})
    for path in ("", f"actions/{Action.objects.get(state='timed_out').pk}/"):
        page.goto(page.url.split("actions/")[0] + path)
        live(page)
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        assert page.evaluate(UNREADABLE) == []


# Texts whose contrast with what is painted behind them is below WCAG's AA.
UNREADABLE = """() => {
  const canvas = new OffscreenCanvas(1, 1).getContext("2d", { willReadFrequently: true });
  const paint = (colours) => {
    for (const colour of colours) { canvas.fillStyle = colour; canvas.fillRect(0, 0, 1, 1); }
    return [...canvas.getImageData(0, 0, 1, 1).data].slice(0, 3);
  };
  const luminance = (rgb) => {
    const [r, g, b] = rgb.map(v => v / 255).map(v => v <= .04045 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4);
    return .2126 * r + .7152 * g + .0722 * b;
  };
  const found = [];
  for (const element of document.querySelectorAll("body *")) {
    const own = [...element.childNodes].some(node => node.nodeType === 3 && node.data.trim());
    if (!own || !element.checkVisibility() || element.closest(".skip")) continue;
    const behind = [];
    for (let at = element; at; at = at.parentElement) behind.unshift(getComputedStyle(at).backgroundColor);
    const back = paint(["white", ...behind]), front = paint(["white", ...behind, getComputedStyle(element).color]);
    const [lighter, darker] = [luminance(front), luminance(back)].sort((a, b) => b - a);
    const ratio = (lighter + .05) / (darker + .05);
    if (ratio < 4.5) found.push(`${ratio.toFixed(2)} ${element.className} ${element.textContent.trim().slice(0, 30)}`);
  }
  return found;
}"""
