"""The alerts: Prometheus accepts them, each fires only when it must, and each has a runbook."""

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.kit.pages import section, slug
from tests.prometheus.files import ROOT, RULES, alerts

UNIT_TESTS = Path(__file__).with_name("alerts.yaml")
HOW = (ROOT / "docs/operations.md").read_text()
EACH = pytest.mark.parametrize("alert", alerts(), ids=lambda alert: alert["alert"])


def promtool(*arguments: str | Path) -> None:
    done = subprocess.run(["promtool", *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_prometheus_accepts_the_rules() -> None:
    promtool("check", "rules", RULES)


def test_each_alert_fires_only_when_it_must() -> None:
    promtool("test", "rules", UNIT_TESTS)


@EACH
def test_each_alert_is_tested_firing_and_not_firing(alert: dict[str, Any]) -> None:
    tried = [
        bool(one.get("exp_alerts"))
        for test in yaml.safe_load(UNIT_TESTS.read_text())["tests"]
        for one in test["alert_rule_test"]
        if one["alertname"] == alert["alert"]
    ]
    assert set(tried) == {True, False}


@EACH
def test_each_alert_has_a_severity_and_a_runbook(alert: dict[str, Any]) -> None:
    assert alert["labels"]["severity"] in {"critical", "warning"}
    assert alert["annotations"].keys() == {"summary", "description", "runbook"}
    assert alert["annotations"]["runbook"] == f"docs/operations.md#{slug(alert['alert'])}"


def test_the_runbook_page_lists_exactly_the_alerts() -> None:
    sections = re.findall(r"^### (SmartOps\w+)$", section(HOW, "## Alerts"), re.MULTILINE)
    assert sections == [alert["alert"] for alert in alerts()]
    assert re.findall(r"^\| \[`(\w+)`\]\(#\w+\) \| (\w+) \|", section(HOW, "## Alerts"), re.MULTILINE) == [
        (alert["alert"], alert["labels"]["severity"]) for alert in alerts()
    ]
