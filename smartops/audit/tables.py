"""The recorded tables: which of them are about people and tokens, and what their rows are called."""

from collections.abc import Mapping
from functools import cache
from typing import Any

import pgtrigger
from django.db.models import Model

from guardrails.models import scope_name
from signals.lib.triggers import Recorded

DEFINITIONS = "auth_permission"
SETTINGS_OF = ("signals", "guardrails", "orchestrator")  # apps; what others record is administration


@cache
def recorded() -> dict[str, type[Model]]:
    """The models of the recorded tables, by the name of the table."""
    models = [model for model, trigger in pgtrigger.registered() if isinstance(trigger, Recorded)]
    concrete: list[Any] = [one._meta.concrete_model or one for one in models]
    return {one._meta.db_table: one for one in sorted(concrete, key=str)}


@cache
def administration() -> list[str]:
    """The tables of tokens, accounts and role grants."""
    return [table for table, one in recorded().items() if one._meta.app_label not in SETTINGS_OF]


def name_of(row: Mapping[str, Any]) -> str:
    """Of a row of a recorded table, as people know it; empty if it has none."""
    for column in ("name", "username"):
        if row.get(column):
            return str(row[column])
    if "namespace" in row and "cluster" in row:
        return scope_name(row["cluster"], row.get("kind", ""), row["namespace"], row.get("workload", ""))
    return ""
