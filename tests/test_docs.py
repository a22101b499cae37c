"""What the pages say of the code is true, where a program can tell."""

import importlib
import inspect
import json
import pkgutil
import re
from collections.abc import Iterator
from dataclasses import fields
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import unquote

import pgtrigger
import pytest
from django.apps import apps
from prometheus_client.metrics import MetricWrapperBase

from guardrails.evaluate import GUARDRAILS, Guardrail
from guardrails.models import LIMIT_FIELDS
from guardrails.policies import opa
from guardrails.types import Facts, Limits
from orchestrator import metrics
from orchestrator.k8s import metrics as k8s_metrics
from orchestrator.models import FINAL, TRANSITIONS
from orchestrator.process import gauges
from orchestrator.publish import subscription
from orchestrator.publish.kubernetes import SUPPRESSED
from orchestrator.reconciler.next_step import NextStep
from signals import ingest
from signals.lib.triggers import FSM
from signals.models import SignalState
from signals.proposals import PROPOSAL_TYPES
from signals.types import ActionType, Origin, Proposal, Target
from smartops.api import refusals
from smartops.dev.sandbox import faults
from tests.kit.pages import ROOT, first_cells, page, section, slug
from tests.kit.rules import DEFAULT_RULES

PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
NOW = datetime(2026, 1, 1, tzinfo=UTC)
Edge = tuple[str, str]

# The modules and packages whose classes are the vocabulary of docs/architecture.md#words.
DOMAIN = (
    "signals.types",
    "signals.models",
    "signals.ledger",
    "signals.rules",
    "signals.aliases",
    "signals.setting_changes",
    "signals.mapping",
    "signals.reasons",
    "signals.proposals",
    "signals.transitions",
    "signals.ingest",
    "signals.ingest_trace",
    "guardrails.types",
    "guardrails.models",
    "guardrails.checks",
    "guardrails.evaluate",
    "guardrails.words",
    "orchestrator.acts",
    "orchestrator.models",
    "orchestrator.actions",
    "orchestrator.decide",
    "orchestrator.k8s",
    "orchestrator.process",
    "orchestrator.publish",
    "orchestrator.reconciler",
    "orchestrator.verification",
    "orchestrator.what_if",
)
# Classes that need no explanation: terms of Kubernetes, of HTTP and of Python, and details of one module.
PLAIN = {
    "Autoscaler", "Collection", "Condition", "Connection", "Counts", "EventType", "Field", "Interruption",
    "KubernetesCluster", "ObjectKey", "Page", "Pod", "Resource", "Update", "Watch", "WatchEvent", "WatchEventType",
    "Watched", "WorkloadKey",
    "Complete", "Failed", "Progressing",  # the results of `kubectl rollout status`
    "ControlLoop", "Permissions",  # what the health server reads
    "Receipt", "ReplicaGauge", "Stored", "Verifications",
}  # fmt: skip


def test_the_page_of_the_sandbox_has_every_fault_and_its_fields() -> None:
    common = {field.name for field in fields(faults.Strike)}
    rows = re.findall(r"^\| `(\w+)` \| (.*?)\| ", section(page("docs/sandbox.md"), "## Faults"), re.MULTILINE)
    described = {kind: set(re.findall(r"`(\w+)`", names)) for kind, names in rows}
    assert described == {
        name: {field.name for field in fields(kind)} - (common if issubclass(kind, faults.Strike) else set())
        for name, kind in faults.KINDS.items()
    }


def diagrams(name: str) -> list[set[Edge]]:
    """The edges of each state diagram of a page."""
    blocks = re.findall(r"```mermaid\nstateDiagram-v2\n(.*?)```", page(name), re.DOTALL)
    return [set(re.findall(r"^\s*(\S+) --> ([a-z_]+|\[\*\])", block, re.MULTILINE)) for block in blocks]


def transition_rows(text: str) -> set[Edge]:
    """Of tables whose first column is "`here` → `there`"."""
    return set(re.findall(r"^\| `(\w+)` → `(\w+)` \|", text, re.MULTILINE))


def links(path: Path) -> Iterator[str]:
    text = re.sub(r"```.*?```", "", path.read_text(), flags=re.DOTALL)
    yield from re.findall(r"\]\(([^)\s]+)\)", text)


