"""What others state is left alone, with the words what to do; what nobody states is not."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from guardrails.models import GuardrailSetting
from tests.conformance.loop import Judge, Loop
from tests.conformance.ownership.service import SERVICE, Runs
from tests.kit.client import APPLY, MERGE, Client, Object
from tests.kit.kubectl import Kubectl
from tests.kit.manifests import deployment
from tests.kit.processes import until

pytestmark = pytest.mark.usefixtures("simulated_kubelet")
IN_GIT = "change it in Git, or leave the field out there"
FLUX_LABELS = {"kustomize.toolkit.fluxcd.io/name": "apps", "kustomize.toolkit.fluxcd.io/namespace": "flux-system"}
PODINFO = {"backend": (1, 2), "database-replica": (2, 3), "frontend": (2, 4), "podinfo": (2, 4)}


@dataclass(frozen=True)
class Neighbours:
    """Each states the whole service, the first time and again, as it does in its own clusters."""

    http: Client
    kubectl: Kubectl
    namespace: str

    def argo_cd_server_side(self, **spec: Any) -> None:
        self.apply("argocd-controller", self._tracked(spec))

    def argo_cd_client_side(self, **spec: Any) -> None:
        stated = json.dumps(self._tracked(spec))
        applied = self.kubectl("apply", "--field-manager=argocd-controller", "-f", "-", stdin=stated)
        assert applied.code == 0, applied

    def flux(self, **spec: Any) -> None:
        stated = deployment(SERVICE, **spec)
        stated["metadata"]["labels"] = FLUX_LABELS
        self.apply("kustomize-controller", stated)

    def helm(self, **spec: Any) -> None:
        stated = deployment(SERVICE, **spec)
        stated["metadata"]["annotations"] = {"meta.helm.sh/release-name": "shop"}
        self._update("helm", stated)

    def operator(self, **spec: Any) -> None:
        """A real owner: without one, the API server would take its dependents away."""
        self.http.send("POST", "configmaps", {"metadata": {"name": "shop"}})
        uid = self.http.get("configmaps/shop")["metadata"]["uid"]
        owner = {"apiVersion": "v1", "kind": "ConfigMap", "name": "shop", "uid": uid, "controller": True}
        stated = deployment(SERVICE, **spec)
        stated["metadata"]["ownerReferences"] = [owner]
        self._update("shop-operator", stated)

    def _tracked(self, spec: dict[str, Any]) -> Object:
        stated = deployment(SERVICE, **spec)
        mark = f"shop:apps/Deployment:{self.namespace}/{SERVICE}"
        stated["metadata"] |= {"namespace": self.namespace, "annotations": {"argocd.argoproj.io/tracking-id": mark}}
        return stated

    def apply(self, manager: str, stated: Object) -> None:
        path, query = f"deployments/{SERVICE}", {"fieldManager": manager, "force": "true"}
        status, said = self.http.send("PATCH", path, stated, APPLY, **query)
        assert status in (200, 201), said

    def _update(self, manager: str, stated: Object) -> None:
        status, said = self.http.send("POST", "deployments", stated, fieldManager=manager)
        if status == 409:
            status, said = self.http.send("PATCH", f"deployments/{SERVICE}", stated, MERGE, fieldManager=manager)
        assert status in (200, 201), said


@pytest.fixture
def neighbours(http: Client, kubectl: Kubectl, namespace: str) -> Neighbours:
    return Neighbours(http, kubectl, namespace)


State = Callable[..., None]
REVERTING = {
    "Argo CD, server-side": (Neighbours.argo_cd_server_side, "Argo CD Application shop", IN_GIT),
    "Argo CD, client-side": (Neighbours.argo_cd_client_side, "Argo CD Application shop", IN_GIT),
    "Flux": (Neighbours.flux, "Flux Kustomization flux-system/apps", IN_GIT),
    "an operator": (Neighbours.operator, "ConfigMap shop", "change it there"),
}


@pytest.mark.parametrize(("state", "who", "instead"), REVERTING.values(), ids=REVERTING)
def test_a_field_with_an_owner_is_left_alone_until_owners_are_not_respected(
    neighbours: Neighbours, loop: Loop, judge: Judge, http: Client, state: State, who: str, instead: str
) -> None:
    state(neighbours, replicas=2)
    http.rolled_out(SERVICE)

    status, problem = loop.ask("scale", SERVICE, replicas=3)
    signal = loop.anomaly(SERVICE)

    assert (status, problem["reason"]) == (409, "FieldOwned")
    assert problem["detail"] == f"{who} would set spec.replicas back: {instead}."
    assert problem["details"] == {"owners": {who: ["spec.replicas"]}}
    assert loop.held_back(signal) == "FieldOwned"
    assert loop.signal(signal)["message"] == problem["detail"]
    assert judge.changes() == []

    GuardrailSetting.objects.create(namespace=loop.namespace, workload=SERVICE, respect_owners=False)
    until(lambda: bool(loop.signal(signal)["state"] == "admitted"))
    assert loop.outcome(signal)["state"] == "succeeded"
    assert judge.changes() == [("SCALE", SERVICE)]
    assert http.get(f"deployments/{SERVICE}")["spec"]["replicas"] == 3

    state(neighbours, replicas=2)  # as it does whenever it looks: the refusal was right
    assert http.get(f"deployments/{SERVICE}")["spec"]["replicas"] == 2


ALL = {**{name: state for name, (state, *_) in REVERTING.items()}, "Helm": Neighbours.helm}


@pytest.mark.parametrize("state", ALL.values(), ids=ALL)
def test_a_restart_is_nobodys_and_nobody_takes_it_back(
    neighbours: Neighbours, loop: Loop, judge: Judge, http: Client, state: State
) -> None:
    state(neighbours, replicas=2)
    http.rolled_out(SERVICE)

    status, answer = loop.ask("restart", SERVICE)
    restarted = http.get(f"deployments/{SERVICE}")
    state(neighbours, replicas=2)

    assert (status, answer["verification"]["status"]) == (200, "SUCCESS")
    assert judge.changes() == [("RESTART", SERVICE)]
    now = http.get(f"deployments/{SERVICE}")
    assert now["spec"]["template"] == restarted["spec"]["template"]
    assert now["metadata"]["generation"] == restarted["metadata"]["generation"]


def test_helm_is_named_as_a_manager_and_blocks_nothing(
    neighbours: Neighbours, loop: Loop, judge: Judge, http: Client
) -> None:
    neighbours.helm(replicas=2)
    http.rolled_out(SERVICE)

    status, answer = loop.ask("scale", SERVICE, replicas=3)

    assert (status, answer["success"], judge.changes()) == (200, True, [("SCALE", SERVICE)])
    planned = loop.action(answer["details"]["action"])["decisions"][-1]
    [said] = [verdict["message"] for verdict in planned["verdicts"] if verdict["guardrail"] == "field_owners"]
    assert said == "Allowed, but the next upgrade of Helm release shop sets spec.replicas back."


def test_a_field_that_gitops_leaves_out_is_ours_and_stays_as_we_set_it(
    neighbours: Neighbours, loop: Loop, judge: Judge, http: Client
) -> None:
    stated = deployment(SERVICE)
    del stated["spec"]["replicas"]
    neighbours.apply("kustomize-controller", stated)
    http.rolled_out(SERVICE)

    assert loop.ask("scale", SERVICE, replicas=3).status == 200
    neighbours.apply("kustomize-controller", stated)

    assert judge.changes() == [("SCALE", SERVICE)]
    assert http.get(f"deployments/{SERVICE}")["spec"]["replicas"] == 3


def test_omitted_replicas_are_one_and_can_be_added_to(loop: Loop, judge: Judge, http: Client) -> None:
    stated = deployment(SERVICE)
    del stated["spec"]["replicas"]
    http.create("deployments", stated)
    http.rolled_out(SERVICE)

    action = loop.outcome(loop.anomaly(SERVICE))

    assert (action["state"], action["before"]["replicas"], action["change"]) == ("succeeded", 1, {"replicas": 2})
    assert judge.changes() == [("SCALE", SERVICE)]


def autoscaler(name: str, least: int, most: int) -> Object:
    reference = {"apiVersion": "apps/v1", "kind": "Deployment", "name": name}
    cpu = {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 99}}
    metrics = [{"type": "Resource", "resource": cpu}]
    spec = {"scaleTargetRef": reference, "minReplicas": least, "maxReplicas": most, "metrics": metrics}
    return {"metadata": {"name": name}, "spec": spec}


def sees(loop: Loop, name: str, *, autoscaled: bool) -> None:
    """Until the reconciler's watch has brought it: a dry run is judged, and changes nothing."""
    status = 409 if autoscaled else 200
    until(lambda: loop.ask("scale", name, replicas=3, dry_run=True).status == status)


