"""The rules of a new installation."""

from importlib import import_module
from typing import Any

from signals.models import Rule

DEFAULT_RULES: list[dict[str, Any]] = import_module("signals.migrations.0002_default_rules").DEFAULT_RULES


def install_default_rules() -> None:
    """As the migration does: a test with real transactions ends with empty tables, and may come before."""
    Rule.objects.bulk_create([Rule(**fields) for fields in DEFAULT_RULES], ignore_conflicts=True)
