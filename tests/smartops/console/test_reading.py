"""Stories of the frame in a browser: the dialog of an act, the keyboard, and the times."""

import re
from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from playwright.sync_api import Browser, Page, expect

from orchestrator.models import Action, VerificationStatus
from signals.reasons import Reason
from tests.kit.patience import eventually
from tests.kit.web import Web
from tests.smartops.console.chromium import CHROMIUM, new_context
from tests.smartops.console.scene import Hour, waiting_for_approval
from tests.smartops.console.test_browser import REPORT_VIOLATIONS, browser, live, scene

__all__ = ["browser", "scene"]  # the fixtures

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")


@pytest.fixture
def opened(web: Web, scene: Hour, browser: Browser, client: Client) -> Iterator[Callable[..., Page]]:
    """Opens a page for an administrator; keywords are those of a browser context."""
    client.force_login(User.objects.create_superuser("ada"))
    contexts, complaints = [], []

    def open_(path: str, **how: Any) -> Page:
        context = new_context(browser, base_url=web.url, reduced_motion="reduce", **how)
        contexts.append(context)
        context.add_cookies([{"name": "sessionid", "value": client.cookies["sessionid"].value, "url": web.url}])
        page = context.new_page()
        page.add_init_script(REPORT_VIOLATIONS)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("console", lambda said: complaints.append(said.text) if "CSP" in said.text else None)
        page.goto(path)
        return page

    yield open_
    for context in contexts:
        context.close()
    assert complaints == []


def test_a_form_keeps_what_was_entered_while_the_page_behind_it_changes(
    opened: Callable[..., Page], scene: Hour
) -> None:
    page = opened("/console/actions/")
    live(page)
    page.get_by_role("button", name="Freeze").first.click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Reason").fill("Quarter-end cl")
    action = Action.objects.select_related("workload", "signal").get(state="verifying")
    scene.success(action)
    expect(page.locator(f"#action-{action.pk}")).to_contain_text("Succeeded")
    expect(dialog.get_by_label("Reason")).to_be_focused()
    expect(dialog.get_by_label("Reason")).to_have_value("Quarter-end cl")
    page.keyboard.press("Escape")
    expect(dialog).to_have_count(0)


def test_a_refused_act_stays_in_the_dialog_with_the_reason_and_a_done_one_leads_to_its_message(
    opened: Callable[..., Page],
) -> None:
    action = Action.objects.get(state="needs_review")
    page = opened(f"/console/actions/{action.pk}/", viewport={"width": 390, "height": 780})
    live(page)
    button = page.get_by_role("button", name="Settle")
    box = button.bounding_box()
    assert box
    assert box["y"] + box["height"] > 780 - 80  # within reach of a thumb
    button.click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Not applied").check()
    dialog.get_by_label("Reason").fill("  ")
    dialog.get_by_role("button", name="Settle").click()
    expect(dialog.get_by_role("alert").first).to_be_focused()  # 422: the reason is missing
    expect(dialog.get_by_label("Not applied")).to_be_checked()
    dialog.get_by_label("Reason").fill("The pods are those of yesterday")
    dialog.get_by_role("button", name="Settle").click()
    expect(page.locator(".messages")).to_be_focused()
    expect(page.locator(".title")).to_contain_text("Cancelled")


PHONE = {"width": 390, "height": 844}


def test_the_first_screen_of_a_phone_says_what_was_done_and_what_needs_a_person(
    opened: Callable[..., Page], scene: Hour
) -> None:
    waiting_for_approval(scene)
    page = opened("/console/", viewport=PHONE)
    live(page)
    first = page.locator("#mode, #done, .need .count")
    expect(first).to_have_text([
        re.compile("^Mode auto"), re.compile("4 succeeded, 1 failed, 1 timed out"), "1 action waits for an approval",
        "1 action needs a review", "2 failed actions opened by nobody",
    ], use_inner_text=True)  # fmt: skip
    bar = page.get_by_role("button", name="Freeze").bounding_box()
    assert bar
    for one in first.all():
        box = one.bounding_box()
        assert box
        assert box["y"] + box["height"] < bar["y"]
    page.get_by_role("link", name="cartservice: Restart").click()
    expect(page.locator(".title")).to_contain_text("Failed")
    expect(page.locator(".lead").first).to_contain_text("pods of the new revision do not become ready")


def test_the_acts_of_an_approval_are_whole_and_within_reach_of_a_thumb(
    opened: Callable[..., Page], scene: Hour
) -> None:
    action = waiting_for_approval(scene)
    page = opened(f"/console/approvals/{action.pk}/", viewport=PHONE)
    live(page)
    buttons = [
        page.get_by_role("button", name=name, exact=True)
        for name in ("Approve", "Reject", "Approve as dry run", "Freeze")
    ]
    boxes = [button.bounding_box() for button in buttons]
    assert all(box and box["y"] > PHONE["height"] - 80 and box["height"] >= 44 for box in boxes), boxes
    ends = [(box["x"], box["x"] + box["width"]) for box in boxes if box]
    assert all(end < begin for (_, end), (begin, _) in pairwise(ends)), ends
    assert ends[-1][1] <= PHONE["width"]
    buttons[0].click()
    page.get_by_role("dialog").get_by_role("button", name="Approve", exact=True).click()
    expect(page.locator(".messages")).to_contain_text("is approved")


