import re
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.contrib.auth.models import User
from django.http import QueryDict
from django.test import Client
from django.utils import timezone

from guardrails.models import GuardrailSetting
from orchestrator.models import Action, Heartbeat, Verification
from signals import actors
from signals.ingest import ingest
from signals.lib.partitions import first_id
from signals.models import Signal
from smartops.console import actions, overview, signals
from smartops.console.attention import ASKED_FOR, TOO_LONG
from smartops.console.trends import HOURS, STORED_WITHIN, bars, compose, trends
from smartops.models import SeenFailure
from smartops.people.access import Access, access_of
from smartops.people.roles import Place, Right, Role
from tests.kit.history import rewritable
from tests.kit.people import grant, person
from tests.kit.verbs import requested
from tests.smartops.console.scene import NAMESPACE, Hour, anomaly, reconciled

OVERVIEW = "/console/"


def text(response: Any) -> str:
    assert response.status_code == 200
    return str(response.content.decode())


def everything(hour: Hour, reader: User) -> Access:
    """Something of each need, and who may see it."""
    with rewritable():
        waits = Action.objects.filter(pk=requested("waits").pk)
        waits.update(state="awaiting_approval", digest="d", shown={})
    ingest([anomaly(f"waiting-{n}", "resource", 0.94, "w") for n in range(4)], actors.token("agent"))
    Signal.objects.filter(workload="waiting-0").update(reason="TargetUnidentified")
    return access_of(reader)


