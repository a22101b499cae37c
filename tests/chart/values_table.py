"""docs/values.md, from the chart's schema and defaults: `python -m tests.chart.values_table > docs/values.md`."""

import json
from collections.abc import Iterator
from typing import Any, NamedTuple

import yaml

from tests.chart.rendering import CHART

HEAD = """# Values of the chart

The values that `--set` and `--values` accept. Helm rejects any other value. This page is generated from the chart's
[schema](../helm/smartops/values.schema.json) and [defaults](../helm/smartops/values.yaml). For an installation, start
with [install.md](install.md).
"""


class Value(NamedTuple):
    path: str
    default: Any
    meaning: str


def sections() -> Iterator[tuple[str, str, list[Value]]]:
    """Name, description and values of each top-level field."""
    schema = json.loads((CHART / "values.schema.json").read_text())
    defaults = yaml.safe_load((CHART / "values.yaml").read_text())
    for name, inner in schema["properties"].items():
        yield name, inner["description"], list(_values(inner, defaults[name], name))


def _values(schema: Any, default: Any, path: str, above: str = "") -> Iterator[Value]:
    if "properties" not in schema:
        yield Value(path, default, above + schema["description"])
        return
    for name, inner in schema["properties"].items():
        of = f"{above}{inner['description']}: " if "properties" in inner else above
        yield from _values(inner, default[name], f"{path}.{name}", of)


def page() -> str:
    text = HEAD
    for name, meaning, values in sections():
        text += f"\n## {name}\n\n{meaning[0].upper()}{meaning[1:]}.\n\n| Value | Default | Meaning |\n|---|---|---|\n"
        text += "".join(f"| `{one.path}` | `{json.dumps(one.default)}` | {one.meaning} |\n" for one in values)
    return text


if __name__ == "__main__":
    print(page(), end="")
