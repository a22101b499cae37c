"""`python -m tests.kit.attentive serve …`: manage.py that checks the accounts of open pages each second."""

import os
import sys

os.environ["DJANGO_SETTINGS_MODULE"] = "smartops.settings"

if __name__ == "__main__":
    from django.core.management import execute_from_command_line

    import smartops.asgi  # noqa: F401 - it loads the apps
    from smartops.console import consumers

    consumers.RECHECK = 1.0
    execute_from_command_line(sys.argv)
