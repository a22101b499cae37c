"""What a process loads, and how. A reconciler does not load the web process: each has 40 MB of code that the other does
not need."""

import json
import subprocess
import sys
from typing import Any

import pytest

from tests.kit.pages import ROOT

LOADED = """
import contextlib, gc, io, json, runpy, sys
from django.apps import apps
collected_while_loading = []
gc.callbacks.append(lambda *_: collected_while_loading.append(apps.loading and not apps.ready))
sys.argv = ["manage.py", "reconcile", "--help"]
with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(SystemExit):
    runpy.run_path("manage.py", run_name="__main__")
from orchestrator.management.commands.reconcile import Command
command = Command()
command.check(tags=command.requires_system_checks)
collector = [any(collected_while_loading), gc.isenabled(), gc.get_freeze_count()]
print(json.dumps({"modules": [*sys.modules], "collector": collector}))
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
    has_collected, is_enabled, frozen = loaded["collector"]
    assert (has_collected, is_enabled) == (False, True)
    assert frozen > 100_000
