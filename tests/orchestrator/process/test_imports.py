"""What a process loads, and how. A reconciler does not load the web process: each has 40 MB of code that the other does
not need."""

import json
import subprocess
import sys
from typing import Any

import pytest

from tests.kit.pages import ROOT

LOADED = """
import gc, json, sys
import django
from django.conf import settings
settings.DEBUG
collects = [gc.isenabled()]
django.setup()
collects.append(gc.isenabled())
from orchestrator.management.commands.reconcile import Command
command = Command()
command.check(tags=command.requires_system_checks)
print(json.dumps({"modules": [*sys.modules], "collects": collects, "frozen": gc.get_freeze_count()}))
"""
LIBRARIES = ("autobahn", "channels.routing", "daphne", "fido2", "ninja")
OF_WEB = (*LIBRARIES, "smartops.api", "smartops.console", "smartops.urls")


@pytest.fixture(scope="module")
def loaded() -> Any:
    done = subprocess.run([sys.executable, "-c", LOADED], cwd=ROOT, capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def test_a_reconciler_loads_no_server_no_page_and_no_api(loaded: Any) -> None:
    modules = set(loaded["modules"])
    assert "orchestrator.reconciler.loop" in modules
    assert not modules & set(OF_WEB)


def test_the_garbage_collector_rests_while_apps_are_loaded_and_leaves_them_alone(loaded: Any) -> None:
    assert loaded["collects"] == [False, True]
    assert loaded["frozen"] > 100_000
