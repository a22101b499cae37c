"""The pure modules, as the import contract "Decisions are pure" lists them.

`python -m tests.kit.pure` prints them as options of pytest-cov. Their branches have to be covered completely.
"""

import tomllib
from importlib import import_module
from pkgutil import walk_packages

from tests.kit.pages import ROOT

CONTRACT = "Decisions are pure: no Django, no Kubernetes, no network, no clock"


def pure_modules() -> list[str]:
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    [modules] = [contract["source_modules"] for contract in contracts if contract["name"] == CONTRACT]
    return list(modules)


def import_all() -> None:
    """The lines of a module outside of its functions run once, when it is imported."""
    for name in pure_modules():
        module = import_module(name)
        for found in walk_packages(getattr(module, "__path__", ()), f"{name}."):
            import_module(found.name)


if __name__ == "__main__":
    print(*(f"--cov={module}" for module in pure_modules()))
