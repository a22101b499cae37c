"""A new action type takes the places that CONTRIBUTING.md lists, and no other: RESUME, in a copy of the packages."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("signals", "guardrails", "orchestrator", "smartops")
NEW = {
    "signals/proposals/resume.py": '''
"""RESUME: resumes the rollouts of a paused Deployment. Parameters `{}`; change `{"paused": false}`."""

from typing import Any

from signals.proposals.images import Images, Irreversible
from signals.proposals.types import Before, Change, Params

event = "Resumed"
nouns = ("resumption", "resumptions")


def problem(params: Any) -> str:
    return "" if params == {} else "RESUME takes no parameters: {}."


def refusal(params: Any, prefixes: tuple[str, ...] = (), containers: tuple[str, ...] | None = None) -> str:
    return ""


def fields(params: Params) -> tuple[str, ...]:
    return ("spec.paused",)


def replicas(params: Params, current: int | None) -> int | None:
    return None


def waits_for_pods(params: Params) -> bool:
    return False


def describe(params: Params) -> str:
    return "Resume rollouts"


def done(before: Before, change: Change) -> str:
    return "Resumed rollouts"


def patch(change: Change) -> Params:
    return {"spec": dict(change)}


def repeated(params: Params, change: Change) -> Params:
    return params


def inverse(change: Change, images: Images) -> Params | Irreversible:
    return Irreversible("A rollout that has been resumed is not paused again.")
''',
    "orchestrator/actions/resume.py": '''
"""RESUME: writes `spec.paused: false`."""

from collections.abc import Mapping
from typing import Any

from orchestrator.k8s.cluster import Cluster
from orchestrator.k8s.types import WorkloadObject, Preconditions, WorkloadKey


def plan(params: Mapping[str, Any], live: WorkloadObject, action_id: str) -> dict[str, Any]:
    return {"paused": False}


def write(
    cluster: Cluster,
    key: WorkloadKey,
    change: Mapping[str, Any],
    preconditions: Preconditions,
    action_id: str,
    dry_run: bool,
) -> WorkloadObject:
    patch = {"spec": dict(change)}
    return cluster.patch_workload(key, patch, preconditions=preconditions, action=action_id, dry_run=dry_run)


def expected_replicas(change: Mapping[str, Any]) -> int | None:
    return None
''',
}
EDITS = {
    "signals/types.py": [('    PATCH = "PATCH"\n', '    PATCH = "PATCH"\n    RESUME = "RESUME"\n')],
    "signals/proposals/__init__.py": [
        ("import patch, restart, scale", "import patch, restart, resume, scale"),
        ("ActionType.PATCH: patch,", "ActionType.PATCH: patch, ActionType.RESUME: resume,"),
    ],
    "orchestrator/actions/__init__.py": [
        ("import patch, restart, scale", "import patch, restart, resume, scale"),
        ("ActionType.PATCH: patch,", "ActionType.PATCH: patch, ActionType.RESUME: resume,"),
    ],
}
# Every floor meets the new type: rule, guardrails, request, plan, write, verification, console, demo, Event.
SCRIPT = """
import json
from datetime import UTC, datetime
import django
django.setup()
from django.core.exceptions import ValidationError
from guardrails.evaluate import decide
from guardrails.types import Facts, Inputs, Limits, TargetFacts
from orchestrator.actions import HANDLERS
from orchestrator.acts.actions import retry_proposal
from orchestrator.k8s.types import WorkloadObject, Preconditions, WorkloadKey
from orchestrator.models import Action, Workload
from signals.models import Rule
from signals.proposals import PROPOSAL_TYPES
from signals.types import ActionType, RuleSpec, SignalFacts, Source, Target
from smartops.api.requests import ActionRequest
from smartops.dev.demo.wording import change_of
from smartops.templatetags.console import changes, headline

def rejected(**params):
    try:
        Rule(source="anomaly", symptom="other", action_type="RESUME", params=params, enabled=False).clean()
    except ValidationError as error:
        return error.message_dict

