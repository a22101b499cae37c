"""Each row says what holds it back, until when, and where the remedy is; in a constant number of queries."""

from datetime import UTC, datetime, timedelta
from html import unescape
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.db.models.functions import Now
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from django.utils.html import strip_tags

from guardrails.models import Cooldown, Freeze, GuardrailSetting
from orchestrator.models import Action, Heartbeat, transition_store, transitions
from signals.models import Signal
from signals.reasons import GUARDRAIL_REASONS, Reason
from signals.types import ActionType, Mode, Origin, Target
from smartops.console.held_back import TIMED, WORDS
from smartops.people.roles import Role
from tests.kit.history import rewritable
from tests.kit.people import grant
from tests.kit.signals import NAMESPACE, anomaly, post
from tests.kit.verbs import requested
from tests.smartops.console.scene import NAMESPACE as SHOP
from tests.smartops.console.scene import Hour, reconciled, waiting_for_approval
from tests.smartops.console.test_acts import HERE, observed
from tests.smartops.console.test_pages import text

TARGET = Target("default", NAMESPACE, "web")
NOW = datetime(2026, 1, 1, 3, tzinfo=UTC)
# Reasons with which nothing waits: they end a signal or an action, or the row says more of it than the reason.
NOT_STORED = {
    Reason.TARGET_NOT_FOUND, Reason.TARGET_BEING_DELETED, Reason.NAMESPACE_NOT_MANAGED, Reason.PROTECTED_NAMESPACE,
    Reason.OWN_WORKLOAD, Reason.UNSUPPORTED_BY_KIND, Reason.TARGET_SCALED_TO_ZERO, Reason.REPLICA_LIMIT,
    Reason.WRONG_DIRECTION, Reason.PATCH_FORBIDDEN, Reason.OBSERVE_ONLY, Reason.FROZEN, Reason.APPROVAL_REQUIRED,
}  # fmt: skip


def test_every_reason_to_wait_has_words() -> None:
    assert set(GUARDRAIL_REASONS) - WORDS.keys() == NOT_STORED
    assert {*TIMED} <= WORDS.keys()


def lines(page: str) -> list[str]:
    """What the rows say, without the markup."""
    return [unescape(strip_tags(one.partition("</p>")[0])) for one in page.split('<p class="held-back">')[1:]]


@pytest.fixture
def reader_page(reading: Client) -> Any:
    reconciled()
    return lambda screen, query="": text(reading.get(f"/console/{screen}/{query}"))


def deferred(reason: str, **columns: Any) -> Signal:
    post(anomaly("web"))
    rows = Signal.objects.filter(workload="web")
    rows.update(reason=reason, message="Because.", not_before=Now() + timedelta(minutes=5), **columns)
    return rows.get()


def test_a_deferred_signal_says_what_it_waits_for_and_until_when(reader_page: Any) -> None:
    signal = deferred(Reason.COOLDOWN_ACTIVE)
    [line] = lines(page := reader_page("signals"))
    assert line.startswith("Held back by a cooldown, until ")
    assert 'href="/console/reasons/#CooldownActive"' in page
    assert lines(reader_page(f"signals/{signal.pk}")) == [line]

    Signal.objects.update(reason=Reason.ROLLOUT_IN_PROGRESS)
    [line] = lines(reader_page("signals"))
    assert line.startswith("Held back by a rollout in progress, tried again at ")

    Signal.objects.update(not_before=Now())
    assert lines(reader_page("signals")) == ["Held back by a rollout in progress, and due now"]


def test_a_signal_says_which_freeze_covers_it_though_it_was_not_decided_on_since(reader_page: Any) -> None:
    post(anomaly("web"))
    Freeze.objects.create(namespace=NAMESPACE, reason="a release", by="user:ana")
    Freeze.objects.create(namespace="another", reason="a release", by="user:ana")
    until = timezone.now() + timedelta(hours=1)
    Freeze.objects.create(
        cluster="default",
        kind="Deployment",
        namespace=NAMESPACE,
        workload="web",
        reason="x",
        by="user:ana",
        until=until,
    )

    freeze, hold = lines(page := reader_page("signals"))

    assert freeze == f"Held back by the freeze of namespace {NAMESPACE}, until it is lifted"
    assert hold.startswith("Held back by a hold of the workload, until ")
    assert page.count('href="#freezes"') == 2
    assert '<div id="freezes">' in page


def test_rows_of_a_cluster_without_a_reconciler_say_so(reader_page: Any) -> None:
    post(anomaly("web"))
    observed("web")
    requested("web")
    Heartbeat.objects.all().delete()
    words = "Held back by the cluster default, which has no reconciler"

    for screen in ("signals", "actions", "workloads"):
        assert words in lines(page := reader_page(screen)), screen
        assert 'href="/console/reasons/#NoReconciler"' in page


def test_an_action_says_who_has_to_decide_on_it(reader_page: Any) -> None:
    action = requested("web")
    assert lines(reader_page("actions")) == []
    Freeze.objects.create(reason="x", by="user:ana")
    assert lines(reader_page("actions")) == ["Would be refused by the freeze of everything, until it is lifted"]

    with rewritable():
        Action.objects.update(origin=Origin.CLOSED_LOOP)
    assert lines(reader_page("actions")) == ["Held back by the freeze of everything, until it is lifted"]
    with rewritable():
        Action.objects.update(dry_run=True)
    assert lines(reader_page("actions")) == []

    transition_store.store([transitions.claim(Action.objects.select_related("workload").get(), "reconciler:r/1")])
    held = Action.objects.select_related("workload").get()
    transition_store.store([transitions.require_review(held, "The answer was lost.", "reconciler:r/1")])
    [line] = lines(page := reader_page("actions"))
    assert line.startswith("Held back by a missing review, fails at ")
    assert f'<a href="/console/actions/{action.pk}/"><bdi>a missing review' in page


