"""Which entries become Kubernetes Events, with which words, and what becomes of one that the API server refuses."""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from typing import Any
from uuid import UUID

import pytest
from django.urls import reverse

from guardrails.replay import dump_inputs
from guardrails.types import Facts, Outcome
from orchestrator import links
from orchestrator.k8s import errors
from orchestrator.k8s.events import MAX_MESSAGE, EventType, KubernetesEvent, event_of
from orchestrator.k8s.types import WorkloadKey
from orchestrator.models import TRANSITIONS
from orchestrator.models import ActionState as S
from orchestrator.publish import kubernetes
from orchestrator.publish.kubernetes import SUPPRESSED, KubernetesEvents, event_of_decision, event_of_transition
from orchestrator.publish.types import DecisionEntry, Dropped, Ignored, Published, Retry, TransitionEntry
from orchestrator.publish.types import Outcome as Answer
from signals.reasons import Reason
from signals.types import ActionType, Origin, Proposal
from tests.orchestrator.publish import rows
from tests.orchestrator.publish.rows import NOW
from tests.orchestrator.reconciler.fake import Fake

KEY, ID = WorkloadKey("smartops-dev", "erp"), UUID("01990000-0000-7000-8000-000000000001")
SIGNAL = UUID("01990000-0000-7000-8000-000000000002")
MEMORY = {"containers": [{"name": "app", "resources": {"limits": {"memory": "64Mi"}}}]}
APPLIED = TransitionEntry(
    event_id=1,
    at=NOW,
    action_id=ID,
    signal_id=None,
    target=rows.target(),
    type="SCALE",
    requested_by="token:ana",
    justification="",
    dry_run=False,
    from_state="applying",
    to_state="verifying",
    reason="",
    message="Applied as generation 4.",
    actor="reconciler:node/1",
    uid="uid-1",
    before={"replicas": 2},
    change={"replicas": 3},
)
REFUSED = DecisionEntry(NOW, ID, SIGNAL, "deny", Reason.COOLDOWN_ACTIVE, "The last SCALE needs 9 s.", {})


def moved(from_state: str, to_state: str, reason: str = "", **fields: Any) -> KubernetesEvent | None:
    return event_of_transition(replace(APPLIED, from_state=from_state, to_state=to_state, reason=reason, **fields))


def decided(outcome: str = "deny", reason: str = Reason.COOLDOWN_ACTIVE, **fields: Any) -> KubernetesEvent | None:
    signal_id = fields.pop("signal_id", SIGNAL)
    entry = replace(REFUSED, outcome=outcome, reason=reason, signal_id=signal_id)
    return event_of_decision(replace(entry, inputs=dump_inputs(rows.inputs(**fields))))


@pytest.mark.parametrize(
    ("type_", "change", "reason", "words"),
    [
        ("SCALE", {"replicas": 3}, "Scaled", "Scaled from 2 to 3 replicas"),
        ("RESTART", {"value": str(ID)}, "Restarted", "Restarted all pods"),
        (
            "PATCH",
            {"patch": {"spec": {"replicas": 3, "template": {"spec": MEMORY}}, "metadata": {"labels": {"a": None}}}},
            "Patched",
            "Patched spec.replicas, spec.template.spec.containers[name=app].resources.limits.memory, metadata.labels.a",
        ),
    ],
)
@pytest.mark.parametrize("state", [S.VERIFYING, S.SUCCEEDED])
def test_an_applied_change_is_published_with_its_requester_and_its_justification(
    state: S, type_: str, change: dict[str, Any], reason: str, words: str
) -> None:
    message = f"{words} (action {ID}, requested by token:ana)"
    event = KubernetesEvent(KEY, "uid-1", EventType.NORMAL, reason, message, str(ID))

    assert moved(S.APPLYING, state, type=type_, change=change) == event
    justified = moved(S.APPLYING, state, type=type_, change=change, justification="it leaks")
    assert justified == replace(event, message=f"{message}: it leaks")


