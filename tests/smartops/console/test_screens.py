"""What must hold on every page of the console, in a browser, with texts of callers that are as hostile as they may be:
no violation of WCAG 2.2 AA that axe finds, in both themes; no page wider than the window, from 320 to 2560 pixels; no
text outside of its cell; tables that keep their headers; a focus that no bar hides; no report of the policies."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from playwright.sync_api import Browser, Page

from smartops.tokens import Scope, issue
from tests.kit.people import app_of, passkey_of
from tests.kit.web import Web
from tests.smartops.console import axe
from tests.smartops.console.chromium import CHROMIUM, new_context
from tests.smartops.console.crawl import console_pages, is_page
from tests.smartops.console.scene import an_ordinary_hour, dry_run, observed, waiting_for_approval
from tests.smartops.console.test_browser import OUTSIDE, REPORT_VIOLATIONS, UNISOLATED, browser, hostile

__all__ = ["browser"]  # the fixture

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")

THEMES: tuple[tuple[Any, int], ...] = (("light", 1280), ("dark", 390))
WIDTHS = (320, 800, 2560)  # the others
TALL = 6000  # with nothing behind a bar: targets are measured as they are seen


@pytest.fixture
def pages(
    serve: Callable[..., Web], browser: Browser, client: Client, transactional_db: None
) -> Iterator[tuple[Page, list[str], list[str]]]:
    """A page of a browser, the addresses to open, and what the browser complains of."""
    hour = an_ordinary_hour()
    waiting_for_approval(hour)
    hostile(hour)
    observed(hour)
    dry_run(hour)
    issue(f"<b>{'t' * 61}", [Scope.SIGNALS_WRITE], ["shop"])
    client.force_login(ada := User.objects.create_superuser("ada", password="of-the-scene"))  # noqa: S106
    passkey_of(ada, "'" * 64)
    app_of(ada)
    web = serve()
    context, complaints = new_context(browser, base_url=web.url, reduced_motion="reduce"), []
    context.add_cookies([{"name": "sessionid", "value": client.cookies["sessionid"].value, "url": web.url}])

    def fetch(address: str) -> tuple[int, str, str]:
        answer = client.get(address)
        kind, text = answer.headers["content-type"], answer.getvalue().decode()
        if is_page(kind, text):  # which the browser opens
            return answer.status_code, kind, text
        sent = context.request.get(address)
        return sent.status, sent.headers["content-type"], sent.text()

    addresses = [address for found in console_pages(fetch).values() for address in found]
    page = context.new_page()
    axe.prepare(page)
    page.add_init_script(REPORT_VIOLATIONS)
    page.on("console", lambda said: complaints.append(said.text) if said.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    yield page, addresses, complaints
    context.close()


def test_every_page_is_accessible_and_fits_every_width(pages: tuple[Page, list[str], list[str]]) -> None:
    page, addresses, complaints = pages
    faults: list[Any] = []
    for address in addresses:
        page.goto(address)
        faults += [(address, fault) for fault in (*layout(page), *complaints, *accessibility(page))]
        complaints.clear()  # what axe did does not count
    assert faults == []


def test_axe_finds_each_text_of_a_color_that_is_hard_to_read(browser: Browser) -> None:
    context = new_context(browser)
    page = context.new_page()
    axe.prepare(page)
    hard = [f'<p style="color: silver">The {nth}.</p>' for nth in ("first", "second")]
    legible = '<p style="color: black">The third.</p>'
    page.goto(f'data:text/html,<html lang="en"><title>Texts</title><main><h1>Texts</h1>{legible.join(hard)}</main>')
    assert axe.violations(page) == [["color-contrast", text] for text in hard]
    context.close()


def layout(page: Page) -> Iterator[Any]:
    for width in WIDTHS:
        page.set_viewport_size({"width": width, "height": 844})
        yield from misplaced(page, width)
    page.set_viewport_size({"width": 390, "height": 600})
    yield from page.evaluate(UNISOLATED_OR_HIDDEN)


def accessibility(page: Page) -> Iterator[Any]:
    for scheme, width in THEMES:
        page.emulate_media(color_scheme=scheme)
        page.set_viewport_size({"width": width, "height": TALL})
        yield from misplaced(page, width)
        yield from ((scheme, *violation) for violation in axe.violations(page))


def misplaced(page: Page, width: int) -> Iterator[Any]:
    needed, *found = page.evaluate(WIDTH_AND_MISPLACED)
    if needed > width:
        yield f"{needed} px at {width}"
    yield from ((width, fault) for fault in found)


# Tables that do not say what they are, also where they are displayed as blocks.
HEADERLESS = """() => [...document.querySelectorAll("table, thead, tbody, tr, th, td")].filter(element =>
  !element.hasAttribute("role") || element.tagName === "THEAD" && getComputedStyle(element).display === "none"
).map(element => element.outerHTML.slice(0, 80))"""

# What has the focus and is wholly behind a bar.
HIDDEN_FOCUS = """() => {
  const found = [], operated = "a[href], button, input, select, textarea, summary, [tabindex='0']";
  for (const element of document.querySelectorAll(operated)) {
    if (!element.checkVisibility({ visibilityProperty: true }) || element.closest(".skip")) continue;
    element.focus();
    if (document.activeElement !== element) continue;
    const box = element.getBoundingClientRect();
    const seen = [[.5, .5], [.1, .1], [.9, .1], [.1, .9], [.9, .9]].some(([x, y]) => {
      const at = document.elementFromPoint(box.left + x * box.width, box.top + y * box.height);
      return at && (element.contains(at) || at.contains(element));
    });
    if (!seen) found.push(`hidden: ${element.outerHTML.slice(0, 80)}`);
  }
  return found;
}"""

# One call each: a call costs more than what it looks at.
WIDTH_AND_MISPLACED = f"() => [document.documentElement.scrollWidth, ...({OUTSIDE})(), ...({HEADERLESS})()]"
UNISOLATED_OR_HIDDEN = f"() => [...({UNISOLATED})(), ...({HIDDEN_FOCUS})()]"
