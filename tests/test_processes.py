"""A process that a test forks (tests/kit/forked.py) is as one that was started: it has an environment, settings,
descriptors and an end of its own."""

import json
import os
import select
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.kit.pages import ROOT
from tests.kit.patience import PATIENCE
from tests.kit.processes import ended, start

SAYS = """
import json, os, random, sys, threading
from django.conf import settings
from django.db import connection
from tests.kit.loaded import LOADED_BY
from uuid_utils import uuid7
found = {
    "argv": sys.argv[:2], "directory": os.getcwd(), "environment": dict(os.environ),
    "cluster": settings.SMARTOPS_CLUSTER, "host": connection.settings_dict["HOST"],
    "pool": connection.settings_dict["OPTIONS"]["pool"]["max_size"],
    "threads": threading.active_count(), "descriptors": os.listdir("/proc/self/fd"),
    "forked": LOADED_BY != os.getpid(), "reactor": "twisted.internet.reactor" in sys.modules,
    "chance": [str(uuid7())[-12:], random.random()],
}
print(json.dumps(found))
"""
# It starts a process and waits.
STARTER = """
import pathlib, sys, time
import django
django.setup()
from tests.kit import processes
processes.FORKS.set_forkserver_preload([])
print(processes.start(["sleep", "600"], pathlib.Path(sys.argv[1]), {"PATH": "/usr/bin:/bin"}).pid, flush=True)
time.sleep(600)
"""
# Its server does not find tests.kit.loaded.
ELSEWHERE = """
import pathlib, sys
sys.path.insert(0, sys.argv[1])
import django
django.setup()
from tests.kit import processes
command = ["manage.py", "shell", "--no-imports", "--command", "print('as ever')"]
sys.exit(processes.ended(processes.start(command, pathlib.Path(sys.argv[2]), {})))
"""


def shell(program: str) -> list[str]:
    return ["manage.py", "shell", "--no-imports", "--command", program]


def test_processes_have_their_own_environments_and_share_nothing(tmp_path: Path) -> None:
    found = []
    for name in ("one", "other"):
        given = {
            "DATABASE_URL": f"postgresql://{name}.example/x",
            "SMARTOPS_CLUSTER": name,
            "SMARTOPS_DATABASE_POOL": "7",
        }
        log = tmp_path / name
        assert ended(start(shell(SAYS), log, given)) == 0, log.read_text()
        one = json.loads(log.read_text())
        assert one["environment"].items() >= given.items()
        assert "PATH" not in one["environment"]
        assert (one["cluster"], one["host"], one["pool"]) == (name, f"{name}.example", 7)
        assert (one["argv"], one["directory"]) == (["manage.py", "shell"], str(ROOT))
        assert one["descriptors"] == ["0", "1", "2", "3"]  # the last is of the list itself
        assert (one["threads"], one["reactor"]) == (1, False)
        assert one["forked"] or Path.cwd() != ROOT, "the server has not loaded what its children need"
        found.append(one["chance"])
    assert not set(found[0]) & set(found[1])


@pytest.mark.parametrize(
    ("program", "code", "says"),
    [
        ("import atexit; atexit.register(print, 'at the end')", 0, "at the end"),
        ("import atexit, sys; atexit.register(print, 'at the end'); sys.exit(3)", 3, "at the end"),
        ("import sys; sys.exit('for a reason')", 1, "for a reason"),
        ("1 / 0", 1, "ZeroDivisionError"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", -signal.SIGKILL, ""),
    ],
    ids=["well", "status", "message", "exception", "signal"],
)
def test_a_process_has_an_exit_code_and_says_why(tmp_path: Path, program: str, code: int, says: str) -> None:
    log = tmp_path / "log"
    assert ended(start(shell(program), log, {})) == code
    assert says in log.read_text()


def test_invalid_settings_are_found_by_the_program_and_not_before_it(tmp_path: Path) -> None:
    log = tmp_path / "log"
    assert ended(start(["manage.py", "check"], log, {"SMARTOPS_DEBUG": "maybe"})) == 1
    printed = log.read_text()
    assert "SMARTOPS_DEBUG='maybe' is not valid" in printed
    assert "execute_from_command_line(sys.argv)" in printed
    assert "_take" not in printed


def test_a_process_starts_in_whatever_directory_the_tests_were_started(tmp_path: Path) -> None:
    variables = {"PATH": os.environ["PATH"], "DJANGO_SETTINGS_MODULE": "smartops.settings"}
    log = tmp_path / "log"
    tests = subprocess.run([sys.executable, "-c", ELSEWHERE, str(ROOT), str(log)], cwd=tmp_path, env=variables)
    assert tests.returncode == 0, log.read_text()
    assert log.read_text() == "as ever\n"


def test_a_process_ends_with_the_tests_even_if_they_are_killed(tmp_path: Path) -> None:
    variables = os.environ | {"DJANGO_SETTINGS_MODULE": "smartops.settings"}
    command = [sys.executable, "-c", STARTER, str(tmp_path / "log")]
    with subprocess.Popen(command, cwd=ROOT, env=variables, stdout=subprocess.PIPE, text=True) as tests:
        assert tests.stdout is not None
        process = os.pidfd_open(int(tests.stdout.readline()))
        tests.kill()
    ready, _, _ = select.select([process], [], [], PATIENCE)
    os.close(process)
    assert ready
