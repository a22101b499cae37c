#!/usr/bin/env python
"""Django's command line: migrate, reconcile, create_token, ..."""

import gc
import os
import sys
from contextlib import nullcontext

from django.apps import apps
from django.core.management import execute_from_command_line
from django.db import Error

from signals import actors
from signals.lib.acting import acting
from signals.lib.availability import describe, is_repeatable

PROCESSES = ("serve", "reconcile")  # no command of a person: each request and each action has an actor of its own

if __name__ == "__main__":
    if not apps.ready:
        gc.disable()  # until the apps are loaded (smartops/apps.py)
    command = next(iter(sys.argv[1:]), "")
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "smartops.settings")
    try:
        with acting(actors.system(command or "help")) if command not in PROCESSES else nullcontext():
            execute_from_command_line(sys.argv)
    except Error as error:
        if not is_repeatable(error):
            raise
        sys.exit(f"The database is unavailable: {describe(error)}")
