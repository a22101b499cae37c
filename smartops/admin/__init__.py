"""The admin of what people edit: rules, limits, freezes, cooldowns, tokens, accounts; and of its history. Other history
has its pages in the packages that write it."""

from smartops.admin import aliases, history, limits, people, rules, tokens

__all__ = ["aliases", "history", "limits", "people", "rules", "tokens"]
