"""Takes the pictures of the README and of the pages of docs: `make screenshots`. Needs chromium, pngquant, and the
fonts Inter and JetBrains Mono."""

import os
import subprocess
import tempfile
from pathlib import Path

import django
from playwright.sync_api import Page, sync_playwright

from smartops.dev import postgres
from tests.smartops.console.chromium import launch

IMAGES = Path(__file__).parents[3] / "docs" / "images"
SIZE = {"width": 1280, "height": 900}
LONGEST = 1000  # pixels of CSS; the rest of a longer page is left out


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
    from tests.smartops.console.scene import an_ordinary_hour, observed, waiting_for_approval

    call_command("migrate", verbosity=0)
    hour = an_ordinary_hour()
    waits = waiting_for_approval(hour)
    observed(hour)
    client = Client()
    client.force_login(User.objects.create_superuser("ada"))
    failed = Action.objects.get(workload__name="recommendationservice")
    pages = {
        "overview": "",
        "approval": f"approvals/{waits.pk}/",
        "action": f"actions/{failed.pk}/",
        "workload": "workloads/default/Deployment/smartops-dev/checkoutservice/",
        "audit": "audit/",
    }
    web = Web(database_url)
    try:
        with sync_playwright() as playwright, launch(playwright) as browser:
            page = browser.new_page(viewport=SIZE, device_scale_factor=1.5, color_scheme="light")  # type: ignore[arg-type]
            session = client.cookies["sessionid"].value
            page.context.add_cookies([{"name": "sessionid", "value": session, "url": web.url}])
            for name, path in pages.items():
                page.goto(f"{web.url}/console/{path}")
                if name != "audit":  # which does not change while it is read
                    page.wait_for_selector("html[data-connection=live]")
                picture(page, name)
            page.goto(f"{web.url}/console/guardrails/add/?namespace=smartops-dev")
            page.get_by_label("Max replicas").first.fill("3")
            page.get_by_role("button", name="Preview").click()
            page.get_by_text("All decisions of the period are evaluated.").wait_for()
            picture(page, "preview")
    finally:
        web.stop()


def picture(page: Page, name: str) -> None:
    path = IMAGES / f"{name}.png"
    height = min(LONGEST, page.evaluate("document.documentElement.scrollHeight"))
    page.screenshot(path=path, full_page=True, clip={"x": 0, "y": 0, "width": SIZE["width"], "height": height})
    subprocess.run(["pngquant", "--force", "--skip-if-larger", "--ext", ".png", "64", str(path)], check=False)
    print(f"[screenshots] {path.relative_to(Path.cwd())}")


if __name__ == "__main__":
    main()
