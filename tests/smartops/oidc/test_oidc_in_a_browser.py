"""A person signs in by an OpenID provider, in a browser."""

import re
from collections.abc import Callable

import pytest
from django.contrib.auth.models import User
from playwright.sync_api import Browser, expect

from tests.kit.openid import CLIENT_ID, CLIENT_SECRET, openid_provider
from tests.kit.web import Web
from tests.smartops.console.chromium import CHROMIUM, new_context
from tests.smartops.console.test_browser import REPORT_VIOLATIONS, browser

__all__ = ["browser"]  # the fixture

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")


def test_a_person_signs_in_by_the_provider_and_reads_why_it_refuses(
    serve: Callable[..., Web], browser: Browser, transactional_db: None
) -> None:
    errors: list[str] = []
    with openid_provider() as provider:
        provider.person["groups"] = ["sre"]
        web = serve(
            SMARTOPS_OIDC_ISSUER=provider.url,
            SMARTOPS_OIDC_CLIENT_ID=CLIENT_ID,
            SMARTOPS_OIDC_CLIENT_SECRET=CLIENT_SECRET,
            SMARTOPS_OIDC_NAME="Acme",
            SMARTOPS_OIDC_ROLES='{"sre": "viewer"}',
        )
        context = new_context(browser, base_url=web.url)
        page = context.new_page()
        page.add_init_script(REPORT_VIOLATIONS)
        page.on("console", lambda said: errors.append(said.text) if said.type in ("error", "warning") else None)
        page.goto("/console/signals/")
        page.get_by_role("link", name="Sign in with Acme").click()
        expect(page).to_have_url(re.compile("/console/signals/$"))
        expect(page.get_by_role("navigation", name="Account")).to_contain_text("ana")
        assert "Second factor" not in page.content()
        with page.expect_navigation():
            page.get_by_role("button", name="Sign out").click()
        assert errors == []

        provider.error = "access_denied"
        page.goto("/console/")
        page.get_by_role("link", name="Sign in with Acme").click()
        expect(page.get_by_role("alert")).to_contain_text("You cancelled the sign-in with Acme")
        page.get_by_role("link", name="Sign in").click()
        expect(page).to_have_url(re.compile("/admin/login/$"))
        context.close()
    assert User.objects.get().username == "ana"