def test_the_actions_diagram_is_the_table_of_transitions() -> None:
    _, drawn = diagrams("docs/lifecycle.md")

    assert drawn >= {("[*]", "pending")}
    assert {edge for edge in drawn if "[*]" not in edge} == {
        (here.value, there.value) for here, theres in TRANSITIONS.items() for there in theres
    }
    assert {here for here, there in drawn if there == "[*]"} == {state.value for state in FINAL}


def test_the_signals_diagram_is_the_trigger_of_the_table() -> None:
    drawn, _ = diagrams("docs/lifecycle.md")

    ((_, trigger),) = pgtrigger.registered("signals.Signal:signal_transitions")
    assert isinstance(trigger, FSM)
    assert {edge for edge in drawn if "[*]" not in edge} == {
        (str(here), str(there)) for here, there in trigger.transitions
    }
    assert {here for here, there in drawn if there == "[*]"} == set(SignalState) - {"pending"}


def test_every_transition_is_explained() -> None:
    signals, actions = diagrams("docs/lifecycle.md")
    _, _, text = page("docs/lifecycle.md").partition("## Signals")
    of_signals, _, of_actions = text.partition("## Actions")

    for drawn, told in ((signals, transition_rows(of_signals)), (actions, transition_rows(of_actions))):
        assert {edge for edge in drawn if "[*]" not in edge} == {(here, there) for here, there in told if here != there}


def test_the_settings_in_the_readme_are_those_that_are_read() -> None:
    read = set(re.findall(r'\benv(?:_\w+)?\(\s*"(\w+)"', page("smartops/settings.py")))

    assert set(first_cells(section(page("README.md"), "## Configuration"))) == read


def test_the_metrics_in_operations_are_those_of_the_processes() -> None:
    modules = (metrics, k8s_metrics, subscription, gauges, opa, ingest)
    collectors = [one for module in modules for one in vars(module).values() if isinstance(one, MetricWrapperBase)]
    replicas = (k8s_metrics.DESIRED_REPLICAS, k8s_metrics.READY_REPLICAS)
    labels = {one.name: ", ".join(f"`{name}`" for name in k8s_metrics.TARGET) for one in replicas} | {
        family.name + "_total" * (family.type == "counter"): ", ".join(f"`{name}`" for name in one._labelnames)
        for one in collectors
        for family in one.describe()
    }

    told = re.findall(r"^\| `(\w+)` \| (.*?) ?\|", section(page("docs/operations.md"), "## Metrics"), re.MULTILINE)
    assert dict(told) == labels
    assert len(told) == len(labels)


def test_the_limits_in_guardrails_have_their_defaults() -> None:
    text = section(page("docs/guardrails.md"), "## Limits and their scopes")
    rows = re.findall(r"^\| `(\w+)` \| (\d+|true|false|\"\w*\") \|", text, re.MULTILINE)
    told = {name: json.loads(value) for name, value in rows}

    assert told == {one.name: one.default for one in fields(Limits) if one.name in LIMIT_FIELDS}


def test_the_statuses_in_guardrails_are_those_of_the_api() -> None:
    text = section(page("docs/guardrails.md"), "### Direct and closed loop")
    rows = re.findall(r"^\| ((?:`\w+`(?:, )?)+) \| (\d{3}) \|", text, re.MULTILINE)

    told = {reason: int(status) for reasons, status in rows for reason in re.findall(r"\w+", reasons)}
    assert told == dict(refusals.STATUS)


def test_the_rules_of_a_new_installation_are_told() -> None:
    told = re.findall(
        r"^\| `(\S+)` \| (\w+) `(\w+)` \| (.+) \| (\w+) `(.+)` \|$", page("docs/signals.md"), re.MULTILINE
    )

    names = ("score", "probability", "confidence")
    assert told == [
        (
            rule["name"],
            rule["source"],
            rule["symptom"],
            ", ".join(f"{name} {rule[f'min_{name}']}" for name in names if f"min_{name}" in rule),
            rule["action_type"],
            json.dumps(rule["params"]),
        )
        for rule in DEFAULT_RULES
    ]


def classes(name: str) -> Iterator[tuple[str, str]]:
    """The public classes of a module or of all modules of a package, with the paths of their files. Exceptions are not
    among them."""
    module = importlib.import_module(name)
    for child in pkgutil.iter_modules(getattr(module, "__path__", ())):
        yield from classes(f"{name}.{child.name}")
    path = str(Path(module.__file__ or "").relative_to(ROOT))
    for one in vars(module).values():
        own = inspect.isclass(one) and one.__module__ == name and not issubclass(one, Exception)
        if own and not one.__name__.startswith("_"):
            yield one.__name__, path


