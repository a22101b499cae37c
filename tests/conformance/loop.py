"""SmartOps and its judge, on the cluster under test. The importing conftest defines the fixture `smartops`."""

from collections.abc import Iterator
from typing import Any

import pytest
from django.core.management import call_command
from pytest_django.plugin import DjangoDbBlocker

from guardrails.models import GuardrailSetting
from tests.conformance.closed_loop.referee import Claim, Limits, violations, writes
from tests.conformance.control_plane import ControlPlane
from tests.kit.client import Object
from tests.kit.installation import Agent, Answer, Installation
from tests.kit.patience import WAIT
from tests.kit.processes import until
from tests.kit.rules import install_default_rules
from tests.kit.signals import anomaly_body, rca_body


@pytest.fixture(scope="module")
def transactional_db(django_db_setup: None, django_db_blocker: DjangoDbBlocker) -> Iterator[None]:
    """For a whole module, as long as SmartOps runs: each test has a namespace of its own."""
    with django_db_blocker.unblock():
        install_default_rules()
        GuardrailSetting.objects.create(stabilization_seconds=0)
        yield
        call_command("flush", verbosity=0, interactive=False)


KIND = "workloadKind"


@pytest.fixture(scope="module")
def namespaces() -> str:
    """Those that SmartOps manages."""
    return "*"


@pytest.fixture(scope="module")
def agent(smartops: Installation) -> Agent:
    return Agent(smartops.address)


class Loop:
    """What is said to SmartOps about the workloads of one namespace, and what it says of them."""

    def __init__(self, agent: Agent, namespace: str) -> None:
        self.agent, self.namespace, self.limits = agent, namespace, Limits()

    def limit(self, **limits: int) -> None:
        """What the judge's Limits shall be from now on, in this namespace."""
        self.limits = Limits(**limits)
        GuardrailSetting.objects.create(
            namespace=self.namespace,
            max_replicas=self.limits.replicas,
            cooldown_seconds=self.limits.cooldown,
            max_actions_per_hour=self.limits.an_hour,
            max_scale_increase=self.limits.added_in_a_quarter,
        )

    def anomaly(self, service: str, type_: str = "resource", kind: str = "", **fields: Any) -> str:
        """Reports one, of a Deployment unless a kind is named; the signal's id."""
        named = {KIND: kind} if kind else {}
        return self._report("anomaly", anomaly_body(self.namespace, service, type_, **named, **fields))

    def root_cause(self, service: str, cause: str = "memory_leak", kind: str = "", **fields: Any) -> str:
        body = rca_body(self.namespace, service, cause, **fields)
        if kind:
            body["rankedCauses"] = [{**one, KIND: kind} for one in body["rankedCauses"]]
        return self._report("rca", body)

    def ask(self, verb: str, deployment: str, **fields: Any) -> Answer:
        """For a direct action; answered when it has ended."""
        body = {"deployment": deployment, "namespace": self.namespace, **fields}
        return self.agent.post(f"/v1/k8s/{verb}", body, prefer=WAIT)

    def start(self, verb: str, deployment: str, **fields: Any) -> str:
        """A direct action whose end is not waited for: its id, once its change was made."""
        body = {"deployment": deployment, "namespace": self.namespace, **fields}
        answer = self.agent.post(f"/v1/k8s/{verb}", body, prefer="respond-async")
        assert answer.status == 202, answer
        return self.applied(answer.body["id"])

    def applied(self, action: str) -> str:
        until(lambda: self.action(action)["applied_at"] is not None)
        return action

    def signal(self, signal: str) -> Any:
        return self.agent.get(f"/v1/signals/{signal}")

    def action(self, action: str) -> Any:
        return self.agent.get(f"/v1/actions/{action}")

    def decided(self, signal: str) -> Any:
        """The signal, once it was decided on or put off. The reconciler may see that a rollout has ended a moment after
        the test: then it puts the signal off for that first."""
        return self._until_decided(signal, None, "RolloutInProgress")

    def _until_decided(self, signal: str, *not_yet: str | None) -> Any:
        until(lambda: (found := self.signal(signal))["state"] != "pending" or found["reason"] not in not_yet)
        return self.signal(signal)

    def put_off(self, signal: str, reason: str) -> Any:
        """The signal, once it waits for this. The reconciler that decided first may not have seen the target as it is
        now."""
        until(lambda: self.signal(signal)["reason"] == reason)
        return self.signal(signal)

    def held_back(self, signal: str) -> str:
        """Why nothing comes of it. The reconciler's view may lag: then its action is what was held back."""
        found = self._until_decided(signal, None)
        if found["state"] == "admitted":
            [action] = found["actions"]
            until(lambda: bool(self.action(action["id"])["reason"]))
            found = self.action(action["id"])
        return str(found["reason"])

    def ended(self, action: str) -> Any:
        until(lambda: self.action(action)["finished_at"] is not None)
        return self.action(action)

    def outcome(self, signal: str) -> Any:
        """The only action of a signal, once it has ended."""
        try:
            until(lambda: self.signal(signal)["state"] != "pending")
        except AssertionError:
            raise AssertionError(f"the signal still waits: {self.signal(signal)}") from None
        [action] = self.signal(signal)["actions"]
        return self.ended(action["id"])

    def claims(self) -> list[Claim]:
        return [
            Claim(
                action=action["id"],
                type=action["type"],
                workload=(action["target"]["namespace"], _named(action["target"])),
                applied=action["applied_at"] is not None,
                direct=action["origin"] == "direct",
            )
            for action in self.agent.items(f"/v1/actions?namespace={self.namespace}&limit=200")
        ]

    def _report(self, kind: str, body: Object) -> str:
        answer = self.agent.post(f"/v1/signals/{kind}", body)
        assert answer.status == 202, answer
        return str(answer.body["id"])


def _named(target: Object) -> str:
    """As the judge names it."""
    name, resource = str(target["name"]), f"{target.get('kind', 'Deployment').lower()}s"
    return name if resource == "deployments" else f"{resource}/{name}"


class Judge:
    """Reads the audit log of one namespace."""

    def __init__(self, control_plane: ControlPlane, namespace: str) -> None:
        self._control_plane, self._namespace = control_plane, namespace

    def violations(self, claims: list[Claim], limits: Limits | None = None) -> list[str]:
        return violations(self.events(), claims, limits)

    def changes(self) -> list[tuple[str, str]]:
        """Type and workload of each change that SmartOps made, in their order."""
        return [(write.type, write.workload[1]) for write in writes(self.events()) if write.changed]

    def events(self) -> list[Object]:
        return [one for one in self._control_plane.audit() if one["objectRef"].get("namespace") == self._namespace]


@pytest.fixture
def loop(agent: Agent, namespace: str, judge: Judge) -> Iterator[Loop]:
    """After each test, the judge finds no violation in the changes that SmartOps made."""
    found = Loop(agent, namespace)
    yield found
    assert judge.violations(found.claims(), found.limits) == []


@pytest.fixture
def judge(control_plane: ControlPlane, namespace: str) -> Judge:
    found = Judge(control_plane, namespace)
    found.events()  # without an audit log there is nothing to judge by: better to skip now
    return found


def evidence(action: Any) -> tuple[str, int, int, int]:
    seen = action["verification"]
    return seen["status"], seen["desired_replicas"], seen["ready_replicas"], seen["available_replicas"]
