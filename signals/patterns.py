"""The patterns that operators write: regular expressions of RE2, anchored at both ends, as Prometheus and Alertmanager
have them. RE2 takes time linear in the length of the text. Its syntax has neither backreferences nor look-around:
https://github.com/google/re2/wiki/Syntax."""

from functools import lru_cache
from typing import Any

import re2

from signals.invisible import invisible_problem

MAX_PATTERN = 512  # characters
MAX_MEMORY = 1 << 20  # bytes of one compiled pattern: `(a{1000}){1000}` is refused instead of compiled


def pattern_problem(pattern: str) -> str:
    """Why it is no pattern, for the person who writes it. Empty if it is one."""
    if len(pattern) > MAX_PATTERN:
        return f"A pattern has at most {MAX_PATTERN} characters; this one has {len(pattern)}."
    if problem := invisible_problem(pattern):
        return problem
    try:
        _compiled(pattern)
    except re2.error as error:
        why = error.args[0].decode(errors="replace") if isinstance(error.args[0], bytes) else str(error)
        return (
            f"It is not a regular expression of RE2: {why}. RE2 has no backreferences and no look-around; "
            "https://github.com/google/re2/wiki/Syntax has its syntax."
        )
    return ""


def matches(pattern: str, text: str) -> bool:
    """Whether the pattern matches the whole text. A pattern with a problem matches nothing."""
    try:
        return _compiled(pattern).fullmatch(text) is not None
    except (re2.error, UnicodeEncodeError):
        return False


def escaped(text: str) -> str:
    """The pattern that matches this text alone."""
    return str(re2.escape(text))


@lru_cache(maxsize=1024)
def _compiled(pattern: str) -> Any:
    options = re2.Options()
    options.max_mem = MAX_MEMORY
    options.dot_nl = True
    options.log_errors = False
    return re2.compile(pattern, options)