def test_the_words_are_the_classes_of_the_domain() -> None:
    text = section(page("docs/architecture.md"), "## Words")
    explained = set(re.findall(r"\[`(\w+)`\]\(\.\./([\w/]+\.py)\)", text))
    domain = {found for name in DOMAIN for found in classes(name)}

    missing = {(name, path) for name, path in domain - explained if name not in PLAIN}
    assert missing == set(), "explain these in docs/architecture.md#words, or add them to PLAIN"
    assert {name for name, _ in domain} >= PLAIN
    for name, path in explained:
        assert re.search(rf"^(class |def )?{name}\b", page(path), re.MULTILINE), f"{name} is not in {path}"


def test_every_constraint_and_trigger_is_explained() -> None:
    text = section(page("docs/architecture.md"), "## What the database guarantees")
    models = [
        model
        for label in ("signals", "guardrails", "orchestrator", "smartops")
        for model in apps.get_app_config(label).get_models()
    ]
    constraints = {constraint.name for model in models for constraint in model._meta.constraints}
    triggers = {trigger.name for _, trigger in pgtrigger.registered()}

    assert constraints | triggers <= set(re.findall(r"`(\w+)`", text))
    assert set(re.findall(r"`(\w+_\w+)`", text)) <= constraints | triggers


def test_every_guardrail_is_explained() -> None:
    proposal = Proposal(
        ActionType.SCALE, Target("default", "smartops-dev", "erp-simulator"), Origin.DIRECT, {"delta": 1}
    )
    names = [ask(proposal, Facts(target_seen=False), Limits(), NOW).guardrail for ask in GUARDRAILS]

    assert first_cells(section(page("docs/guardrails.md"), "## Each guardrail"))[:1] == ["signal"]
    assert first_cells(section(page("docs/guardrails.md"), "## Each guardrail"))[1 : 1 + len(names)] == names


OUTCOMES = {"allow", "ask", "observe", "warn", "defer", "deny"}


@pytest.mark.parametrize("guardrail", GUARDRAILS)
def test_the_answers_of_a_guardrail_are_those_of_its_docstring(guardrail: Guardrail) -> None:
    [row] = re.findall(
        rf"^\| `{guardrail.__name__}` \|.*\| (.+?) \| (.+?) \|$", page("docs/guardrails.md"), re.MULTILINE
    )
    text = " ".join((guardrail.__doc__ or "").split())
    [documented] = re.findall(r"Closed loop: (.+?)\. Direct action: (.+?)\.", text)

    assert [OUTCOMES & set(re.findall(r"\w+", cell)) for cell in row] == [
        OUTCOMES & set(re.findall(r"\w+", answer)) for answer in documented
    ]


def test_every_next_step_is_explained() -> None:
    text = section(page("docs/acting-once.md"), "## next_step")

    assert set(re.findall(r"`([A-Z_]+)`", text)) == {step.name for step in NextStep}


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_link_leads_somewhere(path: Path) -> None:
    for link in links(path):
        if re.match(r"[a-z]+:", link):
            continue
        where, _, anchor = link.partition("#")
        target = (path.parent / unquote(where)).resolve() if where else path
        assert target.is_relative_to(ROOT), link
        assert target.exists(), link
        if anchor:
            headings = re.findall(r"^#+ (.*)$", target.read_text(), re.MULTILINE)
            assert anchor in map(slug, headings), link


def test_every_page_is_reached_from_the_readme() -> None:
    reached, waiting = set[Path](), [ROOT / "README.md"]
    while waiting:
        current = waiting.pop()
        if current in reached:
            continue
        reached.add(current)
        for link in links(current):
            target = (current.parent / link.partition("#")[0]).resolve()
            target = target / "README.md" if target.is_dir() else target
            if target.suffix == ".md" and target.exists():
                waiting.append(target)

    assert {*PAGES} - reached == set()


def test_the_events_are_those_of_the_code() -> None:
    told, _, rest = section(page("docs/operations.md"), "## Events").partition("Nor are these")
    untold, *_ = rest.split("\n\n")
    assert set(re.findall(r"`(\w+ed)`", told)) == {one.event for one in PROPOSAL_TYPES.values()}
    assert set(re.findall(r"`(\w+)`", untold)) == set(SUPPRESSED)
