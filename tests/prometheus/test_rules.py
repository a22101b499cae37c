"""The alerts: Prometheus reads them, each fires when it must and not when it must not, and each says what to do."""

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


def test_prometheus_reads_the_rules() -> None:
    promtool("check", "rules", RULES)


def test_each_alert_fires_when_it_must_and_only_then() -> None:
    promtool("test", "rules", UNIT_TESTS)


@EACH
def test_an_alert_is_tried_both_ways(alert: dict[str, Any]) -> None:
    tried = [
        bool(one.get("exp_alerts"))
        for test in yaml.safe_load(UNIT_TESTS.read_text())["tests"]
        for one in test["alert_rule_test"]
        if one["alertname"] == alert["alert"]
    ]
    assert set(tried) == {True, False}


@EACH
def test_an_alert_has_a_severity_and_the_link_to_its_runbook(alert: dict[str, Any]) -> None:
    assert alert["labels"]["severity"] in {"critical", "warning"}
    assert alert["annotations"].keys() == {"summary", "description", "runbook"}
    assert alert["annotations"]["runbook"] == f"docs/operations.md#{slug(alert['alert'])}"


def test_the_operations_page_explains_each_alert_and_no_other() -> None:
    told = re.findall(r"^### (SmartOps\w+)$", section(HOW, "## Alerts"), re.MULTILINE)
    assert told == [alert["alert"] for alert in alerts()]
    assert re.findall(r"^\| \[`(\w+)`\]\(#\w+\) \| (\w+) \|", section(HOW, "## Alerts"), re.MULTILINE) == [
        (alert["alert"], alert["labels"]["severity"]) for alert in alerts()
    ]