def test_podinfo_is_scaled_by_its_autoscalers_and_by_nobody_else(
    loop: Loop, judge: Judge, http: Client, kubectl: Kubectl
) -> None:
    """Four workloads that leave `spec.replicas` out and have an autoscaler each."""
    for name, (least, most) in PODINFO.items():
        stated = deployment(name)
        del stated["spec"]["replicas"]
        http.create("deployments", stated)
        http.create("horizontalpodautoscalers", autoscaler(name, least, most))
    for name in PODINFO:
        http.rolled_out(name)
        sees(loop, name, autoscaled=True)

    for name, (least, most) in PODINFO.items():
        status, problem = loop.ask("scale", name, replicas=3)
        assert (status, problem["reason"]) == (409, "Autoscaled")
        assert problem["details"] == {"autoscaler": name, "min_replicas": least, "max_replicas": most}
        assert problem["detail"] == (
            f"HorizontalPodAutoscaler {name} sets the replicas of {loop.namespace}/{name}, from {least} to {most}: "
            "change its minReplicas or maxReplicas instead."
        )
        by_patch = loop.ask("patch", name, patch={"spec": {"replicas": 3}})
        assert (by_patch.status, by_patch.body["reason"]) == (409, "Autoscaled")
        signal = loop.decided(loop.anomaly(name))
        assert (signal["state"], signal["message"]) == ("pending", problem["detail"])
        assert loop.ask("restart", name).status == 200
    assert judge.changes() == [("RESTART", name) for name in PODINFO]
    listed = kubectl("get", "hpa", "--no-headers", "-o", "custom-columns=:.spec.scaleTargetRef.name").said.split()
    assert listed == list(PODINFO)


