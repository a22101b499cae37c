"""The admin of what people edit: rules, limits, freezes, cooldowns, tokens, accounts. History has its pages in the
packages that write it."""

from smartops.admin import limits, people, rules, tokens

__all__ = ["limits", "people", "rules", "tokens"]
