"""A reconciler that is driven pass by pass, and the rules of a new installation."""

import pytest

from guardrails.models import GuardrailSetting
from signals.models import Rule
from tests.kit.rules import DEFAULT_RULES
from tests.kit.simulation import Simulation


@pytest.fixture
def simulation(rules: None) -> Simulation:
    return Simulation()


@pytest.fixture
def rules(db: None) -> None:
    Rule.objects.bulk_create((Rule(**fields) for fields in DEFAULT_RULES), ignore_conflicts=True)
    GuardrailSetting.objects.create(stabilization_seconds=5, verification_timeout_seconds=60)
