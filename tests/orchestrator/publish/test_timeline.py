"""Each entry is read once, in an order that no later commit can change."""

import re
from collections.abc import Iterator
from random import Random
from threading import Thread
from time import sleep
from typing import Any

import psycopg
import pytest
from django.db import connection, transaction

from guardrails.types import Facts, Outcome, TargetFacts
from orchestrator.models import Action, AuditEvent, DecisionRecord, Workload
from orchestrator.models import ActionState as S
from orchestrator.publish import timeline
from orchestrator.publish.types import DecisionEntry, TransitionEntry
from signals.lib.notifications import connect
from signals.reasons import Reason
from signals.types import ActionType, Origin, Proposal
from tests.orchestrator.publish import rows
from tests.orchestrator.publish.rows import note

pytestmark = pytest.mark.django_db(transaction=True)


def read(after: int, cluster: str = "default", **options: Any) -> list[str]:
    return [note(entry) for _, entry in timeline.read(cluster, after, **options).entries]


@pytest.fixture
def elsewhere(transactional_db: None) -> Iterator["psycopg.Connection[Any]"]:
    """Another session, in a transaction of its own."""
    with connect() as session:
        session.autocommit = False
        yield session
        session.rollback()


def fail(session: "psycopg.Connection[Any]", action: Action) -> None:
    session.execute(
        "UPDATE orchestrator_action SET state = 'failed', finished_at = now(), lease_until = NULL WHERE id = %s",
        [action.pk],
    )


def test_an_action_is_read_with_each_of_its_transitions_and_its_plan() -> None:
    start, signal = timeline.end(), rows.a_signal()
    action = rows.propose(signal=signal, justification="it is slow")
    rows.plan(action)
    rows.move(action, S.VERIFYING)
    rows.move(action, S.FAILED, reason=Reason.SUPERSEDED, message="Somebody changed it.")

    page = timeline.read("default", start)

    steps = ["erp new→pending", "erp pending→applying", "erp applying→verifying", "erp verifying→failed"]
    assert [note(entry) for _, entry in page.entries] == steps
    last = page.entries[-1][1]
    assert last == TransitionEntry(
        event_id=AuditEvent.objects.latest("id").pk,
        at=AuditEvent.objects.latest("id").at,
        action_id=action.pk,
        signal_id=signal.pk,
        target=rows.target(),
        type="SCALE",
        requested_by="token:ana",
        justification="it is slow",
        dry_run=False,
        from_state="verifying",
        to_state="failed",
        reason="Superseded",
        message="Somebody changed it.",
        actor="reconciler:node/1",
        uid="uid-1",
        before={"replicas": 2},
        change={"replicas": 3},
    )
    assert page.xid is not None
    assert read(page.xid) == []


def test_a_decision_is_read_only_where_it_led_to_no_action() -> None:
    start, signal = timeline.end(), rows.a_signal()
    rows.decide(Outcome.DEFER, Reason.FROZEN, signal=signal)
    rows.decide(Outcome.ALLOW, signal=signal, action=rows.propose(signal=signal))
    refused = rows.inputs(proposal=Proposal(ActionType.RESTART, rows.target(), Origin.DIRECT, {}))
    rows.decide(Outcome.DENY, Reason.REPLICA_LIMIT, of=refused)

    assert read(start) == ["defer Frozen", "erp new→pending", "deny ReplicaLimit"]
    entry = timeline.read("default", start).entries[0][1]
    assert isinstance(entry, DecisionEntry)
    assert (entry.signal_id, entry.inputs["signal"]["symptom"]) == (signal.pk, "resource")


def test_an_action_that_cannot_be_read_costs_its_own_entries() -> None:
    """A newer version of SmartOps has written it."""
    start = timeline.end()
    strange = Workload.objects.create(cluster="default", namespace="shop", kind="CloneSet", name="web")
    action = rows.propose(workload=strange)
    rows.propose("erp")

    page = timeline.read("default", start)

    assert [note(entry) for _, entry in page.entries] == ["erp new→pending"]
    assert page.unreadable == (f"action {action.pk} cannot be read: 'CloneSet' is not a valid Kind",)


def test_another_cluster_reads_its_own_entries() -> None:
    start = timeline.end()
    rows.propose("erp")
    rows.propose("crm", cluster="other")
    rows.decide(Outcome.DENY, Reason.FROZEN, signal=rows.a_signal())
    elsewhere = Proposal(ActionType.RESTART, rows.target(cluster="other"), Origin.DIRECT, {})
    rows.decide(Outcome.DENY, Reason.RATE_LIMIT, of=rows.inputs(proposal=elsewhere))

    assert read(start) == ["erp new→pending", "deny Frozen"]
    assert read(start, "other") == ["crm new→pending", "deny RateLimit"]


def test_an_entry_that_commits_late_is_not_missed(elsewhere: "psycopg.Connection[Any]") -> None:
    slow, fast = rows.propose("slow"), rows.propose("fast")
    start = timeline.end()
    rows.move(slow, S.APPLYING)
    fail(elsewhere, slow)  # draws its ids first
    rows.move(fast, S.CANCELLED)
    ids = AuditEvent.objects.filter(to_state__in=["failed", "cancelled"])

    waiting = timeline.read("default", start)
    assert [note(entry) for _, entry in waiting.entries] == ["slow pending→applying"]
    assert waiting.xid is not None
    assert waiting.held_back
    held_back = timeline.read("default", waiting.xid)
    assert (held_back.entries, held_back.xid, held_back.held_back) == ((), None, True)
    assert held_back.oldest == ids.get().at, "what cannot be read yet is not seen as lag"

    elsewhere.commit()
    assert read(waiting.xid) == ["slow applying→failed", "fast pending→cancelled"]
    assert not timeline.read("default", waiting.xid).held_back
    assert [event.to_state for event in ids.order_by("id")] == ["failed", "cancelled"]


