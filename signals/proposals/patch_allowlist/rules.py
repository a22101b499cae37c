"""What the rules of the allowlist are made of. A rule takes a value and its path. Pure."""

import re
from collections.abc import Callable, Mapping
from typing import Any

Refusal = tuple[str, str]  # (path, why)
Rule = Callable[[Any, str], Refusal | None]
Prefixes = tuple[str, ...]  # of names that the installation allows beyond the defaults, such as `example.com/`
PERCENTAGE = re.compile(r"[0-9]{1,3}%")


def fields(**allowed: Rule) -> Rule:
    """An object with no other fields than these."""

    def check(value: Any, path: str) -> Refusal | None:
        if not isinstance(value, Mapping):
            return path or "patch", "it must be an object"
        for name, inner in value.items():
            here = join(path, name)
            if name.startswith("$"):
                return directive(here)
            if name not in allowed:
                return here, "this field must not be patched"
            if refusal := allowed[name](inner, here):
                return refusal
        return None

    return check


def names(why_not: Callable[[str, Any], str]) -> Rule:
    """An object of which every entry is allowed for which `why_not` is empty. `null` for the whole object would remove
    entries that nobody has seen."""

    def check(value: Any, path: str) -> Refusal | None:
        if not isinstance(value, Mapping):
            return path, "it must be an object"
        for name, inner in value.items():
            if name.startswith("$"):
                return directive(join(path, name))
            if why := why_not(name, inner):
                return join(path, name), why
        return None

    return check


def items(rule: Rule) -> Rule:
    def check(value: Any, path: str) -> Refusal | None:
        if not isinstance(value, list):
            return path, "it must be a list"
        return first(rule, value, path)

    return check


def optional(rule: Rule) -> Rule:
    """`null` removes the field, which leaves the API's default."""

    def check(value: Any, path: str) -> Refusal | None:
        return None if value is None else rule(value, path)

    return check


def within(least: int, most: int) -> Rule:
    def check(value: Any, path: str) -> Refusal | None:
        if type(value) is int and least <= value <= most:
            return None
        return path, f"it must be an integer from {least} to {most}"

    return check


def share(pods: int, percent: int) -> Rule:
    """A number of pods, or a percentage of them."""

    def check(value: Any, path: str) -> Refusal | None:
        if type(value) is int and 0 <= value <= pods:
            return None
        if isinstance(value, str) and PERCENTAGE.fullmatch(value) and int(value[:-1]) <= percent:
            return None
        return path, f"it must be at most {pods} or {percent}%"

    return check


def boolean(value: Any, path: str) -> Refusal | None:
    return None if isinstance(value, bool) else (path, "it must be true or false")


def anything(value: Any, path: str) -> Refusal | None:
    """Any value; the API server knows its schema. Directives hide in every depth."""
    if isinstance(value, Mapping):
        for name, inner in value.items():
            here = join(path, name)
            if name.startswith("$"):
                return directive(here)
            if refusal := anything(inner, here):
                return refusal
    if isinstance(value, list):
        return first(anything, value, path)
    return None


def first(rule: Rule, values: list[Any], path: str) -> Refusal | None:
    refusals = (rule(inner, f"{path}[{index}]") for index, inner in enumerate(values))
    return next(filter(None, refusals), None)


def directive(path: str) -> Refusal:
    return path, "patch directives are not allowed"


def join(path: str, name: str) -> str:
    if not name.isidentifier() and not name.startswith("$"):
        return f'{path}["{name}"]'
    return f"{path}.{name}" if path else name
