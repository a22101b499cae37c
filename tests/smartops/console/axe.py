"""What axe finds on a page, by its rules for WCAG 2.2 AA and its best practices."""

from typing import Any

from axe_playwright_python.base import AXE_SCRIPT
from playwright.sync_api import Page

# The rule for targets of 24 px is off by default.
RULES = {"resultTypes": ["violations"], "selectors": False, "rules": {"target-size": {"enabled": True}}}

# For each text, axe parses the colors of all that is behind it. They are few, and take a fourth of its time.
PARSE_ONCE = """(() => {
  const known = new Map(), { prototype } = axe.commons.color.Color, parse = prototype.parseString;
  prototype.parseString = function (text) {
    if (known.has(text)) return Object.assign(this, known.get(text));
    const { r, g, b, alpha } = parse.call(this, text);
    known.set(text, { r, g, b, alpha });
    return this;
  };
})();"""

# The bar on top covers what is scrolled below it. Of what axe found, only what it complains of leaves the browser.
VIOLATIONS = """rules => {
  scrollTo(0, 0);
  return axe.run(rules).then(({ violations }) =>
    violations.flatMap(({ id, nodes }) => nodes.map(({ html }) => [id, html.slice(0, 200)])));
}"""


def prepare(page: Page) -> None:
    """Let each document that the page opens from here on have axe. To send it to each one would take longer."""
    page.add_init_script(AXE_SCRIPT + PARSE_ONCE)


def violations(page: Page) -> list[Any]:
    found: list[Any] = page.evaluate(VIOLATIONS, RULES)
    return found
