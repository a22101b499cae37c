import re
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.utils import timezone

from guardrails.models import Freeze
from guardrails.types import Outcome
from orchestrator.models import (
    Action,
    ActionState,
    DecisionRecord,
    Heartbeat,
    VerificationStatus,
    Workload,
    transition_store,
    transitions,
)
from signals import actors
from signals.models import Signal
from signals.types import ActionType, Kind, Origin, Proposal, Target
from smartops.console.freshness import judge
from smartops.console.payload import MAX_PAYLOAD
from smartops.templatetags.console import badge, figures, headline, span
from tests.kit import verbs
from tests.kit.history import rewritable
from tests.kit.people import lose_roles
from tests.kit.signals import anomaly as anomaly_of
from tests.kit.signals import post
from tests.smartops.console.scene import NAMESPACE, Hour, anomaly, reconciled

ACTIONS = "/console/"
MARKUP = "<script>alert(1)</script><img src=x onerror=alert(2)>"


def text(response: Any) -> str:
    assert response.status_code == 200
    return str(response.content.decode())


def propose(number: int, namespace: str = NAMESPACE, **proposal: Any) -> Action:
    workload = Workload.objects.create(cluster="default", namespace=namespace, kind="Deployment", name=f"app-{number}")
    return verbs.propose(
        Proposal(ActionType.RESTART, workload.target, Origin.DIRECT, {}, **proposal), workload, actors.token("ops")
    )


@pytest.mark.parametrize("path", [ACTIONS, "/console/actions/0199c0de-0000-7000-8000-000000000000/"])
def test_an_anonymous_user_is_redirected_to_the_login_page(db: None, client: Client, path: str) -> None:
    assert client.get(path).headers["Location"] == f"/admin/login/?next={path}"


def test_a_refresh_after_the_end_of_the_session_gets_the_login_page(db: None, client: Client) -> None:
    answer = client.get(ACTIONS, headers={"HX-Request": "true"})
    assert answer.status_code == 401
    assert answer.headers["HX-Redirect"] == "/admin/login/?next=/console/"


def test_a_viewer_reads_the_console_and_changes_nothing(reading: Client) -> None:
    assert "Needs you" in text(reading.get(ACTIONS))
    assert reading.post(ACTIONS).status_code == 405


@pytest.mark.parametrize("path", [ACTIONS, "/console/actions/0199c0de-0000-7000-8000-000000000000/"])
def test_who_loses_the_account_is_redirected_to_the_login_page(reading: Client, reader: User, path: str) -> None:
    User.objects.filter(pk=reader.pk).update(is_active=False)
    assert reading.get(path).headers["Location"] == f"/admin/login/?next={path}"
    refresh = reading.get(path, headers={"HX-Request": "true"})
    assert refresh.headers["HX-Redirect"] == f"/admin/login/?next={path}"


@pytest.mark.parametrize("path", [ACTIONS, "/console/actions/0199c0de-0000-7000-8000-000000000000/"])
def test_who_loses_the_right_may_not_read_any_more(reading: Client, path: str) -> None:
    lose_roles()
    answer = reading.get(path)
    assert answer.status_code == 403
    assert "Your account has no right to read anywhere." in answer.content.decode()
    refresh = reading.get(path, headers={"HX-Request": "true"})
    assert (refresh.status_code, refresh.headers["HX-Redirect"]) == (403, path)


def test_the_kind_is_shown_where_it_is_not_a_deployment(reading: Client) -> None:
    action = verbs.requested("db", kind=Kind.STATEFUL_SET)
    post(signal := anomaly_of("agent", target=Target("default", NAMESPACE, "agent", Kind.DAEMON_SET)))
    Signal.objects.update(reason="Frozen")

    actions, signals = (text(reading.get(f"{ACTIONS}{screen}/")) for screen in ("actions", "signals"))
    page = text(reading.get(f"{ACTIONS}actions/{action.pk}/"))

    assert f"StatefulSet · <code>{NAMESPACE}</code>" in actions
    assert f"DaemonSet · <code>{signal.target.namespace}</code>" in signals
    assert f"<code>StatefulSet {NAMESPACE}/db</code>" in page


def test_an_action_takes_twelve_queries_and_one_about_its_problem(
    reading: Client, hour: Hour, django_assert_num_queries: Any
) -> None:
    for action in Action.objects.all():
        # session, user, grants, action, decisions, events, the same before, two around it, freezes,
        # heartbeats, the clock
        with django_assert_num_queries(13 if action.signal_id else 12):
            reading.get(f"/console/actions/{action.pk}/")


