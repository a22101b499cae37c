"""Takes the README's pictures: `python -m tests.smartops.console.screenshots`. Needs chromium, and the
fonts Inter and JetBrains Mono."""

import os
import tempfile
from pathlib import Path

import django
from playwright.sync_api import sync_playwright

from smartops.dev import postgres
from tests.smartops.console.chromium import launch

IMAGES = Path(__file__).parents[3] / "docs" / "images"


def main() -> None:
    os.environ |= {"SMARTOPS_CLUSTER_NOTE": "sandbox", "DJANGO_ALLOW_ASYNC_UNSAFE": "1"}
    os.environ["DJANGO_SETTINGS_MODULE"] = "smartops.settings"
    with tempfile.TemporaryDirectory() as directory:
        try:
            os.environ["DATABASE_URL"] = postgres.start(Path(directory), durable=False).uri
            django.setup()
            take(os.environ["DATABASE_URL"])
        finally:
            postgres.stop(Path(directory))


def take(database_url: str) -> None:
    from django.contrib.auth.models import User
    from django.core.management import call_command
    from django.test import Client

    from orchestrator.models import Action
    from tests.kit.web import Web
    from tests.smartops.console.scene import an_ordinary_hour

    call_command("migrate", verbosity=0)
    an_ordinary_hour()
    client = Client()
    client.force_login(User.objects.create_superuser("ada"))
    story = Action.objects.get(workload__name="recommendationservice")
    web = Web(database_url)
    try:
        with sync_playwright() as playwright, launch(playwright) as browser:
            page = browser.new_page(viewport={"width": 1280, "height": 960}, device_scale_factor=1.5)
            session = client.cookies["sessionid"].value
            page.context.add_cookies([{"name": "sessionid", "value": session, "url": web.url}])
            for name, path in (("console", ""), ("action", f"actions/{story.pk}/")):
                page.goto(f"{web.url}/console/{path}")
                page.wait_for_selector("html[data-connection=live]")
                page.screenshot(path=IMAGES / f"{name}.png", full_page=True)
    finally:
        web.stop()


if __name__ == "__main__":
    main()