def test_each_number_is_the_count_of_the_rows_behind_its_link(
    reading: Client, reader: User, hour: Hour, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("smartops.console.attention.TOO_LONG", timedelta())
    access = everything(hour, reader)
    found = overview.needs(access)
    assert len(found) == len(overview.NEEDS)
    for need in found:
        rows = reading.get(need.href).context["listing"].rows
        assert need.count == len(rows) > 0, need.many
        assert {one.pk for one in need.rows} <= {one.pk for one in rows}
    for _, group in trends(access, timezone.now()).groups:
        for trend in group:
            assert trend.total == len(reading.get(trend.href).context["listing"].rows), trend.label


def test_the_overview_is_calm_while_nothing_needs_a_person(client: Client, db: None) -> None:
    client.force_login(person("vera", Role.VIEWER, Place(namespace="elsewhere")))
    page = text(client.get(OVERVIEW))
    assert "Nothing needs you." in page
    assert "No signal or action waits." in page


def test_the_overview_takes_a_constant_number_of_queries(
    reading: Client, reader: User, hour: Hour, django_assert_max_num_queries: Any
) -> None:
    everything(hour, reader)
    for count in (0, 20):
        for number in range(count):
            requested(f"more-{number}")
        with django_assert_max_num_queries(28):
            reading.get(OVERVIEW)


def test_the_overview_shows_the_mode_and_where_there_is_another(reading: Client) -> None:
    assert "Mode <b>auto</b>" in text(reading.get(OVERVIEW))
    GuardrailSetting.objects.create(mode="approve")
    GuardrailSetting.objects.create(namespace="bank", mode="observe")
    assert "Mode <b>approve</b>, <b>observe</b> for <bdi>namespace bank</bdi>" in text(reading.get(OVERVIEW))


def test_the_overview_shows_each_reconciler_and_when_it_passed(reading: Client) -> None:
    reconciled(ago=timedelta(seconds=1))
    Heartbeat.objects.create(
        cluster="default", reconciler="reconciler:killed/1", passed_at=timezone.now() - timedelta(seconds=40)
    )
    page = text(reading.get(OVERVIEW))
    assert re.search("Runs.*smartops-7c9f4d6b8", page, re.DOTALL)
    assert re.search(r"Stopped.*reconciler:killed/1.*\d+ s ago", page, re.DOTALL)
    assert 'data-reconcilers="running"' in page


def failed(hour: Hour) -> Action:
    return Action.objects.select_related("workload").filter(state="failed").latest("pk")


def unseen(access: Access) -> set[Any]:
    return set(actions.passing(QueryDict(f"state={actions.UNSEEN}"), access).values_list("pk", flat=True))


def test_a_failure_is_asked_for_until_somebody_opens_it_who_may_act(client: Client, hour: Hour) -> None:
    action, vera, olga = failed(hour), person("vera", Role.VIEWER), person("olga", Role.OPERATOR)
    page, seen = f"/console/actions/{action.pk}/", f"/console/actions/{action.pk}/seen/"
    client.force_login(vera)
    assert seen not in text(client.get(page))
    assert client.post(seen).status_code == 403
    client.force_login(olga)
    assert f'hx-post="{seen}"' in text(client.get(page))
    assert client.get(seen).status_code == 302
    assert action.pk in unseen(access_of(vera))  # no GET has changed anything
    assert client.post(seen).status_code == 204
    assert client.post(seen).status_code == 204
    assert action.pk not in unseen(access_of(vera))
    assert seen not in text(client.get(page))
    assert SeenFailure.objects.get().by == "user:olga"


def test_a_failure_outside_of_the_rights_of_a_person_is_not_opened_by_them(client: Client, hour: Hour) -> None:
    action, olga = failed(hour), person("olga", Role.VIEWER)
    grant(olga, Role.OPERATOR, Place(namespace="elsewhere"))
    client.force_login(olga)
    assert client.post(f"/console/actions/{action.pk}/seen/").status_code == 403
    assert not SeenFailure.objects.exists()


def test_a_failure_is_not_asked_for_after_a_week_and_its_row_is_deleted(
    hour: Hour, reader: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    from smartops.console.attention import see

    action, now = failed(hour), timezone.now()
    see(action, "user:ada", now)
    monkeypatch.setattr("smartops.console.actions.timezone.now", lambda: now + ASKED_FOR + timedelta(hours=2))
    assert unseen(access_of(reader)) == set()
    monkeypatch.undo()
    see(Action.objects.filter(state="timed_out").latest("pk"), "user:ada", now + ASKED_FOR + timedelta(hours=2))
    assert not SeenFailure.objects.filter(pk=action.pk).exists()


def test_a_signal_waits_too_long_after_five_minutes(monkeypatch: pytest.MonkeyPatch, reader: User) -> None:
    Signal.objects.filter(state="pending").update(state="resolved", closed_at=timezone.now())
    ingest([anomaly("shop", "resource", 0.94, "w")], actors.token("agent"))
    access, now = access_of(reader), timezone.now()
    for age, count in ((TOO_LONG - timedelta(minutes=1), 0), (TOO_LONG + timedelta(minutes=1), 1)):
        monkeypatch.setattr("smartops.console.signals.timezone.now", lambda age=age: now + age)
        assert signals.passing(QueryDict(f"state={signals.WAITING}"), access).count() == count


def test_the_overview_has_nothing_of_what_a_person_may_not_see(client: Client, hour: Hour) -> None:
    client.force_login(person("vera", Role.VIEWER, Place(namespace="elsewhere")))
    page = text(client.get(OVERVIEW))
    assert "Nothing needs you." in page
    assert NAMESPACE not in page
    assert all(trend.total == 0 for _, group in trends(Access(), timezone.now()).groups for trend in group)


NOW = datetime(2026, 1, 2, 3, 30, tzinfo=UTC)


def at(hours_ago: int) -> datetime:
    return NOW.replace(minute=0) - timedelta(hours=hours_ago)


def test_hours_are_spread_and_reasons_are_sorted_by_their_number() -> None:
    found = compose(
        NOW,
        [
            (at(0), "pending", "", 1), (at(2), "denied", "Frozen", 2), (at(3), "denied", "Frozen", 1),
            (at(1), "denied", "Expired", 4), (at(24), "ignored", "", 1),
        ],
        [(at(0), None, 3), (at(24), "SUCCESS", 5), (at(0), "FAILED", 1)],
    )  # fmt: skip
    assert (len(found.hours), found.hours[0], found.hours[-1]) == (HOURS + 1, at(24), at(0))
    numbers = {(title, trend.label): trend.total for title, group in found.groups for trend in group}
    assert numbers == {
        ("Signals", "received"): 9,
        ("Refused signals, by reason", "Expired"): 4,
        ("Refused signals, by reason", "Frozen"): 3,
        ("Actions", "requested"): 9,
        ("Verification", "succeeded"): 5,
        ("Verification", "failed"): 1,
        ("Verification", "timed out"): 0,
    }
    received = found.groups[0][1][0].hours
    assert (received[0], received[-4:]) == (1, (1, 2, 4, 1))
    assert found.rows[0] == (at(0), [1, 0, 0, 4, 0, 1, 0])


def signal(hours_ago: int, state: str, reason: str = "", namespace: str = "bank", minute: int = 5) -> Signal:
    """One of that hour and minute, by its id."""
    id_ = UUID(int=first_id(at(hours_ago) + timedelta(minutes=minute)).int + uuid4().int % 2**64)
    closed_at = None if state == "pending" else NOW
    rest = {"source": "anomaly", "cluster": "default", "namespace": namespace, "workload": "shop", "symptom": "cpu"}
    one = Signal(pk=id_, state=state, reason=reason, payload={}, closed_at=closed_at, fingerprint=id_.hex, **rest)
    one.save(force_insert=True)
    return one


def numbers(access: Access, now: datetime = NOW) -> dict[str, tuple[int, ...]]:
    return {trend.label: trend.hours for _, group in trends(access, now).groups for trend in group}


def test_ten_minutes_are_counted_again_until_everything_in_them_has_ended(
    db: None, django_assert_num_queries: Any
) -> None:
    access, elsewhere = (Access({Right.READ: (Place(namespace=name),)}) for name in ("bank", "shop"))
    with rewritable():
        signal(3, "denied", "Frozen")
        waiting = signal(5, "pending")
        signal(24, "denied", "Frozen")  # in the part of that hour that is older than a day
        with django_assert_num_queries(2):
            assert numbers(access)["received"][-6:] == (1, 0, 1, 0, 0, 0)
        signal(3, "denied", "Frozen")  # as no process does
        signal(5, "denied", "Frozen", minute=15)  # the ten minutes after the ones in which a signal waits
        signal(0, "denied", "Expired", minute=25)
        Signal.objects.filter(pk=waiting.pk).update(state="denied", reason="Expired", closed_at=NOW)
        with django_assert_num_queries(2):
            found = numbers(access)
        assert (found["received"][-6:], sum(found["received"])) == ((1, 0, 1, 0, 0, 1), 3)
        assert found["Expired"][-6:] == (1, 0, 0, 0, 0, 1)
        assert sum(numbers(elsewhere)["received"]) == 0
        assert sum(numbers(access, NOW + timedelta(hours=20))["received"]) == 2


def test_rows_are_counted_that_are_stored_some_minutes_after_the_time_of_their_id(db: None) -> None:
    access, soon = Access({Right.READ: (Place(namespace="bank"),)}), at(0) + STORED_WITHIN - timedelta(seconds=1)
    with rewritable():
        assert sum(numbers(access, soon)["received"]) == 0
        signal(1, "denied", "Frozen", minute=55)
        signal(1, "denied", "Frozen", minute=45)  # they are over for too long
        assert sum(numbers(access, soon)["received"]) == 1


def test_the_first_ten_minutes_are_counted_from_the_beginning_of_the_day_on(db: None) -> None:
    access, now = Access({Right.READ: (Place(namespace="bank"),)}), NOW + timedelta(minutes=3)
    with rewritable():
        for minute in (29, 32, 34, 39):
            signal(24, "denied", "Frozen", minute=minute)
        for _ in range(2):
            assert numbers(access, now)["received"] == (2, *[0] * HOURS)


def test_the_bars_have_no_style_of_their_own() -> None:
    picture = bars([0, 3, 10])
    assert picture.count("<rect") == 3
    assert "style" not in picture
    assert 'fill="currentColor"' in picture
    assert bars([0, 0]).count('height="0"') == 2


def test_the_numbers_of_the_bars_are_in_a_table_too(reading: Client, hour: Hour) -> None:
    page = text(reading.get(OVERVIEW))
    assert page.count('<svg class="bars"') > 4
    assert re.search(r'<th role="columnheader" scope="col"><a href="[^"]+">Verification: succeeded</a></th>', page)
    assert Verification.objects.filter(status="SUCCESS").exists()