class Cluster:
    def patch_workload(self, *arguments, **how):
        return [str(arguments[0]), *arguments[1:], how["action"], how["preconditions"].resource_version]

now = datetime(2026, 3, 1, 12, tzinfo=UTC)
target = Target("default", "dev", "web")
rule = RuleSpec(1, 1, "resume", Source.ANOMALY, "stuck", ActionType.RESUME, {})
signal = SignalFacts("s", Source.ANOMALY, target, "stuck", now, resolved=False)
facts = Facts(True, TargetFacts("uid-1", 2, paused=True))
decision = decide(Inputs(now, facts, Limits(), signal, (rule,)))
key = WorkloadKey("dev", "web")
live = WorkloadObject(key, "uid-1", "41", 1, 2, True, False, {})
handler = HANDLERS[ActionType.RESUME]
change = handler.plan(decision.proposal.params, live, "a-1")
action = Action(workload=Workload(kind="Deployment", namespace="dev", name="web"), type="RESUME", params={}, before={},
    change=change, before_image={"spec.paused": True}, after_image={})
request = ActionRequest.model_validate_json('{"type": "resume", "target": {"name": "web"}}')
named = {"kind": "Deployment", "namespace": "dev", "name": "web"}
document = {"type": "RESUME", "target": named, "before": {}, "change": change}
print(json.dumps({
    "rule": [rejected(), rejected(delta=1)],
    "decision": [decision.outcome, decision.proposal.type],
    "request": [request.proposal().type, request.proposal().params],
    "plan": change,
    "write": handler.write(Cluster(), key, change, Preconditions("uid-1", "41"), "a-1", False),
    "verification": handler.expected_replicas(change),
    "console": [headline(action), changes(action)],
    "inverse": str(action.inverse(())),
    "retry": dict(retry_proposal(action).params),
    "demo": change_of(document),
    "event": [PROPOSAL_TYPES[ActionType.RESUME].event, PROPOSAL_TYPES[ActionType.RESUME].done({}, change)],
}))
"""


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    for package in PACKAGES:
        shutil.copytree(ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path


def add(copy: Path) -> None:
    for name, text in NEW.items():
        (copy / name).write_text(text.lstrip())
    for name, edits in EDITS.items():
        text = (copy / name).read_text()
        for old, new in edits:
            assert text.count(old) == 1, (name, old)
            text = text.replace(old, new)
        (copy / name).write_text(text)


def asked(copy: Path) -> Any:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        cwd=copy,
        env=os.environ | {"PYTHONPATH": str(copy), "DJANGO_SETTINGS_MODULE": "smartops.settings"},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_a_new_action_type_is_a_pair_of_files_and_three_entries(copy: Path) -> None:
    add(copy)

    assert asked(copy) == {
        "rule": [None, {"params": ["RESUME takes no parameters: {}."]}],
        "decision": ["allow", "RESUME"],
        "request": ["RESUME", {}],
        "plan": {"paused": False},
        "write": ["dev/web", {"spec": {"paused": False}}, "a-1", "41"],
        "verification": None,
        "console": ["web: Resume rollouts", [["spec.paused", "true", ""]]],
        "inverse": "Irreversible(why='A rollout that has been resumed is not paused again.')",
        "retry": {},
        "demo": "dev/web: Resumed rollouts",
        "event": ["Resumed", "Resumed rollouts"],
    }


def test_contributing_lists_the_places_that_a_new_action_type_takes() -> None:
    section = (ROOT / "CONTRIBUTING.md").read_text().partition("## Add an action\n")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| \d \| `([^`]+)` \|", section, re.MULTILINE)

    assert {name.replace("<name>", "resume") for name in rows} == {*NEW, *EDITS}
    assert f"takes {['no', 'one', 'two', 'three', 'four', 'five', 'six'][len(rows)]} places" in section
