"""What a web process refuses to start with."""

import os
import subprocess
import sys

import pytest


@pytest.mark.parametrize(
    ("environment", "starts"),
    [({}, False), ({"SMARTOPS_INSECURE_HTTP": "1"}, True), ({"SMARTOPS_SECRET_KEY": "only-we-know-it"}, True)],
    ids=["nothing set", "for loopback", "a key of its own"],
)
def test_the_key_that_everybody_knows_is_for_loopback_alone(environment: dict[str, str], starts: bool) -> None:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("SMARTOPS_", "DJANGO_"))}
    asked = subprocess.run(
        [sys.executable, "-c", "import smartops.asgi"],
        env=kept | environment,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (asked.returncode == 0) is starts, asked.stderr
    assert starts or "SMARTOPS_SECRET_KEY" in asked.stderr