@pytest.mark.parametrize(
    ("from_state", "to_state", "verdict"),
    [
        (S.APPLYING, S.PENDING, "deferred"),
        (S.PENDING, S.CANCELLED, "refused"),
        (S.APPLYING, S.CANCELLED, "refused"),
        (S.APPLYING, S.FAILED, "failed"),
        (S.APPLYING, S.NEEDS_REVIEW, "needs a review"),
        (S.VERIFYING, S.FAILED, "failed"),
        (S.VERIFYING, S.TIMED_OUT, "timed out"),
    ],
)
def test_a_problem_is_published_with_its_reason_and_message(from_state: S, to_state: S, verdict: str) -> None:
    message = "HorizontalPodAutoscaler erp sets the replicas."
    words = f"SCALE {verdict} (action {ID}, requested by token:ana): {message}"

    event = moved(from_state, to_state, Reason.AUTOSCALED, message=message)

    assert event == KubernetesEvent(KEY, "uid-1", EventType.WARNING, "Autoscaled", words, str(ID))


@pytest.mark.parametrize(
    ("from_state", "to_state", "reason", "words", "kind"),
    [
        ("", S.AWAITING_APPROVAL, Reason.APPROVAL_REQUIRED, "waits for an approval", EventType.NORMAL),
        (S.AWAITING_APPROVAL, S.AWAITING_APPROVAL, Reason.PLAN_CHANGED, "waits for an approval", EventType.NORMAL),
        (S.AWAITING_APPROVAL, S.PENDING, Reason.APPROVED, "approved", EventType.NORMAL),
        (S.AWAITING_APPROVAL, S.REJECTED, Reason.REJECTED, "rejected", EventType.WARNING),
        (S.AWAITING_APPROVAL, S.EXPIRED, Reason.APPROVAL_EXPIRED, "expired", EventType.WARNING),
        (S.AWAITING_APPROVAL, S.CANCELLED, Reason.OVERRIDDEN, "refused", EventType.WARNING),
        (S.APPLYING, S.OBSERVED, Reason.OBSERVE_ONLY, "observed, not done", EventType.NORMAL),
    ],
)
def test_each_step_of_an_approval_is_published(
    from_state: str, to_state: S, reason: Reason, words: str, kind: EventType
) -> None:
    event = moved(from_state, to_state, reason, message="As it is.")

    page = f" at /console/approvals/{ID}/" if to_state == S.AWAITING_APPROVAL else ""
    message = f"SCALE {words}{page} (action {ID}, requested by token:ana): As it is."
    assert event == KubernetesEvent(KEY, "uid-1", kind, reason, message, str(ID))


CONSOLE = "https://smartops.example.com/console"


@pytest.mark.parametrize(
    ("from_state", "to_state", "reason", "page"),
    [
        (S.APPLYING, S.VERIFYING, "", f"actions/{ID}/"),
        (S.PENDING, S.CANCELLED, Reason.FROZEN, f"actions/{ID}/"),
        (S.APPLYING, S.NEEDS_REVIEW, Reason.OUTCOME_UNKNOWN, f"actions/{ID}/"),
        (S.AWAITING_APPROVAL, S.PENDING, Reason.APPROVED, f"actions/{ID}/"),
        ("", S.AWAITING_APPROVAL, Reason.APPROVAL_REQUIRED, f"approvals/{ID}/"),
    ],
)
def test_an_event_links_to_the_one_action_or_approval(from_state: S, to_state: S, reason: str, page: str) -> None:
    entry = replace(APPLIED, from_state=from_state, to_state=to_state, reason=reason, message="ä" * 2000)
    event = event_of_transition(entry, CONSOLE)
    assert event is not None
    assert event.link == f"{CONSOLE}/{page}"

    message = event_of(event, NOW)["message"]

    assert "/console/" not in event.message
    assert message.endswith(f" {CONSOLE}/{page}")
    assert len(message.encode()) <= MAX_MESSAGE
    assert event.name == event_of_transition(entry).name  # type: ignore[union-attr]


