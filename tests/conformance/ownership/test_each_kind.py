"""Fields of a StatefulSet and a DaemonSet that others state are left alone, as those of a Deployment."""

import json
from collections.abc import Callable

import pytest

from signals.types import Kind
from tests.conformance.kinds import SETS, Sample, Samples, nodes, sample
from tests.conformance.loop import Judge, Loop
from tests.kit.client import APPLY, Client, Object
from tests.kit.kubectl import Kubectl
from tests.kit.processes import until

pytestmark = pytest.mark.usefixtures("simulated_kubelet")
FIELD = "spec.revisionHistoryLimit"  # of every kind, and on the allowlist
IN_GIT = "change it in Git, or leave the field out there"
State = Callable[[Sample, Kubectl], None]


def argo_cd_server_side(erp: Sample, _: Kubectl) -> None:
    apply(erp, "argocd-controller", tracked(erp))


def argo_cd_client_side(erp: Sample, kubectl: Kubectl) -> None:
    applied = kubectl("apply", "--field-manager=argocd-controller", "-f", "-", stdin=json.dumps(tracked(erp)))
    assert applied.code == 0, applied


def flux(erp: Sample, _: Kubectl) -> None:
    stated = erp.manifest(revisionHistoryLimit=3)
    name = "kustomize.toolkit.fluxcd.io/name"
    stated["metadata"]["labels"] = {name: "apps", "kustomize.toolkit.fluxcd.io/namespace": "flux-system"}
    apply(erp, "kustomize-controller", stated)


def operator(erp: Sample, _: Kubectl) -> None:
    """A real owner: without one, the API server would delete its dependents."""
    owner = erp.http.create("configmaps", {"metadata": {"name": "shop"}})["metadata"]["uid"]
    stated = erp.manifest(revisionHistoryLimit=3)
    reference = {"apiVersion": "v1", "kind": "ConfigMap", "name": "shop", "uid": owner, "controller": True}
    stated["metadata"]["ownerReferences"] = [reference]
    erp.http.create(erp.resource, stated, fieldManager="shop-operator")


def tracked(erp: Sample) -> Object:
    stated = erp.manifest(revisionHistoryLimit=3)
    mark = f"shop:apps/{erp.kind}:{erp.namespace}/{erp.name}"
    stated["metadata"] |= {"namespace": erp.namespace, "annotations": {"argocd.argoproj.io/tracking-id": mark}}
    return stated


def apply(erp: Sample, manager: str, stated: Object) -> None:
    status, said = erp.http.send("PATCH", erp.path, stated, APPLY, fieldManager=manager, force="true")
    assert status in (200, 201), said


REVERTING = {
    "Argo CD, server-side": (argo_cd_server_side, "Argo CD Application shop", IN_GIT),
    "Argo CD, client-side": (argo_cd_client_side, "Argo CD Application shop", IN_GIT),
    "Flux": (flux, "Flux Kustomization flux-system/apps", IN_GIT),
    "an operator": (operator, "ConfigMap shop", "change it there"),
}


@SETS
@pytest.mark.parametrize(("state", "who", "instead"), REVERTING.values(), ids=REVERTING)
def test_a_field_with_an_owner_is_left_alone_and_a_restart_is_not(
    sample: Samples, kubectl: Kubectl, loop: Loop, judge: Judge, state: State, who: str, instead: str, kind: Kind
) -> None:
    erp = sample(kind)
    state(erp, kubectl)
    erp.rolled_out()

    status, problem = loop.ask("patch", erp.name, kind=kind, patch={"spec": {"revisionHistoryLimit": 5}})
    restarted, answer = loop.ask("restart", erp.name, kind=kind)

    assert (status, problem["reason"]) == (409, "FieldOwned")
    assert problem["detail"] == f"{who} would set {FIELD} back: {instead}."
    assert problem["details"] == {"owners": {who: [FIELD]}}
    assert (restarted, answer["verification"]["status"]) == (200, "SUCCESS")
    assert judge.changes() == [("RESTART", erp.path)]


def test_a_stateful_set_is_scaled_by_its_autoscaler_and_by_nobody_else(
    sample: Samples, http: Client, loop: Loop, judge: Judge
) -> None:
    erp = sample(Kind.STATEFUL_SET)
    erp.create()
    reference = {"apiVersion": "apps/v1", "kind": "StatefulSet", "name": erp.name}
    spec = {"scaleTargetRef": reference, "minReplicas": 2, "maxReplicas": 4}
    http.create("horizontalpodautoscalers", {"metadata": {"name": "hpa"}, "spec": spec})
    until(lambda: loop.ask("scale", erp.name, kind=erp.kind, replicas=3, dry_run=True).status == 409)

    status, problem = loop.ask("scale", erp.name, kind=erp.kind, replicas=3)
    signal = loop.anomaly(erp.name, kind=erp.kind)

    assert (status, problem["reason"]) == (409, "Autoscaled")
    assert problem["detail"].startswith(
        f"HorizontalPodAutoscaler hpa sets the replicas of StatefulSet {erp.namespace}/"
    )
    assert loop.held_back(signal) == "Autoscaled"
    assert loop.ask("restart", erp.name, kind=erp.kind).status == 200
    assert judge.changes() == [("RESTART", erp.path)]


@SETS
def test_a_part_of_smartops_is_left_alone_whatever_its_kind(
    sample: Samples, loop: Loop, judge: Judge, kind: Kind
) -> None:
    erp = sample(kind)
    made = erp.manifest()
    made["metadata"]["labels"] = {"app.kubernetes.io/part-of": "smartops"}
    erp.http.create(erp.resource, made)
    erp.rolled_out()

    status, problem = loop.ask("restart", erp.name, kind=kind)

    assert (status, problem["reason"], judge.changes()) == (409, "OwnWorkload", [])


__all__ = ["nodes", "sample"]
