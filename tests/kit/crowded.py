"""`python -m tests.kit.crowded serve …`: manage.py with room for 12 connections, 8 of a peer."""

import os
import sys

os.environ["DJANGO_SETTINGS_MODULE"] = "smartops.settings"

from smartops.edge import server

server.MAX_CONNECTIONS, server.MAX_CONNECTIONS_OF_PEER = 12, 8

if __name__ == "__main__":
    from django.core.management import execute_from_command_line

    execute_from_command_line(sys.argv)