def test_the_page_of_an_action_shows_its_evidence(reading: Client, hour: Hour) -> None:
    action = Action.objects.get(workload__name="recommendationservice")
    page = text(reading.get(f"/console/actions/{action.pk}/"))
    for said in (
        "recommendationservice: Scale by +1 (3\xa0→\xa04)", "VerificationTimedOut", "Max replicas", "Scale velocity",
        "0 + 1 of 3", "spec.replicas", '>3</bdi></del>', '>4</bdi></ins>', "Planned against version", "+5 min",
        "win-2118", "98.1", action.planned_uid, "Not evaluated", "No policy engine is configured.",
    ):  # fmt: skip
        assert said in page, said


def test_the_page_of_an_action_holds_its_earlier_decisions(reading: Client, hour: Hour) -> None:
    action = Action.objects.get(workload__name="recommendationservice")
    DecisionRecord.objects.create(
        phase="plan", requested_by=action.requested_by, outcome="allow", inputs={}, verdicts=[], action=action
    )

    page = text(reading.get(f"/console/actions/{action.pk}/"))

    assert "before the write" in page
    assert "1 earlier decision" in page
    assert "at admission" in page


def test_the_overview_shows_a_freeze_while_it_lasts(reading: Client) -> None:
    Freeze.objects.create(namespace=NAMESPACE, reason="Quarter-end closing", by="user:olga")
    Freeze.objects.create(reason="last year's", by="user:olga", until=timezone.now() - timedelta(hours=1))
    page = text(reading.get(ACTIONS))
    assert f"Frozen: namespace {NAMESPACE}." in page
    assert "Quarter-end closing" in page
    assert "last year" not in page


def test_an_unknown_action_is_not_found(reading: Client) -> None:
    assert reading.get(f"/console/actions/{uuid4()}/").status_code == 404


def test_text_of_callers_is_escaped(reading: Client, hour: Hour) -> None:
    observed = anomaly("frontend", MARKUP, 0.9, MARKUP, note=MARKUP)
    hour.signal(observed)
    action = propose(1, reason=MARKUP)
    transition_store.store([transitions.cancel(action, MARKUP[:64], MARKUP, actors.user(MARKUP))])
    with rewritable(Action):
        Action.objects.filter(pk=action.pk).update(signal=Signal.objects.get(symptom=MARKUP))
    paths = ("/console/actions/", "/console/signals/", f"/console/actions/{action.pk}/")
    for page in (text(reading.get(path)) for path in paths):
        assert "&lt;script&gt;alert(1)" in page
        assert "<script>alert" not in page
        assert "<img" not in page


def test_the_console_allows_no_inline_script_and_no_other_origin(reading: Client) -> None:
    policy = reading.get(ACTIONS).headers["Content-Security-Policy"]
    assert "default-src 'self'" in policy
    assert "require-trusted-types-for 'script'" in policy
    assert "unsafe" not in policy
    assert "nonce" not in policy


def test_a_page_says_when_it_was_made_and_that_a_reconciler_runs(reading: Client, hour: Hour) -> None:
    for path in (ACTIONS, f"/console/actions/{Action.objects.all()[0].pk}/"):
        page = text(reading.get(path))
        assert re.search(r'data-since="[-0-9]{10}T[0-9:.]+\+00:00" data-reconcilers="running"', page)
        assert "No reconciler for" not in page


def test_a_page_says_that_the_reconciler_has_stopped_or_that_there_is_none(reading: Client) -> None:
    Heartbeat.objects.all().delete()
    assert "No reconciler for the cluster <code>default</code>" in text(reading.get(ACTIONS))
    reconciled(ago=timedelta(seconds=16))
    page = text(reading.get(ACTIONS))
    assert 'data-reconcilers="stopped"' in page
    assert "Reconciler stopped for the cluster <code>default</code>" in page


NOW = datetime(2026, 1, 1, 3, tzinfo=UTC)


@pytest.mark.parametrize(
    ("ages", "reconcilers", "stopped"),
    [
        ({"default": 1}, "running", []),
        ({"default": 11}, "running", []),
        ({"default": 12}, "stopped", ["default"]),
        ({}, "none", ["default"]),
        ({"default": 1, "other": 1}, "running", []),
        ({"default": 1, "other": 60}, "stopped", ["other"]),
        ({"default": 1, "other": 90_000}, "running", []),
        ({"default": 90_000}, "stopped", ["default"]),
        ({"other": 1}, "none", ["default"]),
        ({"other": 60}, "stopped", ["default", "other"]),
    ],
)
def test_a_cluster_is_stopped_12_seconds_after_its_last_pass(
    ages: dict[str, int], reconcilers: str, stopped: list[str]
) -> None:
    heartbeats = [(cluster, "reconciler:r/1", NOW - timedelta(seconds=age)) for cluster, age in ages.items()]
    found = judge(heartbeats, "default", NOW)
    assert (found.reconcilers, [one.cluster for one in found.stopped]) == (reconcilers, stopped)


