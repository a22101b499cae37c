"""The screens in the main menu. A screen adds itself here and in urls.py."""

from collections.abc import Iterator
from dataclasses import dataclass

from django.urls import reverse

from smartops.people.access import Access, Right


@dataclass(frozen=True, slots=True)
class Screen:
    """`name` is that of its URL. `key`: the letter that opens it, after g. `right`: it is in the menu of those who have
    this right somewhere, or `everywhere`."""

    name: str
    title: str
    key: str
    right: Right = Right.READ
    everywhere: bool = False


# In the order of the menu.
SCREENS = (
    Screen("overview", "Overview", "o"),
    Screen("approvals", "Approvals", "p"),
    Screen("actions", "Actions", "a"),
    Screen("signals", "Signals", "s"),
    Screen("workloads", "Workloads", "w"),
    Screen("guardrails", "Guardrails", "l"),
    Screen("rules", "Rules", "r"),
    Screen("aliases", "Aliases", "n"),
    Screen("audit", "Audit", "u"),
    Screen("tokens", "Tokens", "t", Right.ADMINISTER, everywhere=True),
)


@dataclass(frozen=True, slots=True)
class Entry:
    screen: Screen
    href: str
    current: bool  # it is the page, or a page below it


def shown_to(access: Access, path: str) -> Iterator[Entry]:
    for screen in SCREENS:
        if access.may(screen.right) if screen.everywhere else access.has(screen.right):
            href = reverse(f"console:{screen.name}")
            yield Entry(screen, href, path == href or (screen.name != "overview" and path.startswith(href)))
