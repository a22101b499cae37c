"""Debian's browser, as the tests start it: as root too, without calls home, and without a user interface if there is
one without."""

import shutil
from typing import Any

from playwright.sync_api import Browser, BrowserContext, Playwright, expect

from tests.kit.patience import PATIENCE

CHROMIUM = shutil.which("chromium-headless-shell") or shutil.which("chromium")
FLAGS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
]  # fmt: skip


def launch(playwright: Playwright) -> Browser:
    expect.set_options(timeout=1000 * PATIENCE)
    return playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)


def new_context(browser: Browser, **options: Any) -> BrowserContext:
    """Each of its actions waits as long as a busy machine may take."""
    context = browser.new_context(**options)
    context.set_default_timeout(1000 * PATIENCE)
    return context
