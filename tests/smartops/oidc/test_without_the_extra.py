"""Without the extra `oidc`: no import of allauth, no table of it, no address, and the settings say what is missing."""

import subprocess
import sys

import pytest

from tests.kit.processes import ROOT, environment

# As if it was not installed, for `find_spec` and for `import`.
START = """
import sys, importlib.util
found = importlib.util.find_spec
importlib.util.find_spec = lambda name, *rest: None if name.split(".")[0] == "allauth" else found(name, *rest)
sys.modules["allauth"] = None
import django
from django.core.management import call_command
import os
os.environ["DJANGO_SETTINGS_MODULE"] = "smartops.settings"
django.setup()
"""
CHECKS = """
call_command("check")
from django.test import Client
from django.urls import NoReverseMatch, reverse
from django.apps import apps
from smartops.asgi import application
assert not [one.name for one in apps.get_app_configs() if "allauth" in one.name]
try:
    reverse("oidc-start")
except NoReverseMatch:
    print("no address")
call_command("makemigrations", "--check", "--dry-run", "signals", "guardrails", "orchestrator", "smartops")
from django.template.loader import render_to_string
assert "oidc" not in render_to_string("admin/login.html")
"""


def run(program: str, **variables: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-W", "ignore", "-c", START + program]
    return subprocess.run(
        command,
        cwd=ROOT,
        env=environment(SMARTOPS_INSECURE_HTTP="1", **variables),
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.django_db
def test_nothing_needs_it_and_the_migrations_are_the_same() -> None:
    done = run(CHECKS)
    assert done.returncode == 0, done.stderr
    assert "no address" in done.stdout
    assert "No changes detected" in done.stdout


def test_a_provider_without_it_is_an_error_that_says_what_to_install() -> None:
    given = {"ISSUER": "https://id.example.com", "CLIENT_ID": "x", "CLIENT_SECRET": "x", "ROLES": '{"sre": "viewer"}'}
    done = run("call_command('check')", **{f"SMARTOPS_OIDC_{name}": value for name, value in given.items()})
    assert done.returncode != 0
    assert "the extra `oidc` is not installed" in done.stderr


def test_roles_that_cannot_be_parsed_stop_the_process() -> None:
    done = run("", SMARTOPS_OIDC_ROLES='{"sre": "root"}')
    assert "SMARTOPS_OIDC_ROLES is not valid: “root” of the group “sre” names no role" in done.stderr
