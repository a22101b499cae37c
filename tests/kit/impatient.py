"""`python -m tests.kit.impatient serve …`: manage.py with time limits of seconds."""

import os
import sys

os.environ["DJANGO_SETTINGS_MODULE"] = "smartops.settings"

from smartops.edge import connection

connection.HEADER_TIMEOUT, connection.BODY_TIMEOUT = 1, 2
connection.IDLE_TIMEOUT, connection.LINGER = 3, 2

if __name__ == "__main__":
    from django.core.management import execute_from_command_line

    execute_from_command_line(sys.argv)