def test_an_event_of_a_decision_links_to_its_signal() -> None:
    entry = replace(REFUSED, inputs=dump_inputs(rows.inputs()))
    event = event_of_decision(entry, CONSOLE)
    assert event is not None
    assert event.link == f"{CONSOLE}/signals/{SIGNAL}/"
    assert event_of(event, NOW)["message"] == f"{event.message} {event.link}"


def test_links_lead_to_the_pages_of_the_console() -> None:
    pages = {name: reverse(f"console:{name}", args=[ID]) for name in ("action", "approval", "signal")}
    assert links.to_action("/console", ID) == pages["action"]
    assert links.to_action("/console", ID, waits=True) == pages["approval"]
    assert links.to_signal("/console", ID) == pages["signal"]
    assert (links.to_action("", ID), links.to_signal("", ID)) == ("", "")


def test_no_other_transition_is_published() -> None:
    """Though each had a reason."""
    moves = [(here, there) for here, theres in TRANSITIONS.items() for there in theres]
    unpublished = {(here.value, there.value) for here, there in moves if moved(here, there, Reason.FROZEN) is None}
    assert unpublished == {
        ("pending", "applying"),
        ("verifying", "succeeded"),
        ("needs_review", "succeeded"),
        ("needs_review", "failed"),
        ("needs_review", "cancelled"),
    }


@pytest.mark.parametrize(
    ("from_state", "to_state"),
    [("", S.PENDING), ("", S.APPLYING), (S.PENDING, S.APPLYING), (S.APPLYING, S.APPLYING)],
)
def test_a_step_without_a_problem_is_not_published(from_state: str, to_state: str) -> None:
    assert moved(from_state, to_state) is None


def test_a_verified_success_is_not_published() -> None:
    assert moved(S.VERIFYING, S.SUCCEEDED, Reason.ROLLOUT_COMPLETE) is None


@pytest.mark.parametrize("state", [S.SUCCEEDED, S.CANCELLED, S.FAILED])
def test_what_a_person_settled_is_not_published(state: S) -> None:
    assert moved(S.NEEDS_REVIEW, state, Reason.REVIEWED) is None


@pytest.mark.parametrize("state", [S.SUCCEEDED, S.CANCELLED, S.FAILED])
def test_a_dry_run_is_not_published(state: S) -> None:
    assert moved(S.APPLYING, state, Reason.FROZEN, dry_run=True) is None


def test_an_action_whose_target_was_never_read_is_not_published() -> None:
    assert moved(S.APPLYING, S.CANCELLED, Reason.FROZEN, uid="") is None


@pytest.mark.parametrize("reason", Reason)
def test_a_reason_that_passes_by_itself_is_not_published_in_any_case(reason: Reason) -> None:
    events = [
        moved(S.APPLYING, S.PENDING, reason),
        moved(S.APPLYING, S.CANCELLED, reason),
        moved(S.VERIFYING, S.FAILED, reason),
        decided("defer", reason),
    ]
    assert [event is None for event in events] == [reason in SUPPRESSED] * 4


@pytest.mark.parametrize(("outcome", "verdict"), [(Outcome.DENY, "refused"), (Outcome.DEFER, "deferred")])
def test_a_refused_or_deferred_proposal_of_a_signal_is_published(outcome: Outcome, verdict: str) -> None:
    words = f"SCALE {verdict} (signal {SIGNAL}): The last SCALE needs 9 s."
    event = KubernetesEvent(KEY, "uid-1", EventType.WARNING, "CooldownActive", words, str(SIGNAL))

    assert decided(outcome) == event


def test_a_signal_that_waits_for_the_same_reason_again_has_an_event_of_the_same_name() -> None:
    first, again, other = (decided("defer", reason) for reason in (Reason.AUTOSCALED, Reason.AUTOSCALED, Reason.FROZEN))
    assert first is not None
    assert again is not None
    assert other is not None
    assert first.name == again.name != other.name


