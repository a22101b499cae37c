"""The ASGI application refuses to load with settings that a system check calls an error."""

import os
import sys

import pytest

from tests.kit.processes import ran

KEY = "GzV8UlZdMwHkVNLYpjBj-3QkqSTjXlkw-a5c90J2JTPVq1KX"


def load(environment: dict[str, str], refusal: str, *python: str) -> None:
    """By a forked process, or by this Python."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("SMARTOPS_", "DJANGO_"))}
    code, printed = ran([*python, "-m", "smartops.asgi"], kept | environment)
    assert (code == 0) is (refusal == ""), printed
    assert refusal in printed


@pytest.mark.parametrize(
    ("environment", "refusal"),
    [
        ({}, "SMARTOPS_SECRET_KEY is not set"),
        ({"SMARTOPS_INSECURE_HTTP": "True"}, ""),
        ({"SMARTOPS_SECRET_KEY": KEY}, ""),
        ({"SMARTOPS_SECRET_KEY": "only-we-know-it"}, "SMARTOPS_SECRET_KEY has 15 characters"),
        ({"SMARTOPS_SECRET_KEY": KEY, "SMARTOPS_DEBUG": "1"}, "SMARTOPS_DEBUG is on"),
        ({"SMARTOPS_INSECURE_HTTP": "1", "SMARTOPS_DEBUG": "1"}, ""),
        (
            {"SMARTOPS_INSECURE_HTTP": "1", "SMARTOPS_ALLOWED_HOSTS": "ops.example.com"},
            "SMARTOPS_SECRET_KEY is not set",
        ),
        ({"SMARTOPS_INSECURE_HTTP": "1", "SMARTOPS_NAMESPACES": "Erp"}, "smartops.E003"),
    ],
)
def test_the_application_loads_only_with_valid_settings(environment: dict[str, str], refusal: str) -> None:
    load(environment, refusal)


# A forked process has its settings named and its apps loaded, and has executed the settings, before the application.
@pytest.mark.parametrize(
    ("environment", "refusal"),
    [
        ({"SMARTOPS_INSECURE_HTTP": "1"}, ""),
        ({"SMARTOPS_INSECURE_HTTP": "1", "SMARTOPS_DEBUG": "maybe"}, "SMARTOPS_DEBUG='maybe' is not valid"),
    ],
)
def test_the_application_names_its_settings_and_loads_its_apps_by_itself(
    environment: dict[str, str], refusal: str
) -> None:
    load(environment, refusal, sys.executable)
