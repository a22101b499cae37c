"""A person adds a passkey, signs in with it and removes it, in a browser with an authenticator of its own."""

import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from smartops.models import Passkey, SignIn
from smartops.people.roles import Role
from tests.kit.people import PASSWORD, person
from tests.kit.web import Web
from tests.smartops.console import axe
from tests.smartops.console.chromium import CHROMIUM, new_context
from tests.smartops.console.test_browser import REPORT_VIOLATIONS, browser

__all__ = ["browser"]  # the fixture

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")
END_OF_TRANSITIONS = """Promise.all(
  document.getAnimations().filter(one => one instanceof CSSTransition).map(one => one.finished)).then(() => null)"""
AUTHENTICATOR = {
    "protocol": "ctap2", "transport": "internal", "hasResidentKey": True, "hasUserVerification": True,
    "isUserVerified": True, "automaticPresenceSimulation": True,
}  # fmt: skip


@pytest.fixture
def page(serve: Callable[..., Web], browser: Browser, transactional_db: None) -> Iterator[Page]:
    person("olga", Role.ADMIN, password=PASSWORD, is_staff=True)
    web, errors = serve(), list[str]()
    # A passkey is for a name, and not for an address.
    context = new_context(browser, base_url=f"http://localhost:{web.port}", viewport={"width": 390, "height": 844})
    found = context.new_page()
    axe.prepare(found)
    found.add_init_script(REPORT_VIOLATIONS)
    found.on("console", lambda said: errors.append(said.text) if said.type in ("error", "warning") else None)
    found.on("pageerror", lambda error: errors.append(str(error)))
    devices = context.new_cdp_session(found)
    devices.send("WebAuthn.enable")
    devices.send("WebAuthn.addVirtualAuthenticator", {"options": AUTHENTICATOR})
    yield found
    context.close()
    assert errors == []


def enter(page: Page, label: str, value: str) -> None:
    page.get_by_label(label, exact=True).fill(value)


def press(page: Page, name: str) -> None:
    """With the keyboard."""
    page.get_by_role("button", name=name, exact=True).focus()
    page.keyboard.press("Enter")


def add(page: Page, name: str) -> None:
    page.get_by_role("button", name="Add a passkey").click()
    enter(page, "Name", name)
    enter(page, "Your password", PASSWORD)
    press(page, "Next")
    press(page, "Create")


def password(page: Page) -> None:
    enter(page, "Username:", "olga")
    enter(page, "Password:", PASSWORD)
    press(page, "Sign in")


def sign_out(page: Page) -> None:
    if (menu := page.get_by_role("button", name="Menu")).is_visible():
        menu.click()
    with page.expect_navigation():
        press(page, "Sign out")
    page.goto("/admin/login/?next=/console/second-factor/")


def accessible(page: Page) -> None:
    found: list[Any] = []
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        page.evaluate(END_OF_TRANSITIONS)  # between two colors, the contrast is that of neither
        found += axe.violations(page)
    assert found == []
    page.set_viewport_size({"width": 320, "height": 844})
    assert page.evaluate("document.documentElement.scrollWidth") == 320
    page.set_viewport_size({"width": 390, "height": 844})


def test_a_person_adds_a_passkey_signs_in_with_it_and_removes_it(page: Page) -> None:
    page.goto("/admin/login/?next=/console/second-factor/")
    accessible(page)
    press(page, "Sign in with a passkey")
    expect(page.get_by_role("alert")).to_contain_text(re.compile("cancelled|no passkey"))
    password(page)
    expect(page).to_have_url(re.compile("/console/second-factor/$"))

    add(page, "Laptop")
    expect(page.get_by_role("heading", name="Your recovery codes")).to_be_visible()
    page.get_by_role("link", name="Done").click()
    expect(page.get_by_role("row", name="Laptop")).to_contain_text("not used yet")
    accessible(page)

    add(page, "Laptop again")
    expect(page.get_by_role("alert")).to_have_text("This device already has a passkey of your account.")
    page.get_by_role("link", name="Back").click()

    sign_out(page)
    press(page, "Sign in with a passkey")
    expect(page).to_have_url(re.compile("/console/second-factor/$"))
    expect(page.get_by_role("row", name="Laptop")).to_contain_text("used")

    sign_out(page)
    password(page)
    expect(page.get_by_role("heading", name="Second factor")).to_be_visible()
    accessible(page)
    press(page, "Use a passkey")
    expect(page).to_have_url(re.compile("/console/second-factor/$"))

    page.get_by_role("button", name="Remove", exact=True).click()
    enter(page, "Your password", PASSWORD)
    page.keyboard.press("Enter")
    expect(page.get_by_text("The passkey “Laptop” is removed.")).to_be_visible()
    assert not Passkey.objects.exists()

    sign_out(page)
    press(page, "Sign in with a passkey")  # the device still has it
    expect(page.get_by_role("alert")).to_contain_text("The passkey was not accepted.")
    signed_in = SignIn.objects.filter(event="signed in").order_by("pk").values_list("reason", flat=True)
    assert [*signed_in] == ["", "passkey: Laptop", "password and passkey: Laptop"]
