"""The packages of the wheel, as setuptools finds them: the product, without its tests and development tools."""

import tomllib
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def packages() -> set[str]:
    discovery: Any = pytest.importorskip("setuptools.discovery")
    find = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]["find"]
    return set(discovery.PEP420PackageFinder.find(str(ROOT), **find))


def test_the_wheel_has_every_package_of_the_product(packages: set[str]) -> None:
    roots = ("signals", "guardrails", "orchestrator", "smartops")
    modules = {path.parent for root in roots for path in (ROOT / root).rglob("*.py")}
    names = {".".join(folder.relative_to(ROOT).parts) for folder in modules}

    assert {name for name in names if not name.startswith("smartops.dev")} <= packages


def test_the_wheel_has_no_development_tools(packages: set[str]) -> None:
    assert (ROOT / "smartops/dev").is_dir()
    assert {name for name in packages if name.startswith(("smartops.dev", "tests", "benchmarks"))} == set()
