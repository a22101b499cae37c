"""Each change and each refusal is one Event on the workload, as whoever looks there first sees it."""

from typing import Any

import pytest

from guardrails.models import Freeze, GuardrailSetting
from tests.conformance.given_up import until_given_up
from tests.conformance.loop import Loop
from tests.conformance.ownership.service import SERVICE, Runs
from tests.kit.client import Client, Object
from tests.kit.kubectl import Kubectl
from tests.kit.manifests import deployment
from tests.kit.processes import until

pytestmark = pytest.mark.usefixtures("simulated_kubelet")
MORE_MEMORY = {"containers": [{"name": "app", "resources": {"limits": {"memory": "64Mi"}}}]}


class Told:
    """The Events of SmartOps on the service, in the order in which they were written. The reconciler may see that a
    rollout has ended a moment after the test: what it says of a signal that waited for that is left out."""

    def __init__(self, http: Client) -> None:
        self._http = http

    def after(self, last: str) -> list[tuple[str, str]]:
        """Type and reason of each, once there is one of the reason `last`."""
        self._http.wait("events", lambda event: event["reason"] == last and _ours(event))
        return [(event["type"], event["reason"]) for event in self.all()]

    def all(self) -> list[Object]:
        found = filter(_ours, self._http.get("events", fieldSelector=f"involvedObject.name={SERVICE}")["items"])
        return sorted(found, key=lambda event: int(event["metadata"]["resourceVersion"]))


def _ours(event: Object) -> bool:
    return bool(event["source"].get("component") == "smartops" and event["reason"] != "RolloutInProgress")


@pytest.fixture
def events(http: Client) -> Told:
    return Told(http)


def managers(obj: Object) -> dict[str, Object]:
    return {entry["manager"]: entry["fieldsV1"] for entry in obj["metadata"]["managedFields"]}


def test_each_action_is_one_event_and_is_signed(
    loop: Loop, http: Client, kubectl: Kubectl, runs: Runs, events: Told
) -> None:
    uid = runs(replicas=2)["metadata"]["uid"]

    answers = [
        loop.ask("scale", SERVICE, replicas=3),
        loop.ask("restart", SERVICE, reason="it leaks"),
        loop.ask("patch", SERVICE, patch={"spec": {"template": {"spec": MORE_MEMORY}}}),
    ]

    assert events.after("Patched") == [("Normal", "Scaled"), ("Normal", "Restarted"), ("Normal", "Patched")]
    actions = [answer.body["details"]["action"] for answer in answers]
    by = "requested by token:an agent"
    assert [event["message"] for event in events.all()] == [
        f"Scaled from 2 to 3 replicas (action {actions[0]}, {by})",
        f"Restarted all pods (action {actions[1]}, {by}): it leaks",
        f"Patched spec.template.spec.containers[name=app].resources.limits.memory (action {actions[2]}, {by})",
    ]
    assert {event["involvedObject"]["uid"] for event in events.all()} == {uid}
    assert {tuple(managers(event)) for event in events.all()} == {("smartops",)}
    described = kubectl("describe", "deployment", SERVICE).said
    for event in events.all():
        assert event["message"] in described
    listed = kubectl("get", "events", "--field-selector", "reportingComponent=smartops.io/orchestrator", "-o", "name")
    assert len(listed.said.split()) == 3

    ours = managers(http.get(f"deployments/{SERVICE}"))["smartops"]
    template = ours["f:spec"]["f:template"]
    assert "f:replicas" in ours["f:spec"]
    assert "f:smartops.io/action" in ours["f:metadata"]["f:annotations"]
    assert "f:smartops.io/restart" in template["f:metadata"]["f:annotations"]
    assert "f:memory" in str(template["f:spec"]["f:containers"])


def test_an_event_of_a_signals_action_names_the_rule(loop: Loop, runs: Runs, events: Told) -> None:
    runs(replicas=2)

    action = loop.outcome(loop.anomaly(SERVICE))

    assert events.after("Scaled") == [("Normal", "Scaled")]
    [event] = events.all()
    assert action["id"] in event["message"]
    assert event["message"].endswith(f": {action['justification']}")


def test_a_change_that_comes_to_no_good_end_is_told_twice(
    loop: Loop, http: Client, kubectl: Kubectl, events: Told
) -> None:
    http.create("deployments", deployment(SERVICE, sim={"outcome": "crash"}, progressDeadlineSeconds=1))
    until_given_up(http, SERVICE)  # a restart may help: there is no other revision

    action = loop.outcome(loop.root_cause(SERVICE))

    assert (action["state"], action["reason"]) == ("failed", "ProgressDeadlineExceeded")
    ends = [("Normal", "Restarted"), ("Warning", "ProgressDeadlineExceeded")]
    assert events.after("ProgressDeadlineExceeded") == ends
    assert action["message"] in kubectl("describe", "deployment", SERVICE).said


def test_a_direct_action_that_the_cluster_forbids_is_told_once_each_time(
    loop: Loop, runs: Runs, kubectl: Kubectl, events: Told
) -> None:
    runs()
    assert kubectl("rollout", "pause", f"deployment/{SERVICE}").code == 0

    refusals = [loop.ask("restart", SERVICE) for _ in range(2)]
    assert loop.ask("scale", SERVICE, replicas=2).status == 200

    assert events.after("Scaled") == [("Warning", "TargetPaused")] * 2 + [("Normal", "Scaled")]
    for event, refusal in zip(events.all(), refusals, strict=False):
        assert event["message"].startswith("RESTART refused (action ")
        assert event["message"].endswith(f": {refusal.body['detail']}")
    assert "TargetPaused" in kubectl("get", "events", "--field-selector", "type=Warning").said


def test_signals_that_wait_for_one_reason_make_one_event(loop: Loop, runs: Runs, events: Told) -> None:
    runs()
    freeze = Freeze.objects.create(namespace=loop.namespace, reason="an incident", by="user:ana")
    signal = loop.root_cause(SERVICE)
    decided = len(loop.put_off(signal, "Frozen")["decisions"])

    GuardrailSetting.objects.create(namespace=loop.namespace, max_replicas=7)  # all that waits is looked at again
    until(lambda: len(loop.signal(signal)["decisions"]) > decided)
    freeze.lift("user:ana", "it is over")

    assert events.after("Restarted") == [("Warning", "Frozen"), ("Normal", "Restarted")]
    assert f"(signal {signal})" in events.all()[0]["message"]


def test_dry_runs_and_refusals_of_the_web_process_make_no_event(loop: Loop, runs: Runs, events: Told) -> None:
    runs(replicas=2)

    answers: list[Any] = [
        loop.ask("scale", SERVICE, replicas=3, dry_run=True),
        loop.ask("scale", SERVICE, replicas=9),  # whoever asked knows
        loop.ask("scale", SERVICE, replicas=3),
    ]

    assert [answer.status for answer in answers] == [200, 400, 200]
    assert events.after("Scaled") == [("Normal", "Scaled")]
