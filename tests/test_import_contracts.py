"""The import contracts are kept, and each is proven by planted violations."""

import ast
import os
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest

from tests.kit.pages import ROOT
from tests.kit.pure import CONTRACT as PURE
from tests.kit.pure import pure_modules

LINTER = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]
CONTRACTS = {contract["name"]: contract for contract in LINTER["contracts"]}
LAYERS = "Imports point down: smartops, orchestrator, guardrails, signals"
INNER = "Imports within orchestrator point down"
CLIENT = "Only the cluster client knows the Kubernetes library"
NO_DJANGO = "The cluster client knows no Django"
WEB = "The web process holds no cluster client"
SMARTOPS = "Inside smartops, the API and the console are above web, and know nothing of each other"


class Copy:
    """The packages, to plant violations in."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        shutil.copy(ROOT / "pyproject.toml", directory)
        for package in LINTER["root_packages"]:
            everything_else = shutil.ignore_patterns("__pycache__", "static", "*.js", "*.css")
            shutil.copytree(ROOT / package, directory / package, ignore=everything_else)
        self._whole: dict[Path, str] = {}

    def plant(self, module: str, line: str) -> None:
        path = source(self.directory, module)
        self._whole.setdefault(path, path.read_text())
        with path.open("a") as file:
            file.write(f"\n{line}\n")

    def restore(self) -> None:
        for path, text in self._whole.items():
            path.write_text(text)

    def lint(self) -> dict[str, str]:
        """What is said of each contract that is broken."""
        command = "from importlinter.cli import lint_imports_command as run; run()"
        done = subprocess.run(
            [sys.executable, "-c", command],
            cwd=self.directory,
            env=os.environ | {"COLUMNS": "300", "PYTHONPATH": str(self.directory)},
            capture_output=True,
            text=True,
            timeout=60,
        )
        summary, _, details = done.stdout.partition("Broken contracts")
        broken = [name for name in CONTRACTS if f"{name} BROKEN" in summary]
        assert done.returncode == (1 if broken else 0), done.stdout + done.stderr
        assert all(f"{name} KEPT" in summary for name in CONTRACTS if name not in broken)
        starts = sorted((details.index(f"\n{name}\n---"), name) for name in broken)
        return {name: details[start:end] for (start, name), (end, _) in pairwise([*starts, (len(details), "")])}


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Copy:
    return Copy(tmp_path_factory.mktemp("packages"))


@pytest.fixture
def copy(packages: Copy) -> Iterator[Copy]:
    yield packages
    packages.restore()


def source(root: Path, module: str) -> Path:
    path = root.joinpath(*module.split("."))
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


def test_all_contracts_are_kept(copy: Copy) -> None:
    assert copy.lint() == {}
    assert list(CONTRACTS) == [LAYERS, INNER, PURE, CLIENT, NO_DJANGO, WEB, SMARTOPS]


UP = [
    ("signals.ingest", "guardrails.types"),
    ("signals.types", "orchestrator.decide.decision"),
    ("signals.models", "smartops.settings"),
    ("guardrails.models", "orchestrator.models"),
    ("guardrails.evaluate", "orchestrator.models"),
    ("orchestrator.reconciler.loop", "smartops.settings"),
]


def test_an_import_that_points_up_is_refused(copy: Copy) -> None:
    for importer, imported in UP:
        copy.plant(importer, f"def late() -> None:\n    import {imported}")

    said = copy.lint()[LAYERS]
    assert [one for one in UP if " -> ".join(one) not in said] == []


def test_every_pure_module_is_guarded_against_every_impurity(copy: Copy) -> None:
    modules, forbidden = pure_modules(), CONTRACTS[PURE]["forbidden_modules"]
    for module in modules:
        copy.plant(module, "\n".join(f"import {name}" for name in forbidden))

    said = copy.lint()[PURE]

    for module in modules:
        for name in forbidden:
            assert f"{module} is not allowed to import {name}" in said


def test_a_pure_module_is_guarded_against_what_it_imports_in_turn(copy: Copy) -> None:
    copy.plant("signals.reasons", "import guardrails.models")

    said = copy.lint()[PURE]
    assert "guardrails.types is not allowed to import django" in said
    assert "signals.reasons -> guardrails.models" in said


@pytest.mark.parametrize("line", ["import kubernetes", "from kubernetes.client import AppsV1Api"])
def test_the_kubernetes_library_is_imported_nowhere_else(copy: Copy, line: str) -> None:
    importers = ["smartops.asgi", "orchestrator.decide.decision", "orchestrator.reconciler.loop", "guardrails.models"]
    importers += ["signals.ingest", "smartops.dev.sandbox.server", "orchestrator"]
    for importer in importers:
        copy.plant(importer, line)

    said = copy.lint()[CLIENT]
    for importer in importers:
        assert f"{importer} -> kubernetes" in said


def test_the_cluster_client_and_the_sandbox_know_no_django(copy: Copy) -> None:
    copy.plant("orchestrator.k8s.parse", "from django.conf import settings")
    copy.plant("smartops.dev.sandbox.store", "import signals.models")

    said = copy.lint()[NO_DJANGO]
    assert "orchestrator.k8s.parse -> django" in said
    assert "smartops.dev.sandbox.store -> signals.models" in said


def test_what_the_web_process_serves_reaches_no_cluster(copy: Copy) -> None:
    copy.plant("smartops.api.actions", "from orchestrator.k8s.client import KubernetesCluster")
    copy.plant(
        "smartops.console.actions", "import orchestrator.reconciler.loop, orchestrator.management.commands.reconcile"
    )

    said = copy.lint()[WEB]
    assert "smartops.api.actions -> orchestrator.k8s.client" in said
    assert "smartops.console.actions -> orchestrator.management.commands.reconcile" in said


def test_an_import_back_into_the_api_or_the_console_is_refused(copy: Copy) -> None:
    copy.plant("smartops.web.health", "import smartops.api.problems")
    copy.plant("smartops.console.actions", "import smartops.api.views")

    said = copy.lint()[SMARTOPS]
    assert "smartops.web.health -> smartops.api.problems" in said
    assert "smartops.console.actions -> smartops.api.views" in said


def pure_sources() -> Iterator[Path]:
    for module in pure_modules():
        path = source(ROOT, module)
        yield from path.parent.glob("*.py") if path.name == "__init__.py" else [path]


@pytest.mark.parametrize("path", sorted(pure_sources()), ids=lambda path: str(path.relative_to(ROOT)))
def test_a_pure_module_reads_no_clock(path: Path) -> None:
    """`datetime` is a value's type and its class reads the clock: no import contract tells them apart."""
    calls = [node.func for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)]
    called = {function.attr for function in calls if isinstance(function, ast.Attribute)}

    assert called.isdisjoint({"now", "today", "utcnow"})
