"""All pages of the console, found by their links: a new screen or act needs no entry in any test."""

import re
from collections import defaultdict
from collections.abc import Callable
from html import unescape

from django.urls import Resolver404, resolve, reverse

from smartops.console import urls

EACH = 2  # pages of one URL name, at most
FOLLOWED = 20  # pages of one URL name that others are below, as acts are below an action: not each has every button
POSTED = {"seen"}  # what a page posts by itself
LINK = re.compile(r'(?:href|hx-get)="([^"]+)"')


def console_pages(fetch: Callable[[str], tuple[int, str, str]]) -> dict[str, list[str]]:
    """Addresses of pages by the name of their URL. A page is reached from those without parameters. `fetch` returns the
    status, the content type and the text of an address."""
    names = {pattern.name: pattern.pattern for pattern in urls.urlpatterns if pattern.name not in POSTED}
    routes = [str(pattern) for pattern in names.values()]
    above = {name for name, own in names.items() if sum(route.startswith(str(own)) for route in routes) > 1}
    found: dict[str, list[str]] = defaultdict(list)
    reached = set[str]()
    ahead = [reverse(f"console:{name}") for name, pattern in names.items() if not pattern.converters]
    seen = set[str]()
    while ahead:
        address = ahead.pop(0)
        if address in seen:
            continue
        seen.add(address)
        name = _name(address)
        if name is None or len(found[name]) >= (FOLLOWED if name in above else EACH):
            continue
        status, type_, text = fetch(address)
        assert status == 200, address
        reached.add(name)
        if not is_page(type_, text):
            continue
        found[name].append(address)
        ahead += [unescape(link).partition("#")[0] for link in LINK.findall(text) if link.startswith("/console/")]
    missing = names.keys() - reached
    assert not missing, f"no page links to {missing}: link to it, or give the scene (scene.py) what it shows"
    return {name: addresses[:EACH] for name, addresses in found.items()}


def is_page(type_: str, text: str) -> bool:
    """And neither a download nor a part of a page."""
    return type_.startswith("text/html") and "<html" in text


def _name(address: str) -> str | None:
    try:
        match = resolve(address.partition("?")[0].partition("#")[0])
    except Resolver404:
        return None
    return match.url_name if match.namespace == "console" else None