def test_what_is_rolled_back_is_not_read(elsewhere: "psycopg.Connection[Any]") -> None:
    action = rows.propose()
    rows.move(action, S.APPLYING)
    start = timeline.end()
    fail(elsewhere, action)
    elsewhere.rollback()

    assert read(start) == []


def test_a_transaction_is_read_as_a_whole_however_small_the_page() -> None:
    start = timeline.end()
    rows.propose("a")
    with transaction.atomic():
        for name in "bcde":
            rows.propose(name)
    rows.propose("f")

    first = timeline.read("default", start, limit=2)
    assert [note(entry)[0] for _, entry in first.entries] == ["a", "b", "c", "d", "e"]
    assert first.more
    assert first.xid is not None
    assert read(first.xid, limit=2) == ["f new→pending"]


def test_the_uid_of_a_target_that_was_not_planned_is_that_of_the_last_decision_that_read_it() -> None:
    start = timeline.end()
    action = rows.propose()
    for uid in ("uid-0", "uid-9"):
        facts = Facts(True, TargetFacts(uid, 2))
        rows.decide(Outcome.ALLOW, of=rows.inputs(facts=facts), action=action)
    rows.decide(Outcome.ALLOW, of=rows.inputs(facts=Facts(False)), action=action)
    rows.move(action, S.CANCELLED, reason=Reason.FROZEN)
    facts = Facts(True, TargetFacts("later", 2))
    rows.decide(Outcome.DENY, Reason.FROZEN, of=rows.inputs(facts=facts), action=action)

    entries = [entry for _, entry in timeline.read("default", start).entries]
    assert [entry.uid for entry in entries if isinstance(entry, TransitionEntry)] == ["", "uid-9"]


def test_a_cursor_ahead_of_the_database_is_noticed() -> None:
    rows.propose()

    page = timeline.read("default", after=2**40)

    assert page.restored
    assert page.entries == ()


def test_rows_from_a_database_that_was_ahead_are_no_lag() -> None:
    start = timeline.end()
    rows.propose()
    with connection.cursor() as cursor:  # as a dump of another server brings it
        cursor.execute(
            """
            INSERT INTO orchestrator_auditevent
                (action_id, from_state, to_state, epoch, reason, message, details, actor, xid)
            SELECT action_id, '', 'failed', 0, '', '', '{}', '', %s FROM orchestrator_auditevent
            """,
            [2**40],
        )
    page = timeline.read("default", start)
    assert [note(entry) for _, entry in page.entries] == ["erp new→pending"]
    assert page.xid is not None
    assert timeline.read("default", page.xid).oldest is None


def test_a_reader_beside_many_writers_reads_each_entry_once_and_in_order() -> None:
    """Each writer commits after a pause of its own, so that ids are committed in another order than they are drawn."""
    actions = [[rows.propose(f"{writer}-{number}") for number in range(25)] for writer in range(4)]
    for of_writer in actions:
        for action in of_writer:
            rows.move(action, S.APPLYING)
    start = timeline.end()

    def write(seed: int) -> None:
        random = Random(seed)  # noqa: S311
        with connect() as session:
            session.autocommit = False
            for action in actions[seed]:
                fail(session, action)
                sleep(random.random() * 0.01)
                session.rollback() if random.random() < 0.2 else session.commit()

    writers = [Thread(target=write, args=[seed]) for seed in range(4)]
    found: list[tuple[int, str]] = []
    for writer in writers:
        writer.start()
    cursor = start
    while True:
        ended = not any(writer.is_alive() for writer in writers)
        page = timeline.read("default", cursor, limit=7)
        found += [(xid, note(entry)) for xid, entry in page.entries]
        cursor = page.xid or cursor
        if ended and page.xid is None:
            break

    committed = AuditEvent.objects.filter(to_state="failed").values_list("action__workload__name", flat=True)
    assert sorted(said for _, said in found) == sorted(f"{name} applying→failed" for name in committed)
    assert [xid for xid, _ in found] == sorted(xid for xid, _ in found)
    assert len(found) > 50


def test_the_cursor_finds_its_rows_by_an_index() -> None:
    for number in range(50):
        rows.propose(str(number))
    DecisionRecord.objects.bulk_create(
        DecisionRecord(phase="admit", requested_by="token:ana", outcome="deny", inputs={}, verdicts=[])
        for _ in range(50)
    )
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE orchestrator_auditevent, orchestrator_decisionrecord")
        cursor.execute("SET enable_seqscan = off")
        cursor.execute("EXPLAIN " + timeline._UNREAD, {"after": timeline.end(), "limit": 200})
        explained = " ".join(line for (line,) in cursor.fetchall())
        cursor.execute("RESET enable_seqscan")
    assert re.search(r"orchestrator_auditevent_\d{4}_\d\d_xid_idx", explained)
    assert re.search(r"orchestrator_decisionrecord_\d{4}_\d\d_xid_idx", explained)
