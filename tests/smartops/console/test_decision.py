"""The page of a decision: who allowed it, and on which facts."""

from typing import Any
from uuid import uuid4

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from guardrails.models import GuardrailSetting
from orchestrator.models import DecisionRecord
from signals.lib.acting import acting
from smartops.audit.basis import evaluate_again
from smartops.people.access import Place
from smartops.people.roles import Role
from tests.kit.history import rewritable
from tests.smartops.console.scene import Hour, an_ordinary_hour
from tests.smartops.console.test_audit import signed_in
from tests.smartops.console.test_pages import text

pytestmark = pytest.mark.django_db


@pytest.fixture
def viewer() -> Client:
    return signed_in("vera", Role.VIEWER)


def of(client: Client, record: DecisionRecord) -> Any:
    return client.get(f"/console/decisions/{record.pk}/")


def test_the_page_says_who_allowed_it_with_which_limits_rule_and_result(viewer: Client) -> None:
    with acting("user:bo", "192.0.2.1", "The shop is slow."):
        GuardrailSetting.objects.create(namespace="smartops-dev", max_replicas=9)
    an_ordinary_hour()
    record = DecisionRecord.objects.filter(
        outcome="allow", signal__isnull=False, action__verification__status="SUCCESS"
    )

    page = of(viewer, record.filter(phase="admit").order_by("pk")[0])
    said = text(page)

    for one in (
        "Who allowed this, and on which facts",
        "The stored inputs lead to the same decision, with the same verdicts.",
        "rule:",
        "namespace smartops-dev",
        "user:bo",
        "The shop is slow.",
        "What was written",
        "What verification saw",
        "No person was asked, or none has answered.",
        "Max replicas",
        "http://testserver/console/decisions/",
    ):
        assert one in said, one
    limits = {limit.name: limit for limit in page.context["limits"]}
    assert (limits["max_replicas"].text, limits["max_replicas"].change.actor) == ("at most 9 replicas", "user:bo")
    assert limits["cooldown_seconds"].change is None
    assert page.context["rule_change"].after["name"] == page.context["again"].rule.name


def test_a_limit_is_shown_as_it_was_then(viewer: Client) -> None:
    """Later changes are not what the decision was based on."""
    setting = GuardrailSetting.objects.create(namespace="smartops-dev", max_replicas=9)
    an_ordinary_hour()
    setting.max_replicas = 5
    setting.save()
    setting.delete()

    record = DecisionRecord.objects.exclude(inputs__limits__sources__max_replicas="default").order_by("pk")[0]
    limits = {limit.name: limit for limit in of(viewer, record).context["limits"]}

    assert limits["max_replicas"].text == "at most 9 replicas"
    assert limits["max_replicas"].change.operation == "insert"


# From here on the tests share a stored hour.


def test_every_decision_of_an_ordinary_hour_is_the_same_again_and_has_a_page(viewer: Client, hour: Hour) -> None:
    records = list(DecisionRecord.objects.all())

    assert len({record.outcome for record in records}) >= 3
    for record in records:
        assert evaluate_again(record).is_same
        assert "lead to the same decision" in text(of(viewer, record))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("inputs = jsonb_set(inputs, '{limits,max_replicas}', '1')", "This version of SmartOps would decide otherwise"),
        ("inputs = '{}'", "This version cannot read the stored inputs"),
    ],
)
def test_a_decision_that_comes_out_otherwise_is_said_to(viewer: Client, hour: Hour, change: str, said: str) -> None:
    record = DecisionRecord.objects.filter(outcome="allow", action__type="SCALE").order_by("pk")[0]
    with rewritable(DecisionRecord), connection.cursor() as cursor:
        cursor.execute(f"UPDATE orchestrator_decisionrecord SET {change} WHERE id = %s", [record.pk])  # noqa: S608

    assert said in text(of(viewer, record))


def test_a_decision_of_another_place_is_not_found(hour: Hour) -> None:
    record = DecisionRecord.objects.order_by("pk")[0]
    elsewhere = signed_in("vera", Role.VIEWER, Place("default", "crm"))

    assert of(elsewhere, record).status_code == 404
    assert elsewhere.get(f"/console/decisions/{uuid4()}/").status_code == 404


def test_a_page_takes_a_constant_number_of_queries(viewer: Client, hour: Hour) -> None:
    record = DecisionRecord.objects.filter(action__isnull=False, signal__isnull=False)[0]
    of(viewer, record)

    with CaptureQueriesContext(connection) as captured:
        of(viewer, record)

    assert len(captured) <= 14
