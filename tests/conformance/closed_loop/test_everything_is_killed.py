"""kill -9 of the web process and of both reconcilers, all at once and amid their work: what was accepted is done, and
done once."""

from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import timedelta
from functools import partial
from http.client import HTTPException
from typing import Any

import pytest
from django.db.models.functions import Now

from orchestrator.models import Action, ActionState
from tests.conformance.loop import Judge, Loop
from tests.kit.client import Client, Object
from tests.kit.installation import Installation
from tests.kit.manifests import deployment
from tests.kit.processes import until
from tests.kit.signals import rca_body

pytestmark = pytest.mark.usefixtures("simulated_kubelet")
SERVICES = [f"service-{number}" for number in range(100)]
KILLED_AFTER = [20, 60]  # actions


def kill_and_restart(smartops: Installation) -> None:
    """As if the leases of the dead, of half a minute, were over by the time that others come."""
    smartops.kill()
    Action.objects.filter(state=ActionState.APPLYING).update(lease_until=Now() - timedelta(seconds=1))
    smartops.start(reconcilers=2)


def test_a_hundred_accepted_signals_are_a_hundred_writes(
    smartops: Installation, loop: Loop, judge: Judge, http: Client
) -> None:
    for name in SERVICES:
        http.create("deployments", deployment(name))
    for name in SERVICES:
        http.rolled_out(name)

    with ThreadPoolExecutor(4) as agents:
        accepted = agents.map(lambda name: _report_until_accepted(loop, rca_body(loop.namespace, name)), SERVICES)
        for number in KILLED_AFTER:
            until(partial(_at_least, number, applied_at__isnull=False))
            kill_and_restart(smartops)
    signals = list(accepted)
    until(partial(_at_least, len(SERVICES), state=ActionState.SUCCEEDED))

    assert len(set(signals)) == len(SERVICES)
    listed = loop.agent.items(f"/v1/signals?namespace={loop.namespace}&limit=200")
    assert {one["id"] for one in listed if one["state"] == "admitted" and one["closed_at"]} == set(signals)
    actions = loop.agent.items(f"/v1/actions?namespace={loop.namespace}&limit=200")
    assert sorted(one["target"]["name"] for one in actions) == sorted(SERVICES)
    # The log cannot tell whether a write landed whose author died before the answer. The object can: each change of its
    # spec has moved its generation by one.
    found = http.get("deployments")["items"]
    assert {one["metadata"]["generation"] for one in found} == {2}
    done_by = {one["metadata"]["name"]: _restarted_by(one) for one in found}
    assert done_by == {one["target"]["name"]: one["id"] for one in actions}
    assert judge.violations(loop.claims(), loop.limits) == []


def test_a_deployment_that_took_the_name_of_a_killed_ones_target_is_not_touched(
    smartops: Installation, loop: Loop, judge: Judge, http: Client
) -> None:
    http.create("deployments", deployment("web", sim={"ready_after": "1h"}))
    action = loop.start("scale", "web", replicas=2)

    smartops.kill()
    http.send("DELETE", "deployments/web")
    http.create("deployments", deployment("web"))
    smartops.start(reconcilers=2)

    ended = loop.ended(action)
    assert (ended["state"], ended["reason"]) == ("failed", "TargetReplaced")
    assert http.rolled_out("web")["metadata"]["generation"] == 1
    assert judge.changes() == [("SCALE", "web")]


def _at_least(number: int, **such: Any) -> bool:
    return Action.objects.filter(**such).count() >= number


def _report_until_accepted(loop: Loop, body: Object) -> str:
    """As an agent does: the same report again where it got no answer. The signal's id."""
    while True:
        with suppress(OSError, HTTPException):
            answer = loop.agent.post("/v1/signals/rca", body)
            assert answer.status == 202, answer
            return str(answer.body["id"])


def _restarted_by(found: Object) -> Any:
    return found["spec"]["template"]["metadata"]["annotations"].get("smartops.io/restart")