def test_no_page_of_the_console_loads_a_payload(
    reading: Client, hour: Hour, django_assert_max_num_queries: Any
) -> None:
    action = hour.execute(hour.signal(anomaly("cartservice", "latency", 0.99, "big", dump="x" * 950_000)))
    for path in (ACTIONS, f"/console/actions/{action.pk}/"):
        with django_assert_max_num_queries(28 if path == ACTIONS else 13) as queries:
            page = text(reading.get(path))
        assert len(page) < 200_000
        assert not any('"signals_signal"."payload",' in query["sql"] for query in queries)
    assert f"the first {MAX_PAYLOAD} characters" in page


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (-1, "0 ms"), (0.24, "240 ms"), (8.44, "8.4 s"), (62, "62 s"), (119, "119 s"), (120, "2 min"),
        (7199, "119 min"), (7200, "2 h"), (172800, "2 d"),
    ],
)  # fmt: skip
def test_a_duration_is_rounded_to_its_largest_unit(seconds: float, words: str) -> None:
    assert span(timedelta(seconds=seconds)) == words


@pytest.mark.parametrize("state", [*ActionState, *Outcome, *VerificationStatus, "denied", "ignored", "deferred"])
def test_every_state_has_a_word_and_an_icon_beside_its_colour(state: str) -> None:
    assert re.fullmatch(r'<span class="badge \w+"><svg .*#\w+"/></svg>[\w ]+</span>', badge(state))


def test_the_details_of_a_verdict_are_shown_in_their_units() -> None:
    details = {"value": 2, "limit": 6, "window_seconds": 3600, "next_allowed_at": "2030-01-01T12:41:00Z", "uid": None}
    [(used, how_much), *others] = figures(details)
    assert used == "used"
    assert how_much.endswith("2 of 6")
    assert [name for name, _ in others] == ["window", "next allowed"]
    assert others[0][1] == "60 min"
    assert others[1][1] == '<time datetime="2030-01-01T12:41:00.000+00:00">2030-01-01 12:41:00 UTC</time>'


@pytest.mark.parametrize(
    ("details", "figure"),
    [
        ({"age_seconds": 900.1}, ("age", "900.1 s")),
        ({"limit_seconds": 900}, ("limit", "15 min")),
        ({"remaining_seconds": 0.1}, ("remaining", "0.1 s")),
    ],
)
def test_a_time_that_is_compared_with_a_limit_is_not_rounded_to_it(
    details: dict[str, Any], figure: tuple[str, str]
) -> None:
    assert figures(details) == [figure]


@pytest.mark.parametrize(("value", "limit", "width"), [(99, 100, "39"), (100, 100, "40"), (3, 2, "40"), (1, 2, "20")])
def test_a_meter_is_full_at_the_limit_only(value: int, limit: int, width: str) -> None:
    [(_, meter)] = figures({"value": value, "limit": limit})

    assert f'<rect width="{width}" height="6" rx="3"/></svg>' in meter


@pytest.mark.parametrize(
    ("type_", "params", "before", "change", "words"),
    [
        (ActionType.SCALE, {"delta": 1}, None, None, "web: Scale by +1"),
        (ActionType.SCALE, {"delta": -2}, None, None, "web: Scale by -2"),
        (ActionType.SCALE, {"replicas": 4}, None, None, "web: Scale to 4"),
        (ActionType.SCALE, {"replicas": 4}, {"replicas": 2}, {"replicas": 4}, "web: Scale to 4 (2\xa0→\xa04)"),
        (ActionType.RESTART, {}, {"replicas": 2}, {"value": "x"}, "web: Restart all pods"),
        (ActionType.PATCH, {"patch": {"spec": {"paused": True}}}, None, None, "web: Patch spec.paused"),
    ],
)
def test_the_headline_of_an_action_describes_its_change(
    type_: ActionType, params: dict[str, Any], before: Any, change: Any, words: str
) -> None:
    action = Action(workload=Workload(name="web"), type=type_, params=params, before=before, change=change)
    assert headline(action) == words


def test_characters_that_change_the_direction_are_visible(reading: Client, hour: Hour) -> None:
    for character in "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069":
        action = propose(ord(character), reason=f"before{character}after אב")
        for path in ("/console/actions/", f"/console/actions/{action.pk}/"):
            answer = reading.get(path)
            assert f"before[U+{ord(character):04X}]after אב" in text(answer)
            assert character not in text(answer)
            assert answer.headers.get("Content-Length") in (None, str(len(answer.content)))
