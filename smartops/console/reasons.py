"""The page of all reasons: what each means, and what to do, from docs/reasons.md. Every reason links to its row."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

from django.conf import settings
from django.http import HttpResponse
from django.shortcuts import render
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from smartops.console.pages import ConsoleRequest, page

_ROW = re.compile(r"\| `(\w+)` \| (.+) \| (.+) \|")
_ASIDE = re.compile(r" \(\[[^\]]+\]\([^)]+\)\)")  # a link in brackets: its text alone says nothing
_LINK = re.compile(r"\[([^\]]+)\]\([^)]+\)")


@dataclass(frozen=True, slots=True)
class Remedy:
    group: str
    reason: str
    means: SafeString
    what_to_do: SafeString


@page
def reasons(request: ConsoleRequest) -> HttpResponse:
    return render(request, "console/reasons.html", {"remedies": list(remedies().values())})


@cache
def remedies() -> dict[str, Remedy]:
    """By reason, in the order of the page."""
    text = (settings.BASE_DIR / "docs" / "reasons.md").read_text()
    return {one.reason: one for one in _parse(text)}


def _parse(text: str) -> Iterator[Remedy]:
    group = ""
    for line in text.splitlines():
        if line.startswith("## "):
            group = line.removeprefix("## ")
        elif row := _ROW.fullmatch(line):
            yield Remedy(group, row[1], _inline(row[2]), _inline(row[3]))


def _inline(markdown: str) -> SafeString:
    """Code as code; of a link, its text."""
    pieces = _LINK.sub(r"\1", _ASIDE.sub("", markdown)).split("`")
    formats = ("{}", "<code>{}</code>")
    return format_html_join("", "{}", ((format_html(formats[place % 2], piece),) for place, piece in enumerate(pieces)))
