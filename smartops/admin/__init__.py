"""The admin: what people edit, and history."""

from smartops.admin import actions, aliases, history, limits, people, rules, signals, tokens

__all__ = ["actions", "aliases", "history", "limits", "people", "rules", "signals", "tokens"]
