"""The pure modules, as the import contract "Decisions are pure" lists them.

`python -m tests.kit.pure` prints them as options of pytest-cov. Their branches have to be covered completely.
"""

import tomllib

from tests.kit.pages import ROOT

CONTRACT = "Decisions are pure: no Django, no Kubernetes, no network, no clock"


def pure_modules() -> list[str]:
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    [modules] = [contract["source_modules"] for contract in contracts if contract["name"] == CONTRACT]
    return list(modules)


if __name__ == "__main__":
    print(*(f"--cov={module}" for module in pure_modules()))
