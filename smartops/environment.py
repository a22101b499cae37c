"""Readers of environment variables. Each raises ImproperlyConfigured for a value that it cannot parse. The message
names the variable, the value (unless it may be a secret), and what is accepted. An empty variable counts as not set.

Readers know types only. What a value must be beyond its type is a system check (smartops/checks.py)."""

import os
import re
from collections.abc import Sequence
from math import isfinite
from pathlib import Path
from typing import NoReturn

import dj_database_url
from django.core.exceptions import ImproperlyConfigured

from smartops.people.claims import GroupRoles, group_roles

BOOLEANS = {"1": True, "true": True, "yes": True, "on": True, "0": False, "false": False, "no": False, "off": False}


def env(name: str, default: str = "") -> str:
    """The value of the variable, or the content of the file that `NAME_FILE` names: secrets are mounted as files."""
    path = os.environ.get(f"{name}_FILE")
    if not path:
        return os.environ.get(name) or default
    try:
        content = Path(path).read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise ImproperlyConfigured(f"{name}_FILE: cannot read {path}: {reason}.") from None
    if not content:
        raise ImproperlyConfigured(f"{name}_FILE: {path} is empty.")
    return content


def env_list(name: str, default: str = "") -> list[str]:
    """Comma-separated; spaces around an item and empty items are dropped."""
    return [part.strip() for part in env(name, default).split(",") if part.strip()]


def env_bool(name: str, default: bool = False) -> bool:
    value = env(name, str(default))
    found = BOOLEANS.get(value.lower())
    return _reject(name, value, f"{', '.join(BOOLEANS)} (in any case)") if found is None else found


def env_int(name: str, default: int) -> int:
    value = env(name, str(default))
    try:
        return int(value)
    except ValueError:
        _reject(name, value, "an integer")


def env_float(name: str, default: float) -> float:
    value = env(name, str(default))
    try:
        number = float(value)
    except ValueError:
        _reject(name, value, "a number")
    return number if isfinite(number) else _reject(name, value, "a finite number")


def env_choice(name: str, default: str, choices: Sequence[str]) -> str:
    """One of `choices`, in any case; returned as spelt there."""
    value = env(name, default)
    found = next((choice for choice in choices if choice.lower() == value.lower()), None)
    return _reject(name, value, ", ".join(choices)) if found is None else found


def env_postgresql(name: str, default: str = "") -> str:
    """A URL that dj_database_url parses as PostgreSQL. Neither the value nor a parser's message is shown: either may
    hold a part of the password."""
    value = env(name, default)
    try:
        # libpq quotes a URL with a space in its error message.
        valid = not value or (
            not re.search(r"\s", value) and dj_database_url.parse(value)["ENGINE"] == "django.db.backends.postgresql"
        )
    except ValueError:
        valid = False
    if not valid:
        raise ImproperlyConfigured(
            f"{name} is not a PostgreSQL URL (not shown, it may hold a password). "
            "Accepted: postgresql://USER:PASSWORD@HOST:PORT/DATABASE, special characters percent-encoded."
        )
    return value


def env_roles(name: str) -> GroupRoles:
    """What groups give: a JSON object (smartops/people/claims.py)."""
    try:
        return group_roles(env(name))
    except ValueError as error:
        raise ImproperlyConfigured(f"{name} is not valid: {error}.") from None


def _reject(name: str, value: str, accepted: str) -> NoReturn:
    raise ImproperlyConfigured(f"{name}={value!r} is not valid. Accepted: {accepted}.")
