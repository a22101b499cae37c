"""What is sent to the policy engine, and that nothing but a clear yes is a yes."""

import socket
from collections.abc import Callable, Iterator
from threading import Event

import pytest
from prometheus_client import REGISTRY
from pytest_django.fixtures import Settings

from guardrails.policies.opa import check_policy
from guardrails.types import PolicyAnswer
from signals import actors
from signals.ingest import ingest
from signals.models import Signal
from signals.types import ActionType, Observation, Origin, Proposal, Source
from tests.kit.decisions import RESTART, TARGET, scale
from tests.kit.patience import PATIENCE
from tests.kit.policy_engine import Engine, Handler, replies, says, serving


@pytest.fixture
def engine(settings: Settings) -> Iterator[Engine]:
    with serving() as engine:
        settings.SMARTOPS_OPA_URL = engine.url
        settings.SMARTOPS_OPA_TIMEOUT = PATIENCE
        yield engine


def denials(type_: str, reason: str) -> float:
    labels = {"type": type_, "reason": reason}
    return REGISTRY.get_sample_value("smartops_orchestrator_policy_denials_total", labels) or 0.0


@pytest.mark.skipif(not socket.has_dualstack_ipv6(), reason="needs IPv6")
def test_an_engine_with_an_ipv6_address_is_queried(settings: Settings) -> None:
    with serving("::1") as engine:
        settings.SMARTOPS_OPA_URL = engine.url
        assert engine.url.startswith("http://[::1]:")
        assert check_policy(RESTART, {}) == PolicyAnswer(True, "Allowed by policy.", engine.url)


def test_no_engine_is_queried_where_none_is_configured(engine: Engine, settings: Settings) -> None:
    settings.SMARTOPS_OPA_URL = ""

    assert check_policy(RESTART, {}) is None
    assert engine.asked == []


@pytest.mark.parametrize(
    ("answer", "allow", "reason"),
    [
        (says(True), True, "Allowed by policy."),
        (says({"allow": True}), True, "Allowed by policy."),
        (says({"allow": True, "reason": "Office hours."}), True, "Office hours."),
        (says(False), False, "Denied by policy."),
        (says({"allow": False}), False, "Denied by policy."),
        (says({"allow": False, "reason": "Not on Fridays."}), False, "Not on Fridays."),
        (says({"allow": False, "reason": ["a", "b"]}), False, "['a', 'b']"),
        (says({"allow": False, "reason": ""}), False, "Denied by policy."),
        (replies(200, b"{}"), None, "the result is undefined"),
        (says(None), None, "the result is undefined"),
        (says("true"), None, "the result is undefined"),
        (says(1), None, "the result is undefined"),
        (says([True]), None, "the result is undefined"),
        (says({}), None, "the result is undefined"),
        (says({"allow": 1}), None, "the result is undefined"),
        (says({"allow": "true"}), None, "the result is undefined"),
        (says({"deny": False}), None, "the result is undefined"),
        (replies(200, b"true"), None, "the result is undefined"),
        (replies(200, b"[true]"), None, "the result is undefined"),
        (replies(200, b""), None, "JSONDecodeError"),
        (replies(200, b"<html>true</html>"), None, "JSONDecodeError"),
        (replies(200, b'{"result": tru'), None, "JSONDecodeError"),
        (replies(200, b'\xff\xfe{"result": true}'), None, "UnicodeDecodeError"),
        (replies(200, b"[" * 200_000), None, "RecursionError"),
        (replies(204, b""), None, "HTTP status 204"),
        (replies(201, b'{"result": true}'), None, "HTTP status 201"),
        (replies(400, b'{"result": true}'), None, "HTTP status 400"),
        (replies(404, b"{}"), None, "HTTP status 404"),
        (replies(500, b'{"result": true}'), None, "HTTP status 500"),
        (replies(503, b""), None, "HTTP status 503"),
        (replies(302, b'{"result": true}', Location="/v1/data/elsewhere"), None, "HTTP status 302"),
        (replies(307, b"", Location="/v1/data/elsewhere"), None, "HTTP status 307"),
    ],
)
def test_only_a_clear_yes_is_a_yes(
    engine: Engine, answer: Callable[[Handler], None], allow: bool | None, reason: str
) -> None:
    engine.answer = answer
    before = denials("restart", "denied"), denials("restart", "unavailable")

    assert check_policy(RESTART, {}) == PolicyAnswer(allow, reason, engine.url)

    assert engine.paths == ["/v1/data/smartops/decision"]  # asked once, and no redirect followed
    after = denials("restart", "denied"), denials("restart", "unavailable")
    assert after == (before[0] + (allow is False), before[1] + (allow is None))


