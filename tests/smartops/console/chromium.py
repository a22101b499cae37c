"""Debian's browser, as the tests start it: as root too, without calls home, and without a user interface if there is
one without."""

import shutil

from playwright.sync_api import Browser, Playwright, expect

CHROMIUM = shutil.which("chromium-headless-shell") or shutil.which("chromium")
FLAGS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
]  # fmt: skip


def launch(playwright: Playwright) -> Browser:
    expect.set_options(timeout=60_000)  # a busy machine is slow; what holds is not waited for
    return playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
