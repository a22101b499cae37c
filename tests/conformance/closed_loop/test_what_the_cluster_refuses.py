"""A real API server refuses a change, or the pods that it leads to: what the cluster says is reported, and nothing is
done twice. The sandbox has neither quotas nor admission."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from guardrails.models import GuardrailSetting
from tests.conformance.control_plane import ControlPlane
from tests.conformance.loop import Judge, Loop
from tests.kit.client import Client, Object
from tests.kit.manifests import deployment
from tests.kit.processes import until

pytestmark = pytest.mark.usefixtures("simulated_kubelet")
SERVICE = "erp-simulator"
QUOTA = {
    "apiVersion": "v1",
    "kind": "ResourceQuota",
    "metadata": {"name": "pods"},
    "spec": {"hard": {"pods": "5"}},
}
WEBHOOKS = "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations"


@pytest.fixture(autouse=True, scope="module")  # before SmartOps starts
def real(control_plane: ControlPlane) -> None:
    if not control_plane.real:
        pytest.skip("the sandbox has neither quotas nor admission")


@pytest.fixture
def full(http: Client) -> None:
    """A namespace whose quota of pods is used up: 3 run the service, and 2 a shop."""
    http.create("deployments", deployment(SERVICE, replicas=3))
    shop = deployment("shop", replicas=2)
    shop["spec"]["strategy"] = {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}}
    http.create("deployments", shop)
    for name in (SERVICE, "shop"):
        http.rolled_out(name)
    http.create("resourcequotas", QUOTA)
    http.patch("resourcequotas/pods/status", {"status": {"hard": {"pods": "5"}, "used": {"pods": "5"}}})
    until_no_pod_is_admitted(http, "exceeded quota: pods")


def until_no_pod_is_admitted(http: Client, message: str) -> None:
    """The API server's admission hears a moment later of what restricts it."""
    pod = {**deployment(SERVICE)["spec"]["template"], "metadata": {"name": "another"}}
    until(lambda: message in str(http.send("POST", "pods", pod, dryRun="All")))


@pytest.mark.usefixtures("full")
def test_a_quota_is_reported_and_no_further_replica_is_added(loop: Loop, judge: Judge, http: Client) -> None:
    GuardrailSetting.objects.create(namespace=loop.namespace, cooldown_seconds=0)
    loop.limits = type(loop.limits)(cooldown=0)

    signals = loop.anomaly(SERVICE, "latency"), loop.root_cause("shop")
    scaled, restarted = map(loop.outcome, signals)  # pods that are being deleted would have freed the quota by then
    second, third = (loop.decided(loop.anomaly(SERVICE, type_)) for type_ in ("latency", "resource"))

    for action in (scaled, restarted):
        assert (action["state"], action["reason"]) == ("failed", "ReplicaFailure")
        assert "exceeded quota: pods" in action["verification"]["message"]
    for waits in (second, third):
        assert (waits["state"], waits["reason"]) == ("pending", "ReplicasMissing")
        assert "exceeded quota: pods" in waits["message"]
    assert http.get(f"deployments/{SERVICE}")["spec"]["replicas"] == 4
    assert sorted(judge.changes()) == [("RESTART", "shop"), ("SCALE", SERVICE)]


def test_a_policy_that_refuses_the_pods_ends_the_verification_at_once(
    loop: Loop, control_plane: ControlPlane, http: Client
) -> None:
    http.create("deployments", deployment(SERVICE, replicas=2))
    http.rolled_out(SERVICE)
    enforce = {"pod-security.kubernetes.io/enforce": "restricted"}
    http.patch(f"/api/v1/namespaces/{loop.namespace}", {"metadata": {"labels": enforce}})
    until_no_pod_is_admitted(http, "violates PodSecurity")

    action = loop.outcome(loop.root_cause(SERVICE))

    assert (action["state"], action["reason"]) == ("failed", "ReplicaFailure")
    assert 'violates PodSecurity "restricted:latest"' in action["verification"]["message"]


@contextmanager
def broken_webhook(http: Client, namespace: str) -> Iterator[None]:
    """Admits no change of a Deployment of the namespace, as it cannot be called."""
    hook: Object = {
        "name": "check.policy.example.com",
        "failurePolicy": "Fail",
        "sideEffects": "None",
        "admissionReviewVersions": ["v1"],
        "timeoutSeconds": 2,
        "clientConfig": {"url": "https://127.0.0.1:9/validate"},
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}},
        "rules": [
            {"apiGroups": ["apps"], "apiVersions": ["v1"], "operations": ["UPDATE"], "resources": ["deployments"]}
        ],
    }
    configuration = {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingWebhookConfiguration",
        "metadata": {"name": namespace},
        "webhooks": [hook],
    }
    http.create(WEBHOOKS, configuration)
    try:
        yield
    finally:
        http.send("DELETE", f"{WEBHOOKS}/{namespace}")


def test_a_webhook_that_cannot_be_called_postpones_the_change_until_it_is_gone(
    loop: Loop, judge: Judge, http: Client
) -> None:
    http.create("deployments", deployment(SERVICE, replicas=2))
    http.rolled_out(SERVICE)

    with broken_webhook(http, loop.namespace):
        until(lambda: http.send("PATCH", f"deployments/{SERVICE}", {}, "application/merge-patch+json")[0] == 500)
        signal = loop.anomaly(SERVICE)
        until(lambda: loop.signal(signal)["actions"] != [])
        [known] = loop.signal(signal)["actions"]
        until(lambda: loop.action(known["id"])["reason"] == "AdmissionUnavailable")
        waits = loop.action(known["id"])

    assert waits["state"] == "pending"
    assert 'failed calling webhook "check.policy.example.com"' in waits["message"]
    assert loop.ended(known["id"])["state"] == "succeeded"
    assert judge.changes() == [("SCALE", SERVICE)]
    assert [one["to_state"] for one in loop.action(known["id"])["timeline"]].count("applying") < 12
