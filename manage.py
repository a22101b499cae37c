#!/usr/bin/env python
"""Django's command line: migrate, reconcile, create_token, ..."""

import os
import sys

from django.core.management import execute_from_command_line
from django.db import Error

from signals.lib.availability import describe, is_repeatable

if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "smartops.settings")
    try:
        execute_from_command_line(sys.argv)
    except Error as error:
        if not is_repeatable(error):
            raise
        sys.exit(f"The database is unavailable: {describe(error)}")
