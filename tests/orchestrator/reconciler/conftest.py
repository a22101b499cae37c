"""A reconciler that is driven pass by pass, and the rules of a new installation."""

import pytest

from guardrails.models import GuardrailSetting
from tests.kit.simulation import Simulation


@pytest.fixture
def simulation(rules: None) -> Simulation:
    return Simulation()


@pytest.fixture
def rules(db: None) -> None:
    GuardrailSetting.objects.create(stabilization_seconds=5, verification_timeout_seconds=60)
