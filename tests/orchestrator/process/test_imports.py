"""A reconciler does not load the web process: each has 40 MB of code that the other does not need."""

import subprocess
import sys

from tests.kit.pages import ROOT

LOADED = """
import sys
import django
django.setup()
from orchestrator.management.commands.reconcile import Command
command = Command()
command.check(tags=command.requires_system_checks)
print(*sys.modules)
"""
LIBRARIES = ("autobahn", "channels.routing", "daphne", "fido2", "ninja")
OF_WEB = (*LIBRARIES, "smartops.api", "smartops.console", "smartops.urls")


def test_a_reconciler_loads_no_server_no_page_and_no_api() -> None:
    loaded = subprocess.run([sys.executable, "-c", LOADED], cwd=ROOT, capture_output=True, text=True, check=True)

    modules = set(loaded.stdout.split())
    assert "orchestrator.reconciler.loop" in modules
    assert not modules & set(OF_WEB)
