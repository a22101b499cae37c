"""`python -m tests.kit.constants MODULE.NAME=NUMBER … -- serve …`: manage.py with other values of constants."""

import json
import sys
from importlib import import_module


def with_constants(module: str, **values: float) -> list[str]:
    """The words of the command, in place of manage.py."""
    return ["-m", __name__, *(f"{module}.{name}={value}" for name, value in values.items()), "--"]


if __name__ == "__main__":
    from django.core.management import execute_from_command_line

    import smartops.asgi  # noqa: F401 - it loads the apps

    end = sys.argv.index("--")
    for name, _, value in (word.partition("=") for word in sys.argv[1:end]):
        path, _, constant = name.rpartition(".")
        module = import_module(path)
        assert hasattr(module, constant), name
        setattr(module, constant, json.loads(value))
    execute_from_command_line(["manage.py", *sys.argv[end + 1 :]])