def test_a_deleted_autoscaler_frees_the_workload_whatever_it_wrote(
    loop: Loop, judge: Judge, http: Client, runs: Runs
) -> None:
    runs(replicas=1)
    http.create("horizontalpodautoscalers", autoscaler(SERVICE, 2, 4))
    sees(loop, SERVICE, autoscaled=True)
    path, scale = f"deployments/{SERVICE}/scale", {"spec": {"replicas": 2}}
    http.patch(path, scale, fieldManager="kube-controller-manager")  # as its controller does
    http.rolled_out(SERVICE, generation=2)
    writers = {
        entry["manager"]: entry.get("subresource")
        for entry in http.get(f"deployments/{SERVICE}")["metadata"]["managedFields"]
        if "f:replicas" in entry["fieldsV1"].get("f:spec", {})
    }
    assert writers == {"kube-controller-manager": "scale"}

    http.send("DELETE", f"horizontalpodautoscalers/{SERVICE}")
    sees(loop, SERVICE, autoscaled=False)

    assert loop.ask("scale", SERVICE, replicas=3).status == 200
    assert judge.changes() == [("SCALE", SERVICE)]


def test_an_autoscaler_that_rests_at_none_holds_nothing_back(
    loop: Loop, judge: Judge, http: Client, runs: Runs
) -> None:
    runs(replicas=1)
    http.create("horizontalpodautoscalers", autoscaler(SERVICE, 2, 4))
    sees(loop, SERVICE, autoscaled=True)
    http.patch(f"deployments/{SERVICE}", {"spec": {"replicas": 0}})

    status, answer = loop.ask("scale", SERVICE, replicas=2)
    again = loop.ask("scale", SERVICE, replicas=3)

    assert (status, answer["success"]) == (200, True)
    assert (again.status, again.body["reason"]) == (409, "Autoscaled")
    assert judge.changes() == [("SCALE", SERVICE)]


def test_a_paused_workload_is_scaled_and_not_restarted(
    loop: Loop, judge: Judge, http: Client, runs: Runs, kubectl: Kubectl
) -> None:
    runs(replicas=1)
    assert kubectl("rollout", "pause", f"deployment/{SERVICE}").code == 0

    status, problem = loop.ask("restart", SERVICE)
    signal = loop.root_cause(SERVICE)

    assert (status, problem["reason"]) == (409, "TargetPaused")
    assert problem["detail"].endswith("run kubectl rollout resume first.")
    assert loop.held_back(signal) == "TargetPaused"
    assert kubectl("rollout", "restart", f"deployment/{SERVICE}").code == 1  # kubectl does not either
    status, answer = loop.ask("scale", SERVICE, replicas=2)
    assert (status, answer["verification"]["status"]) == (200, "SUCCESS")
    annotated = {"template": {"metadata": {"annotations": {"tier": "web"}}}}
    assert loop.ask("patch", SERVICE, patch={"spec": annotated}).status == 409
    status, answer = loop.ask("patch", SERVICE, patch={"spec": {**annotated, "paused": False}})
    assert (status, answer["verification"]["status"]) == (200, "SUCCESS")
    assert judge.changes() == [("SCALE", SERVICE), ("PATCH", SERVICE)]


def test_a_workload_that_is_being_deleted_is_left_alone(loop: Loop, judge: Judge, http: Client) -> None:
    stated = deployment(SERVICE)
    stated["metadata"]["finalizers"] = ["example.com/keep"]
    http.create("deployments", stated)
    http.rolled_out(SERVICE)
    http.send("DELETE", f"deployments/{SERVICE}")
    try:
        status, problem = loop.ask("scale", SERVICE, replicas=2)
        signal = loop.held_back(loop.root_cause(SERVICE))
    finally:
        http.patch(f"deployments/{SERVICE}", {"metadata": {"finalizers": None}})

    assert (status, problem["reason"]) == (409, "TargetBeingDeleted")
    assert signal == "TargetBeingDeleted"
    assert judge.changes() == []
