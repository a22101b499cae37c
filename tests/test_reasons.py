"""The closed list of reasons: each is used, and docs/reasons.md says what to do about it."""

import re
from pathlib import Path

from signals.reasons import GUARDRAIL_REASONS, Reason
from smartops.api.problems import RequestReason

ROOT = Path(__file__).parents[1]
GROUPS = re.findall(r"^    # (.+)\.$", (ROOT / "signals/reasons.py").read_text(), re.MULTILINE)
NAMES_ALL = {"signals/reasons.py", "smartops/api/refusals.py"}


def product() -> str:
    """Where reasons are given: not where they are listed."""
    paths = [path for package in ("signals", "guardrails", "orchestrator") for path in (ROOT / package).rglob("*.py")]
    giving = [p for p in paths if "migrations" not in p.parts and str(p.relative_to(ROOT)) not in NAMES_ALL]
    return "\n".join(path.read_text() for path in giving)


def documented() -> list[tuple[str, str]]:
    """(section, reason), in the page's order."""
    found, section = [], ""
    for line in (ROOT / "docs/reasons.md").read_text().splitlines():
        if line.startswith("## "):
            section = line.removeprefix("## ")
        elif row := re.fullmatch(r"\| `(\w+)` \| (.+) \| (.+) \|", line):
            found.append((section, row[1]))
    return found


def test_every_reason_is_given_somewhere() -> None:
    given = {*re.findall(r"\bReason\.(\w+)", product())}
    assert {reason.name for reason in Reason} - given == set()


def test_the_page_has_every_reason_once_in_the_order_of_the_lists() -> None:
    assert [reason for _, reason in documented()] == [reason.value for reason in (*Reason, *RequestReason)]


def test_the_page_is_grouped_as_the_lists_are() -> None:
    sections = list(dict.fromkeys(section for section, _ in documented()))
    assert sections == [*(group.split(":")[0] for group in GROUPS), "What lies in the request itself"]


def test_the_first_group_are_those_of_guardrails() -> None:
    assert [reason for section, reason in documented() if section == "Guardrails"] == list(GUARDRAIL_REASONS)


def test_the_reasons_of_guardrails_are_those_that_guardrails_give() -> None:
    checks = [path for path in (ROOT / "guardrails/checks").glob("*.py") if path.name != "signal.py"]
    given = {name for path in checks for name in re.findall(r"\bReason\.(\w+)", path.read_text())}

    assert given == {reason.name for reason in GUARDRAIL_REASONS}


def test_a_reason_is_spelt_alike_in_python_and_on_the_wire() -> None:
    assert [reason.name for reason in Reason] == [
        re.sub(r"(?<!^)(?=[A-Z])", "_", reason.value).upper() for reason in Reason
    ]