def test_the_form_of_an_act_works_without_a_script(opened: Callable[..., Page]) -> None:
    action = Action.objects.get(state="needs_review")
    page = opened(f"/console/actions/{action.pk}/", java_script_enabled=False)
    page.get_by_role("button", name="Settle").click()
    page.get_by_label("Not applied").check()
    page.get_by_label("Reason").fill("The pods are those of yesterday")
    page.get_by_role("button", name="Settle").click()
    page.wait_for_url(f"**/console/actions/{action.pk}/")
    expect(page.locator(".messages")).to_be_visible()
    assert re.search(r"\d\d:\d\d:\d\d UTC", page.locator(".timeline").inner_text())


def test_the_keyboard_alone_finds_and_opens_rows(opened: Callable[..., Page]) -> None:
    page = opened("/console/actions/?since=hour")
    page.keyboard.press("/")
    expect(page.get_by_label("Search")).to_be_focused()
    page.keyboard.type("gs?jk/")  # no letter acts in a field
    expect(page.get_by_label("Search")).to_have_value("gs?jk/")
    page.get_by_label("Search").blur()
    rows = page.locator("tbody tr a.what")
    for key, place in (("j", 0), ("j", 1), ("k", 0)):
        page.keyboard.press(key)
        expect(rows.nth(place)).to_be_focused()
    page.keyboard.press("Enter")
    page.wait_for_url("**/console/actions/*/?since=hour")
    first = page.url
    page.keyboard.press("j")
    page.wait_for_url(lambda url: url != first and url.endswith("?since=hour"))
    page.keyboard.press("k")
    page.wait_for_url(first)
    page.keyboard.press("?")
    expect(page.get_by_role("dialog")).to_contain_text("Signals")
    page.get_by_label("Single letters are shortcuts").uncheck()
    page.keyboard.press("Escape")
    # The focus leaves a closed dialog with the next frame, which a busy machine draws late. Until then, keys go there.
    expect(page.get_by_label("Single letters are shortcuts")).not_to_be_focused()
    page.keyboard.press("?")
    expect(page.get_by_role("dialog")).to_have_count(0)
    page.evaluate("localStorage.clear()")
    page.keyboard.press("g")
    page.keyboard.press("s")
    page.wait_for_url("**/console/signals/")


DAY = r"(\d{4}-\d\d-\d\d )?"  # where it is another than today, or than in the other zone


def test_times_are_in_the_zone_of_the_reader_with_utc_beside_them(opened: Callable[..., Page]) -> None:
    action = Action.objects.get(state="succeeded", workload__name="frontend")
    page = opened(f"/console/actions/{action.pk}/", timezone_id="Asia/Tokyo")
    last = page.locator(".timeline time").last
    expect(last).to_have_text(re.compile(rf"^{DAY}\d\d:\d\d:\d\d \({DAY}\d\d:\d\d:\d\d UTC\)$"))
    tokyo, utc = re.findall(r"(\d\d):\d\d:\d\d", last.inner_text())
    assert (int(tokyo) - int(utc)) % 24 == 9
    age = page.locator("time[data-ticks=ago]").first
    expect(age).to_have_text(re.compile("min ago"))
    page.get_by_role("button", name="Exact times").click()
    expect(age).to_have_text(re.compile("UTC"))
    page.reload()
    expect(page.locator("time[data-ticks=ago]").first).to_have_text(re.compile("UTC"))


# The seconds that are left, as the element says them, until they change. A refresh of the page resets the time.
TWO_TICKS = """async time => {
    const end = time.dateTime = new Date(Date.now() + 50_900).toISOString(), seen = [];
    time.textContent = "";
    while (time.isConnected && time.dateTime === end && seen.length < 2) {
        await new Promise(done => setTimeout(done, 50));
        const [, seconds] = /^(\\d\\d) s$/.exec(time.textContent.trim()) ?? [];
        if (seconds && Number(seconds) !== seen.at(-1)) seen.push(Number(seconds));
    }
    return seen;
}"""


def test_the_time_that_is_left_for_an_approval_becomes_less(opened: Callable[..., Page], scene: Hour) -> None:
    action = waiting_for_approval(scene)
    page = opened(f"/console/approvals/{action.pk}/")
    live(page)  # after its first refresh
    left = page.locator("time[data-ticks=left]")
    expect(left).to_have_text(re.compile(r"^\d+ min$"))

    def becomes_less() -> bool:
        """False if a refresh of the page reset the time before the second tick."""
        seen = left.evaluate(TWO_TICKS)
        assert seen == sorted(seen, reverse=True)
        return len(seen) == 2

    eventually(becomes_less, "the time does not become less")


def test_a_new_failure_is_read_aloud(opened: Callable[..., Page], scene: Hour) -> None:
    page = opened("/console/actions/")
    live(page)
    action = Action.objects.select_related("workload", "signal").get(state="verifying")
    scene.verify(action, VerificationStatus.FAILED, Reason.PROGRESS_DEADLINE_EXCEEDED, "It failed.", available=0)
    expect(page.locator("#said")).to_have_text(re.compile("Failed: erp-simulator: Scale by"))