def test_who_is_too_slow_has_not_said_yes(engine: Engine, settings: Settings) -> None:
    settings.SMARTOPS_OPA_TIMEOUT = 0.2
    late = Event()

    def answer(handler: Handler) -> None:
        late.wait(PATIENCE)
        handler.close_connection = True

    engine.answer = answer
    try:
        assert check_policy(RESTART, {}) == PolicyAnswer(None, "ReadTimeoutError", engine.url)
    finally:
        late.set()


def test_who_hangs_up_has_not_said_yes(engine: Engine) -> None:
    def answer(handler: Handler) -> None:
        handler.close_connection = True

    engine.answer = answer

    answered = check_policy(RESTART, {})
    assert answered == PolicyAnswer(None, "ProtocolError", engine.url)
    assert len(engine.asked) == 1


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("http://127.0.0.1:{free}/v1/data/x", "NewConnectionError"),
        ("ftp://127.0.0.1/x", "URLSchemeUnknown"),
        ("no address", ""),
    ],
)
def test_who_cannot_be_reached_has_not_said_yes(settings: Settings, url: str, reason: str) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))  # bound, and nobody listens
        settings.SMARTOPS_OPA_URL = url.format(free=free.getsockname()[1])

        answered = check_policy(RESTART, {})

    assert answered is not None
    assert answered.allow is None
    assert reason in answered.reason


def test_a_direct_action_is_sent_with_its_context(engine: Engine) -> None:
    proposal = Proposal(
        ActionType.PATCH,
        TARGET,
        Origin.DIRECT,
        {"patch": {"spec": {"replicas": 3}}},
        "Grüße",
        dry_run=True,
        verify=False,
    )

    check_policy(proposal, {"origin": "direct", "requested_by": "ana", "target": None})

    assert engine.asked == [
        {
            "action": {
                "type": "PATCH",
                "target": {
                    "cluster": "default",
                    "namespace": "smartops-dev",
                    "name": "erp-simulator",
                    "kind": "Deployment",
                },
                "origin": "direct",
                "params": {"patch": {"spec": {"replicas": 3}}},
                "reason": "Grüße",
                "dry_run": True,
                "verify": False,
            },
            "context": {"origin": "direct", "requested_by": "ana", "target": None},
            "signal": None,
        }
    ]


@pytest.mark.django_db
def test_a_signal_is_sent_with_what_its_detector_posted(engine: Engine) -> None:
    payload = {"windowId": "w1", "metadata": {"cpu": 96.3, "host": "node-7"}}
    [receipt] = ingest(
        [Observation(Source.ANOMALY, TARGET, "resource", "w1", True, payload, score=0.95)], actors.token("an agent")
    )
    signal = Signal.objects.get(pk=receipt.signal_id)

    check_policy(scale(delta=1), {}, signal)

    [asked] = engine.asked
    assert asked["signal"] == {
        "id": receipt.signal_id,
        "source": "anomaly",
        "target": asked["action"]["target"],
        "symptom": "resource",
        "last_seen_at": signal.last_seen_at.isoformat(),
        "resolved": False,
        "score": 0.95,
        "probability": None,
        "confidence": None,
        "labels": {},
        "severity": "",
        "started_at": None,
        "naming": None,
        "reported_by": ["token:an agent"],
        "payload": payload,
    }
