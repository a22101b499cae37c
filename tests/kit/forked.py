"""What a process of the tests does first, which is forked from the server that has `tests.kit.loaded` in memory."""

import atexit
import ctypes
import os
import runpy
import signal
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from importlib import import_module
from itertools import pairwise
from pathlib import Path
from socket import socket

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.db import connections
from django.utils.functional import empty

PR_SET_PDEATHSIG = 1
Word = str | socket


def run(command: Sequence[Word], directory: Path, log: Path, variables: Mapping[str, str]) -> None:
    """As `subprocess` would have started it: with this environment and directory, with no descriptors but those of the
    sockets in its command, and with its output in the log."""
    # The kernel kills a child when its parent dies. The server lives as long as the tests, or a child that has not yet
    # closed the server's descriptors.
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    with log.open("ab") as output:
        os.dup2(output.fileno(), 1)
        os.dup2(output.fileno(), 2)
    sockets = [word.detach() for word in command if isinstance(word, socket)]
    for one in sockets:
        os.set_inheritable(one, True)
    for before, after in pairwise([2, *sorted(sockets), os.sysconf("SC_OPEN_MAX")]):
        os.closerange(before + 1, after)
    words = [word if isinstance(word, str) else str(sockets.pop(0)) for word in command]
    os.chdir(directory)
    try:
        match words:
            case ["-m", module, *_]:
                _take(variables)
                sys.argv = words[1:]
                runpy.run_module(module, run_name="__main__", alter_sys=True)
            case [program, *_] if program.endswith(".py"):
                _take(variables)
                sys.argv = words
                runpy.run_path(program, run_name="__main__")
            case [program, *_]:
                os.execvpe(program, words, variables)  # noqa: S606 - a program of the tests' choice
    finally:
        atexit._run_exitfuncs()


def _take(variables: Mapping[str, str]) -> None:
    """The environment, and the settings from it. The models have looked at the database of the settings before. Invalid
    settings are left to the program, which reads them again: what it prints is what a test looks at."""
    # The server imports from the directory that pytest was started in, and says nothing if it finds nothing there.
    import_module("tests.kit.loaded")
    os.environ.clear()
    os.environ.update(variables)
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "smartops.settings")
    del sys.modules["smartops.settings"]
    settings._wrapped = empty
    with suppress(ImproperlyConfigured):
        connections.settings["default"].update(settings.DATABASES["default"])
    del connections["default"]
