"""A reconciler that lacks a right says so in one line each, and what it then does not do."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from http.client import HTTPConnection
from pathlib import Path

import pytest

from guardrails.models import GuardrailSetting
from orchestrator.k8s.permissions import PERMISSIONS, Permission
from signals.lib.notifications import CHANNEL
from smartops.dev.demo.state import unused_port
from smartops.dev.postgres import RECONCILER_ROLE
from tests.conformance.control_plane import ControlPlane
from tests.conformance.loop import Judge, Loop
from tests.conformance.ownership.service import SERVICE, Runs
from tests.kit.client import Client
from tests.kit.installation import Agent, Installation, installed
from tests.kit.patience import PATIENCE
from tests.kit.processes import environment, running, sessions, until

pytestmark = pytest.mark.usefixtures("simulated_kubelet")
RESTRICTED = "a restricted reconciler"


@pytest.fixture(scope="module")
def smartops(
    transactional_db: None, control_plane: ControlPlane, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Installation]:
    """A web process: each test brings the reconciler."""
    log = tmp_path_factory.mktemp("smartops") / "log"
    with installed(control_plane.kubeconfig, "*", log, reconcilers=0) as installation:
        yield installation


class Restricted:
    """A reconciler of one namespace that may not all."""

    def __init__(self, port: int, log: Path) -> None:
        self._port, self._log = port, log

    def ask(self, path: str) -> tuple[int, list[str]]:
        connection = HTTPConnection("127.0.0.1", self._port, timeout=PATIENCE)
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read().decode().splitlines()

    def says(self, status: int, *lines: str) -> None:
        """Waits until it is ready, or for want of rights is not; it must then say this, and log what is missing."""
        until(self._has_settled)
        assert self.ask("/readyz") == (status, list(lines))
        missing = [line for line in lines if line.startswith("missing")]
        until(lambda: all(line in self._log.read_text() for line in missing))  # it is logged a moment later
        logged = self._log.read_text()
        assert {line: logged.count(line) for line in missing} == dict.fromkeys(missing, 1)

    def _has_settled(self) -> bool:
        """Whether it has asked for its rights, and each first list has ended or was refused."""
        lines = self.ask("/readyz")[1]
        asked = any(line.startswith(("ok", "missing")) for line in lines)
        return asked and not any(line.endswith("the first list has not ended yet") for line in lines)

    def dropped(self) -> float:
        [line] = [one for one in self.ask("/metrics")[1] if one.startswith("smartops_k8s_events_dropped_total ")]
        return float(line.split()[1])


def rights(*lacking: tuple[str, str]) -> list[Permission]:
    """All, but for these verbs of a resource."""
    left = [
        replace(right, verbs=tuple(verb for verb in right.verbs if (verb, right.resource) not in lacking))
        for right in PERMISSIONS
    ]
    return [right for right in left if right.verbs]


def line(permission: str, namespace: str, purpose: str, optional: str = "") -> str:
    grant = "Grant it to the ServiceAccount of the reconciler."
    return f"missing permission{optional}: {permission} in namespace {namespace}: {purpose}. {grant}"


@contextmanager
def restricted(
    control_plane: ControlPlane, namespace: str, log: Path, *lacking: tuple[str, str]
) -> Iterator[Restricted]:
    port = unused_port()
    command = ["manage.py", "reconcile", "--metrics-host", "127.0.0.1", "--metrics-port", str(port)]
    with control_plane.granting(rights(*lacking), namespace) as kubeconfig:
        settings = {"SMARTOPS_KUBECONFIG": str(kubeconfig), "SMARTOPS_NAMESPACES": namespace}
        given = environment(RECONCILER_ROLE, **settings, PGAPPNAME=RESTRICTED)
        with running(command, log, given) as process:
            until(lambda: sessions(RESTRICTED, f"LISTEN {CHANNEL}") == 1 or not process.is_alive())
            yield Restricted(port, log)
        assert "Traceback" not in log.read_text(), log.read_text()


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "log"


def test_a_reconciler_with_all_rights_is_ready_and_closes_the_loop(
    control_plane: ControlPlane, namespace: str, log: Path, loop: Loop, runs: Runs, http: Client
) -> None:
    runs(replicas=2)
    with restricted(control_plane, namespace, log) as reconciler:
        reconciler.says(200, "ok")

        assert loop.outcome(loop.anomaly(SERVICE))["state"] == "succeeded"

        http.wait("events", lambda event: event["reason"] == "Scaled")
        assert reconciler.dropped() == 0


def test_a_reconciler_without_the_right_to_patch_is_not_ready_and_its_action_fails_with_the_servers_message(
    control_plane: ControlPlane, namespace: str, log: Path, agent: Agent, judge: Judge, runs: Runs, http: Client
) -> None:
    runs(replicas=2)
    loop = Loop(agent, namespace)  # not judged whole: of what RBAC refuses, the audit log has no body
    with restricted(control_plane, namespace, log, ("patch", "deployments")) as reconciler:
        reconciler.says(503, line("patch deployments.apps", namespace, "SmartOps applies changes with it"))

        status, problem = loop.ask("scale", SERVICE, replicas=3)

        assert (status, problem["reason"]) == (502, "ClusterForbidden")
        assert 'cannot patch resource "deployments"' in problem["detail"]
        http.wait("events", lambda event: event["reason"] == "ClusterForbidden")
    assert judge.changes() == []


def test_a_reconciler_without_the_right_to_see_autoscalers_leaves_replicas_alone(
    control_plane: ControlPlane, namespace: str, log: Path, loop: Loop, judge: Judge, runs: Runs
) -> None:
    runs(replicas=2)
    purpose = "SmartOps finds out with it which replicas an autoscaler sets"
    lacking = ("list", "horizontalpodautoscalers"), ("watch", "horizontalpodautoscalers")
    with restricted(control_plane, namespace, log, *lacking) as reconciler:
        resource = "horizontalpodautoscalers"
        user = f"system:serviceaccount:{namespace}:some" if control_plane.real else "sandbox"
        forbidden = f'{resource}.autoscaling is forbidden: User "{user}" cannot list resource "{resource}"'
        where = f'in API group "autoscaling" in the namespace "{namespace}"'
        missing = [line(f"{verb} {resource}.autoscaling", namespace, purpose) for verb in ("list", "watch")]
        unsynced = f"cache not synced: {resource} in namespace {namespace}: {forbidden} {where}"
        reconciler.says(503, unsynced, *missing)

        status, problem = loop.ask("scale", SERVICE, replicas=3)

        assert (status, problem["reason"]) == (409, "AutoscalersUnknown")
        assert 'cannot list resource "horizontalpodautoscalers"' in problem["detail"]
        signal = loop.anomaly(SERVICE)
        assert loop.held_back(signal) == "AutoscalersUnknown"
        assert loop.ask("restart", SERVICE).status == 200
        assert judge.changes() == [("RESTART", SERVICE)]

        GuardrailSetting.objects.create(namespace=namespace, respect_owners=False)
        until(lambda: bool(loop.signal(signal)["state"] == "admitted"))
        assert loop.outcome(signal)["state"] == "succeeded"
    assert judge.changes() == [("RESTART", SERVICE), ("SCALE", SERVICE)]


def test_a_reconciler_without_the_right_to_create_events_is_ready_and_acts(
    control_plane: ControlPlane, namespace: str, log: Path, loop: Loop, judge: Judge, runs: Runs
) -> None:
    runs(replicas=2)
    optional = line("create events", namespace, "SmartOps publishes Kubernetes Events with it", " (optional)")
    with restricted(control_plane, namespace, log, ("create", "events")) as reconciler:
        reconciler.says(200, "ok", optional)

        assert loop.ask("scale", SERVICE, replicas=3).status == 200

        until(lambda: reconciler.dropped() == 1)
    assert judge.changes() == [("SCALE", SERVICE)]
