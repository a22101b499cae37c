"""The ASGI application refuses to load with settings that a system check calls an error."""

import os

import pytest

from tests.kit.processes import ran

KEY = "GzV8UlZdMwHkVNLYpjBj-3QkqSTjXlkw-a5c90J2JTPVq1KX"


@pytest.mark.parametrize(
    ("environment", "refusal"),
    [
        ({}, "SMARTOPS_SECRET_KEY is not set"),
        ({"SMARTOPS_INSECURE_HTTP": "1"}, ""),
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
        ({"SMARTOPS_INSECURE_HTTP": "1", "SMARTOPS_DEBUG": "maybe"}, "SMARTOPS_DEBUG='maybe' is not valid"),
    ],
)
def test_the_application_loads_only_with_valid_settings(environment: dict[str, str], refusal: str) -> None:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("SMARTOPS_", "DJANGO_"))}
    code, printed = ran(["-m", "smartops.asgi"], kept | environment)
    assert (code == 0) is (refusal == ""), printed
    assert refusal in printed