@pytest.mark.parametrize(
    ("outcome", "fields"),
    [
        (Outcome.IGNORE, {}),
        (Outcome.DENY, {"rules": ()}),  # no rule matched: nothing was proposed
        (Outcome.DENY, {"facts": Facts(True, None)}),  # there is no object
        (Outcome.DENY, {"signal_id": None, "proposal": Proposal(ActionType.RESTART, rows.target(), Origin.DIRECT, {})}),
    ],
    ids=["no rule matched", "expired without a rule", "no target", "a direct request"],
)
def test_a_decision_that_concerns_no_workload_or_was_answered_is_not_published(
    outcome: Outcome, fields: dict[str, Any]
) -> None:
    assert decided(outcome, **fields) is None


class ApiServer:
    """Counts the requests; `answer` may raise."""

    def __init__(self, answer: Callable[[], None] = lambda: None) -> None:
        self.requests: list[tuple[KubernetesEvent, datetime]] = []
        self.answer = answer
        fake = Fake()
        fake.events = self._create
        self.publisher = KubernetesEvents(fake.cluster)

    def _create(self, event: KubernetesEvent, at: datetime) -> None:
        self.requests.append((event, at))
        self.answer()


def raising(error: Exception) -> Callable[[], None]:
    def answer() -> None:
        raise error

    return answer


def test_an_event_is_created_as_of_the_time_of_the_transition() -> None:
    server = ApiServer()

    assert server.publisher.publish(APPLIED) == Published()
    assert [(event.reason, at) for event, at in server.requests] == [("Scaled", NOW)]


def test_an_event_is_sent_once() -> None:
    server = ApiServer()
    server.publisher.publish(APPLIED)

    assert server.publisher.publish(APPLIED) == Ignored()
    assert server.publisher.publish(replace(APPLIED, message="in other words")) == Ignored()
    assert len(server.requests) == 1


def test_an_entry_without_an_event_makes_no_request() -> None:
    server = ApiServer()
    assert server.publisher.publish(replace(APPLIED, dry_run=True)) == Ignored()
    assert server.publisher.publish(replace(REFUSED, signal_id=None)) == Ignored()
    assert server.requests == []


@pytest.mark.parametrize(
    ("error", "answer"),
    [
        (errors.Conflict("exists", code=409), Published()),
        (errors.Throttled("slow down", retry_after=3.0), Retry("slow down", 3.0)),
        (errors.Unreached("connection refused"), Retry("connection refused")),
        (errors.TimedOut("no answer"), Retry("no answer")),
        (errors.Unknown("HTTP 503", code=503), Retry("HTTP 503")),
        (errors.Forbidden("expired token", code=401), Retry("expired token")),
        (errors.Forbidden("no right", code=403), Dropped("no right")),
        (errors.NotFound("no namespace", code=404), Dropped("no namespace")),
        (errors.Invalid("a bad name", code=422), Dropped("a bad name")),
        (errors.Refused("gone", code=405), Dropped("gone")),
    ],
    ids=lambda value: f"{type(value).__name__} {getattr(value, 'code', '')}",
)
def test_an_error_is_temporary_or_permanent(error: errors.ClusterError, answer: Answer) -> None:
    server = ApiServer(raising(error))

    assert server.publisher.publish(APPLIED) == answer
    server.publisher.publish(APPLIED)
    assert len(server.requests) == (1 if answer == Published() else 2)


def test_only_the_latest_names_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kubernetes, "REMEMBERED", 2)
    server = ApiServer()
    entries = {uid: replace(APPLIED, uid=uid) for uid in "abc"}
    answers = [server.publisher.publish(entries[uid]) for uid in "abacab"]

    assert [type(answer) for answer in answers] == [Published, Published, Ignored, Published, Published, Published]
