"""The files of the image, without a container engine: they suffice for the commands of the chart, and hold no more."""

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.chart.rendering import CHART, Rendered

ROOT = CHART.parents[1]
Run = Callable[..., str]
# One process for all: most of the time of a start is that of the imports. What a process imports alone, without the
# application, is in tests/orchestrator/process/test_imports.py. Each ends with SystemExit, as by --help, or returns.
COMMANDS = """
import json, runpy, sys
from smartops.asgi import application
for command in json.loads(sys.argv[1]):
    sys.argv = command
    try:
        runpy.run_path(command[0], run_name="__main__")
    except SystemExit as end:
        assert not end.code, (command, end.code)
"""


def copied() -> list[str]:
    """The paths that the Dockerfile copies from the checkout."""
    lines = re.findall(r"^COPY (?!--from)(.*) \S+$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    return [name for line in lines for name in line.split()]


def ignored() -> tuple[list[str], list[str]]:
    """The paths that .dockerignore includes, and those of them that it excludes again."""
    lines = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if not line.startswith("#")]
    assert lines[0] == "*"
    return [line[1:] for line in lines if line.startswith("!")], [line for line in lines[1:] if line[0] != "!"]


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """/app, as in the first stage after the last COPY."""
    app = tmp_path_factory.mktemp("image") / "app"
    _, excluded = ignored()

    def unwanted(folder: str, names: list[str]) -> set[str]:
        inside = Path(folder).relative_to(ROOT)
        return {name for name in names if str(inside / name) in excluded or name == "__pycache__"}

    app.mkdir()
    for name in copied():
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, app / name, ignore=unwanted)
        else:
            (app / name).parent.mkdir(exist_ok=True)
            shutil.copy(ROOT / name, app / name)
    return app


@pytest.fixture
def run(tree: Path) -> Run:
    def run(*command: str) -> str:
        environment = {
            "PATH": str(Path(sys.executable).parent),
            "SMARTOPS_SECRET_KEY": "of-a-test-" + "k" * 50,
            "SMARTOPS_STATIC_ROOT": str(tree / "static"),
            "DATABASE_URL": "postgresql://nobody@127.0.0.1:1/none",
            "PYTHONDONTWRITEBYTECODE": "1",
        }
        done = subprocess.run(command, cwd=tree, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


def test_the_dockerfile_copies_what_the_dockerignore_includes() -> None:
    included, excluded = ignored()

    assert sorted(copied()) == sorted(included)
    assert all((ROOT / name).exists() for name in included)
    assert all((ROOT / name).exists() for name in excluded if "*" not in name)


def test_the_development_tools_are_not_in_the_image(tree: Path) -> None:
    assert (tree / "smartops/asgi.py").exists()
    assert not (tree / "smartops/dev").exists()


def test_static_files_are_collected_without_a_database(run: Run, tree: Path) -> None:
    assert "static files copied" in run("python", "manage.py", "collectstatic", "--no-input")
    assert (tree / "static/console/console.css").exists()
    assert (tree / "static/admin/css/base.css").exists()


def test_both_processes_find_all_that_they_import(run: Run) -> None:
    of_pods = {name: pod["containers"][0]["command"] for name, pod in Rendered({}).pods().items()}
    commands = [["manage.py", "check", "--deploy", "--fail-level", "WARNING"]]
    for name in ("web", "reconciler", "migrate"):
        python, *command = of_pods[name]
        assert (python, command[0]) == ("python", "manage.py")
        commands.append([*command[:2], "--help"])

    printed = run("python", "-c", COMMANDS, json.dumps(commands))

    assert "no issues" in printed
    assert re.findall(r"usage: manage.py (\w+)", printed) == ["serve", "reconcile", "migrate"]


def test_the_image_runs_as_the_user_of_the_chart() -> None:
    [user] = re.findall(r"^USER (\d+):(\d+)$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    context = Rendered({}).pods()["web"]["securityContext"]

    assert user == (str(context["runAsUser"]), str(context["runAsGroup"]))
