"""The lists and pages of signals, and what the pages of actions say of their past."""

import re
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.utils import timezone

from orchestrator.models import Action, ActionState, transition_store, transitions
from signals import actors
from signals.ingest import ingest
from signals.models import Signal
from signals.reasons import Reason
from smartops.console.reasons import remedies
from smartops.console.signal import OBSERVATIONS
from tests.kit import verbs
from tests.kit.history import rewritable
from tests.smartops.console.scene import Hour, anomaly
from tests.smartops.console.test_pages import MARKUP, text
from tests.test_reasons import documented

SIGNALS = "/console/signals/"


def test_an_empty_list_says_what_fills_it(reading: Client) -> None:
    assert "POST /v1/signals/anomaly creates one" in text(reading.get(SIGNALS))


def test_an_unidentified_signal_says_so_and_offers_an_alias_to_who_may_add_one(
    reading: Client, admin_user: User
) -> None:
    ingest([anomaly("Tomcat01", "resource", 0.94, "first")], actors.token("agent"))
    later = timezone.now() + timedelta(minutes=1)
    Signal.objects.update(reason="TargetUnidentified", nearest=["tomcat"], not_before=later)
    address = f"{SIGNALS}{Signal.objects.get().pk}/"
    page = text(reading.get(address))
    assert "not identified" in page
    assert re.search("Nearest.*<code>tomcat</code>", page)
    assert "alias/add" not in page
    reading.force_login(admin_user)
    assert "pattern=Tomcat01&amp;source=anomaly" in text(reading.get(address))


def test_the_page_of_a_signal_shows_its_newest_observations_and_who_posted_them(
    reading: Client, django_assert_num_queries: Any
) -> None:
    for number in range(OBSERVATIONS + 1):
        ingest([anomaly("frontend", "resource", 0.94, f"w-{number}")], actors.token(f"agent-{number % 2}"))
    address = f"{SIGNALS}{Signal.objects.get().pk}/"
    # session, user, grants, signal, observations, decisions, actions, problem, two around it, freezes, heartbeats,
    # the clock
    with django_assert_num_queries(13):
        page = text(reading.get(address))
    assert page.count("the problem is there") == OBSERVATIONS
    assert ">w-0<" not in page
    assert "<code>token:agent-0</code>" in page
    assert f"the newest {OBSERVATIONS}" in page


def test_failures_of_the_same_remedy_before_are_named(reading: Client) -> None:
    actions = []
    for state in (ActionState.SUCCEEDED, ActionState.FAILED, ActionState.FAILED, None):
        action = verbs.requested("web")
        actions.append(action)
        if state:
            with_result = {"state": state, "finished_at": timezone.now(), "applied_at": timezone.now()}
            transition_store.store([transitions.cancel(action, Reason.REVIEWED, "", actors.user("ada"))])
            rewrite(action, **with_result)
    page = text(reading.get(f"/console/actions/{actions[-1].pk}/"))
    assert "The same remedy failed here the last 2 times." in page
    assert "The same remedy failed here the last time." in text(reading.get(f"/console/actions/{actions[2].pk}/"))
    assert "The same remedy failed" not in text(reading.get(f"/console/actions/{actions[1].pk}/"))


def rewrite(action: Action, **fields: Any) -> None:
    with rewritable(Action):
        Action.objects.filter(pk=action.pk).update(**fields)


def test_every_reason_of_the_page_has_a_remedy(reading: Client) -> None:
    assert list(remedies()) == [reason for _, reason in documented()]
    page = text(reading.get("/console/reasons/"))
    for reason in Reason:
        assert f'id="{reason}"' in page
    assert "`" not in page
    assert "](" not in page


# From here on the tests share a stored hour.


@pytest.mark.parametrize(
    ("query", "shown"),
    [
        ("", 13), ("state=deferred", 1), ("state=denied", 3), ("state=unpursued", 5), ("state=admitted", 7),
        ("state=open", 3), ("reason=ReplicaLimit", 1), ("source=rca", 4), ("namespace=kube-system", 1),
        ("q=SERVICE", 6), ("q=nothing", 0), ("since=hour&state=denied", 3), ("kind=DaemonSet", 0),
    ],
)  # fmt: skip
def test_the_list_of_signals_has_the_rows_of_its_filter(reading: Client, hour: Hour, query: str, shown: int) -> None:
    assert len(reading.get(f"{SIGNALS}?{query}").context["listing"].rows) == shown


def test_the_list_of_signals_takes_ten_queries(reading: Client, hour: Hour, django_assert_num_queries: Any) -> None:
    # session, user, grants, signals, their actions, namespaces, freezes, heartbeats, clock
    with django_assert_num_queries(10):
        page = text(reading.get(SIGNALS))
    assert "cartservice: Restart all pods" in page
    assert "9 replicas would exceed the limit of 8" in page


def test_a_signal_is_found_by_its_id_and_leads_through_the_filtered_list(reading: Client, hour: Hour) -> None:
    first, second = Signal.objects.filter(state="denied").order_by("-pk")[:2]
    assert reading.get(SIGNALS, {"q": str(first.pk)}).context["listing"].rows == [first]
    around = reading.get(f"{SIGNALS}{first.pk}/?state=denied").context["around"]
    assert (around.previous, around.next) == ("", f"{SIGNALS}{second.pk}/?state=denied")


def test_the_page_of_a_signal_says_what_became_of_it_and_why(reading: Client, hour: Hour) -> None:
    refused = Signal.objects.get(reason="ReplicaLimit")
    page = text(reading.get(f"{SIGNALS}{refused.pk}/"))
    for said in (
        "9 replicas would exceed the limit of 8", "Ask for less, or change the limit for the workload", "Refused",
        '<a class="reason" href="/console/reasons/#ReplicaLimit">', "The namespace has synced", "No freeze in force",
        "token:agent-smith", "win-2170", "93.5",
    ):  # fmt: skip
        assert said in page, said
    admitted = Action.objects.get(workload__name="cartservice").signal
    assert admitted is not None
    assert "cartservice: Restart all pods" in text(reading.get(f"{SIGNALS}{admitted.pk}/"))


def test_the_page_of_an_action_has_the_command_and_the_words_of_every_guardrail(reading: Client, hour: Hour) -> None:
    action = Action.objects.get(workload__name="recommendationservice")
    page = text(reading.get(f"/console/actions/{action.pk}/"))
    for said in (
        "scale deployment/recommendationservice --replicas=4", "Not a protected namespace", "4 of 8 replicas",
        "0 of 6 actions in 60 min", "The rollout had not ended when its deadline was over.",
        f'href="/console/signals/{action.signal_id}/"', " guardrails were evaluated.",
    ):  # fmt: skip
        assert said in page, said


def test_text_of_callers_is_escaped_on_the_pages_of_signals(reading: Client, hour: Hour) -> None:
    ingest([anomaly("frontend", MARKUP, 0.9, MARKUP, note=MARKUP)], actors.token("agent"))
    for address in (SIGNALS, f"{SIGNALS}{Signal.objects.get(symptom=MARKUP).pk}/"):
        page = text(reading.get(address))
        assert "&lt;script&gt;alert(1)" in page
        assert "<script>alert" not in page
        assert "<img" not in page
