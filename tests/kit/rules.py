"""The rules of a new installation."""

from importlib import import_module
from typing import Any

DEFAULT_RULES: list[dict[str, Any]] = import_module("signals.migrations.0002_default_rules").DEFAULT_RULES