def test_an_action_that_is_tried_again_says_why_and_when(reader_page: Any) -> None:
    requested("web")
    Action.objects.update(reason=Reason.CLUSTER_UNREACHABLE, not_before=Now() + timedelta(minutes=1))
    [line] = lines(reader_page("actions"))
    assert line.startswith("Held back by a cluster that does not answer, tried again at ")


def test_an_approval_says_what_holds_the_action_back_after_it(reading: Client, hour: Hour) -> None:
    action = waiting_for_approval(hour)
    page = text(reading.get("/console/actions/?q=currency"))
    assert lines(page)[0].startswith("Held back by a missing approval, expires at ")
    assert f'<a href="/console/approvals/{action.pk}/"><bdi>a missing approval' in page
    assert lines(text(reading.get("/console/approvals/"))) == []

    GuardrailSetting.objects.create(namespace=SHOP, max_scale_increase=1)
    Cooldown.start([(action.workload.target, ActionType.SCALE, 300)])
    Freeze.objects.create(namespace=SHOP, reason="x", by="user:ana")
    frozen = f"the freeze of namespace {SHOP}, until it is lifted"
    assert lines(text(reading.get("/console/approvals/"))) == [f"Would be refused by {frozen}"]

    with rewritable():
        Action.objects.filter(pk=action.pk).update(origin=Origin.CLOSED_LOOP)
    freeze, cooldown, limit = lines(text(reading.get("/console/approvals/")))
    assert freeze == f"Held back by {frozen}"
    assert cooldown.startswith("Held back by the cooldown of SCALE, until ")
    assert limit.startswith("Held back by the limit “at most 1 replica added within 15 minutes”")


def test_a_workload_says_all_that_holds_the_closed_loop_back(reader_page: Any) -> None:
    row = observed("web", paused=True)
    observed("other")
    path = f"/console/workloads/default/Deployment/{NAMESPACE}/web/"
    GuardrailSetting.objects.create(namespace=NAMESPACE, workload="web", mode=Mode.APPROVE, max_actions_per_hour=0)
    Cooldown.start([(TARGET, ActionType.RESTART, 300)])
    Cooldown.start([(Target("default", "another", "web"), ActionType.SCALE, 300)])
    action = requested("web")

    found = lines(page := reader_page("workloads"))

    assert found[0] == "Held back by an action that is pending"
    assert found[1] == f"Held back by the mode approve ({NAMESPACE}/web)"
    assert found[2] == "Held back by a pause of the workload"
    assert found[3].startswith("Held back by the cooldown of RESTART, until ")
    assert found[4] == "Held back by the limit “at most 0 scales per hour”" or "at most 0" in found[4]
    assert len(found) == 4 + len(ActionType)
    for href in (f"/console/actions/{action.pk}/", f"{path}#limits", f"{path}#left", "/console/reasons/#TargetPaused"):
        assert f'href="{href}"' in page, href
    assert lines(reader_page(path.removeprefix("/console/").removesuffix("/"))) == found
    assert row.is_unhealthy is False


def test_a_person_reads_only_of_the_rows_that_they_may_see(db: None, client: Client) -> None:
    reconciled()
    observed("web")
    observed("secret", "elsewhere")
    Freeze.objects.create(namespace="elsewhere", reason="x", by="user:ana")
    Cooldown.start([(Target("default", "elsewhere", "secret"), ActionType.SCALE, 300)])
    otto = User.objects.create_user("otto")
    grant(otto, Role.VIEWER, HERE)
    client.force_login(otto)

    page = text(client.get("/console/workloads/"))

    assert lines(page) == []
    assert "elsewhere" not in page


def queries(client: Client, path: str) -> int:
    with CaptureQueriesContext(connection) as found:
        text(client.get(path))
    return len(found)


def in_every_list(name: str) -> None:
    """A row of each list that is held back by everything that there is."""
    target = Target("default", NAMESPACE, name)
    post(anomaly(name))
    Signal.objects.filter(workload=name).update(reason=Reason.RATE_LIMIT, not_before=Now() + timedelta(minutes=5))
    observed(name)
    GuardrailSetting.objects.create(namespace=NAMESPACE, workload=name, mode=Mode.APPROVE, max_actions_per_hour=0)
    Cooldown.start([(target, ActionType.SCALE, 300)])
    Freeze.objects.create(namespace=NAMESPACE, workload=name, reason="x", by="user:ana")
    action = requested(name)
    shown = {"uid": "u", "limits": {"approvals_required": 2}}
    asks = transition_store.Asks(shown, "8f14", Reason.APPROVAL_REQUIRED, "It asks.", {}, 1800)
    plan = {"planned_uid": "u", "before_image": {}, "after_image": {}, "change": {"replicas": 3}}
    transition_store.store([transitions.claim(action, "reconciler:r/1")])
    transition_store.store([transitions.ask(action, plan, asks, "reconciler:r/1")])


@pytest.mark.parametrize("screen", ["signals", "actions", "approvals", "workloads"])
def test_the_number_of_queries_does_not_grow_with_the_rows(reading: Client, screen: str) -> None:
    reconciled()
    in_every_list("first")
    path = f"/console/{screen}/"
    queries(reading, path)  # what a process remembers
    one = queries(reading, path)
    for number in range(20):
        in_every_list(f"web-{number}")

    assert queries(reading, path) == one
    assert len(lines(text(reading.get(path)))) > 20
