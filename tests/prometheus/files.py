"""The rules and the dashboard as they are shipped, and what their queries name."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
RULES = ROOT / "helm/smartops/rules/smartops-orchestrator.yaml"
DASHBOARD = ROOT / "helm/smartops/dashboards/smartops-system-dashboard.json"
WORDS = {"and", "or", "unless", "by", "without", "on", "ignoring", "offset", "bool", "group_left", "group_right"}


def alerts() -> list[dict[str, Any]]:
    return [rule for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]]


def dashboard() -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads(DASHBOARD.read_text())
    return loaded


def panels() -> list[dict[str, Any]]:
    return [panel for panel in dashboard()["panels"] if panel["type"] != "row"]


def panel_queries() -> Iterator[tuple[str, str]]:
    """(the panel's title, the query as Grafana sends it)"""
    for panel in panels():
        for target in panel["targets"]:
            query = target["expr"].replace("$namespace", ".*")
            yield panel["title"], re.sub(r"\[\$__\w+\]", "[1m]", query)


def metric_names(query: str) -> set[str]:
    """Without strings, matchers, ranges and lists of labels, what is no function or word of the language."""
    bare = re.sub(r'"[^"]*"', "", query)
    bare = re.sub(r"\{[^}]*\}|\[[^\]]*\]|\b(?:by|without|on|ignoring)\s*\([^)]*\)", " ", bare)
    return set(re.findall(r"\b[a-zA-Z_:][\w:]*\b(?!\s*\()", bare)) - WORDS
