"""Who else writes a Deployment, by objects as they are found in clusters."""

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.k8s.owners import LAST_APPLIED
from orchestrator.k8s.parse import parse_workload
from orchestrator.k8s.target import TargetState
from signals.proposals import PROPOSAL_TYPES
from signals.types import ActionType

Object = dict[str, Any]
REPLICAS: Object = {"f:spec": {"f:replicas": {}}}
SELECTOR = {"matchLabels": {"app": "web"}}
MANIFEST: Object = {
    "apiVersion": "apps/v1",
    "kind": "Deployment",
    "metadata": {"name": "web", "namespace": "shop", "labels": {"app": "web"}},
    "spec": {
        "replicas": 2,
        "selector": SELECTOR,
        "template": {
            "metadata": {"labels": {"app": "web"}},
            "spec": {"containers": [{"name": "app", "image": "web:1", "resources": {"limits": {"memory": "64Mi"}}}]},
        },
    },
}
CONTAINER: Object = {
    ".": {},
    "f:image": {},
    "f:name": {},
    "f:resources": {".": {}, "f:limits": {".": {}, "f:memory": {}}},
}
APPLIED: Object = {  # server-side: what the manifest states
    "f:metadata": {"f:labels": {"f:app": {}}},
    "f:spec": {
        "f:replicas": {},
        "f:selector": {},
        "f:template": {
            "f:metadata": {"f:labels": {"f:app": {}}},
            "f:spec": {"f:containers": {'k:{"name":"app"}': CONTAINER}},
        },
    },
}
WRITTEN: Object = {  # by a client that creates or updates it: the API's defaults as well
    "f:metadata": {"f:annotations": {".": {}, f"f:{LAST_APPLIED}": {}}, "f:labels": {".": {}, "f:app": {}}},
    "f:spec": {
        "f:progressDeadlineSeconds": {},
        "f:replicas": {},
        "f:revisionHistoryLimit": {},
        "f:selector": {},
        "f:strategy": {
            "f:rollingUpdate": {".": {}, "f:maxSurge": {}, "f:maxUnavailable": {}},
            "f:type": {},
        },
        "f:template": {
            "f:metadata": {"f:labels": {".": {}, "f:app": {}}},
            "f:spec": {
                "f:containers": {'k:{"name":"app"}': {**CONTAINER, "f:imagePullPolicy": {}}},
                "f:dnsPolicy": {},
                "f:restartPolicy": {},
                "f:securityContext": {},
            },
        },
    },
}
MEMORY = "spec.template.spec.containers[name=app].resources.limits.memory"
STATED = ("metadata.labels.app", "spec.replicas", "spec.template.metadata.labels.app", MEMORY)
STATUS = {"manager": "kube-controller-manager", "operation": "Update", "subresource": "status",
          "fieldsV1": {"f:status": {"f:replicas": {}}}, "fieldsType": "FieldsV1"}  # fmt: skip
LAST = json.dumps(MANIFEST)
TRACKED = {"argocd.argoproj.io/tracking-id": "shop:apps/Deployment:shop/web"}
KUSTOMIZED = {"kustomize.toolkit.fluxcd.io/name": "apps", "kustomize.toolkit.fluxcd.io/namespace": "flux-system"}


def entry(manager: str, fields: Object, operation: str = "Update") -> Object:
    return {"manager": manager, "operation": operation, "apiVersion": "apps/v1", "fieldsV1": fields}


def deployment(
    *entries: Object, labels: Object | None = None, annotations: Object | None = None, **metadata: Any
) -> Object:
    marks = {"labels": {"app": "web"} | (labels or {}), "annotations": annotations or {}}
    known = {"name": "web", "namespace": "shop", "uid": "uid-1", "resourceVersion": "7"}
    return {"metadata": {**known, **marks, "managedFields": [*entries, STATUS], **metadata}, "spec": MANIFEST["spec"]}


def controlled_by(kind: str, name: str) -> Object:
    return {"ownerReferences": [{"kind": "Team", "name": "shop"}, {"kind": kind, "name": name, "controller": True}]}


def owners(raw: Object) -> dict[str, tuple[str, ...]]:
    """But for the selector, which nobody can change."""
    return {
        str(owner): tuple(field for field in owner.fields if not field.startswith("spec.selector"))
        for owner in parse_workload(raw).owners
    }


def holds_back(raw: Object, type_: ActionType, **params: Any) -> set[str]:
    """Who is concerned by an action."""
    seen = TargetState(seen=True, object=parse_workload(raw)).facts(PROPOSAL_TYPES[type_].fields(params))
    assert seen is not None
    return {str(owner) for owner in seen.owners}


SYSTEM_MANAGERS = {
    "the system's": deployment(),
    "kubectl apply": deployment(entry("kubectl-client-side-apply", WRITTEN), annotations={LAST_APPLIED: LAST}),
    "kubectl apply --server-side": deployment(entry("kubectl", APPLIED, "Apply")),
    "by hand": deployment(entry("kubectl-edit", REPLICAS), entry("OpenAPI-Generator", REPLICAS)),
    "autoscaled": deployment({**entry("kube-controller-manager", REPLICAS), "subresource": "scale"}),
    "ours": deployment(entry("smartops", REPLICAS), entry("before-first-apply", WRITTEN)),
    "owned, not controlled": deployment(entry("shop", WRITTEN), ownerReferences=[{"kind": "Shop", "name": "web"}]),
    "controlled, but written by others": deployment(
        *(entry(manager, REPLICAS) for manager in ("smartops", "kubectl-scale", "kube-controller-manager")),
        **controlled_by("Shop", "web"),
    ),
    "GitOps that states nothing": deployment(
        entry("kustomize-controller", {"f:metadata": {}}, "Apply"), labels=KUSTOMIZED
    ),
}


@pytest.mark.parametrize("raw", SYSTEM_MANAGERS.values(), ids=SYSTEM_MANAGERS)
def test_what_people_and_the_system_write_has_no_owner(raw: Object) -> None:
    assert owners(raw) == {}


BY_LABEL, BY_CHART = {"argocd.argoproj.io/instance": "shop"}, {"app.kubernetes.io/instance": "shop"}
GITOPS = {
    "Argo CD, server-side": (
        deployment(entry("argocd-controller", APPLIED, "Apply"), annotations=TRACKED),
        "Argo CD Application shop",
    ),
    "Argo CD, client-side": (
        deployment(entry("argocd-controller", WRITTEN), annotations=TRACKED | {LAST_APPLIED: LAST}),
        "Argo CD Application shop",
    ),
    "Argo CD, client-side, as kubectl": (
        deployment(entry("kubectl-client-side-apply", WRITTEN), annotations={LAST_APPLIED: LAST}, labels=BY_LABEL),
        "Argo CD Application shop",
    ),
    "Argo CD, not tracked": (
        deployment(entry("argocd-controller", APPLIED, "Apply"), labels=BY_CHART),
        "Argo CD",
    ),
    "Flux": (
        deployment(entry("kustomize-controller", APPLIED, "Apply"), labels=KUSTOMIZED),
        "Flux Kustomization flux-system/apps",
    ),
}


@pytest.mark.parametrize(("raw", "who"), GITOPS.values(), ids=GITOPS)
def test_gitops_owns_what_its_manifest_states(raw: Object, who: str) -> None:
    assert owners(raw) == {who: STATED}
    assert holds_back(raw, ActionType.SCALE, delta=1) == {who}
    assert holds_back(raw, ActionType.PATCH, patch={"spec": {"replicas": 3}}) == {who}
    assert holds_back(raw, ActionType.PATCH, patch={"spec": {"paused": True}}) == set()
    assert holds_back(raw, ActionType.RESTART) == set()


def test_what_argo_cd_does_not_state_is_nobodys_though_it_wrote_the_defaults() -> None:
    spec = {name: value for name, value in MANIFEST["spec"].items() if name != "replicas"}
    last = json.dumps(MANIFEST | {"spec": spec})
    raw = deployment(entry("argocd-controller", WRITTEN), annotations=TRACKED | {LAST_APPLIED: last})

    assert holds_back(raw, ActionType.SCALE, delta=1) == set()


DEEP = '{"a":' * 100_000  # an annotation has room for it, and one object must not blind the watch to all others


@pytest.mark.parametrize("last", [None, "", "no json", DEEP, "[]", "null", '{"spec": 7}', '{"spec": {"template": []}}'])
def test_where_what_argo_cd_applied_cannot_be_read_it_owns_what_it_wrote(last: str | None) -> None:
    annotations = TRACKED if last is None else TRACKED | {LAST_APPLIED: last}
    readable = last in ("[]", "null", '{"spec": 7}', '{"spec": {"template": []}}')

    found = owners(deployment(entry("argocd-controller", WRITTEN), annotations=annotations))

    assert ("spec.replicas" in found.get("Argo CD Application shop", ())) is not readable


def test_an_operator_that_copied_its_own_mark_made_no_application_the_owner() -> None:
    copied = {"argocd.argoproj.io/tracking-id": "shop:example.com/Shop:shop/main", LAST_APPLIED: LAST}
    assert owners(deployment(entry("shop-operator", WRITTEN), annotations=copied)) == {}


@pytest.mark.parametrize(
    ("labels", "annotations"),
    [
        ({"kustomize.toolkit.fluxcd.io/reconcile": "disabled"}, {}),
        ({}, {"kustomize.toolkit.fluxcd.io/reconcile": "Disabled"}),
        ({}, {"kustomize.toolkit.fluxcd.io/ssa": "Ignore"}),
        ({}, {"kustomize.toolkit.fluxcd.io/ssa": "IfNotPresent"}),
    ],
)
def test_what_flux_was_told_to_let_go_of_is_not_its(labels: Object, annotations: Object) -> None:
    raw = deployment(
        entry("kustomize-controller", APPLIED, "Apply"), labels=KUSTOMIZED | labels, annotations=annotations
    )
    assert owners(raw) == {}


@pytest.mark.parametrize("ssa", ["Merge", "Override"])
def test_what_flux_merges_is_still_its(ssa: str) -> None:
    annotations = {"kustomize.toolkit.fluxcd.io/ssa": ssa}
    raw = deployment(entry("kustomize-controller", APPLIED, "Apply"), labels=KUSTOMIZED, annotations=annotations)
    assert holds_back(raw, ActionType.SCALE, delta=1) == {"Flux Kustomization flux-system/apps"}


def test_a_helm_release_of_flux_is_fluxs_unless_its_drift_is_let_be() -> None:
    released = {"helm.toolkit.fluxcd.io/name": "shop", "helm.toolkit.fluxcd.io/namespace": "flux-system"}
    raw = deployment(
        entry("helm-controller", WRITTEN), labels=released, annotations={"meta.helm.sh/release-name": "shop"}
    )
    assert holds_back(raw, ActionType.SCALE, delta=1) == {"Flux HelmRelease flux-system/shop"}

    raw["metadata"]["annotations"]["helm.toolkit.fluxcd.io/driftDetection"] = "disabled"
    assert owners(raw) == {}


def test_helm_owns_what_it_wrote_and_is_told_by_its_release() -> None:
    raw = deployment(entry("helm", WRITTEN), annotations={"meta.helm.sh/release-name": "shop"})
    assert holds_back(raw, ActionType.SCALE, delta=1) == {"Helm release shop"}
    assert {str(owner) for owner in parse_workload(deployment(entry("helm", WRITTEN))).owners} == {"Helm"}


@pytest.mark.parametrize("operation", ["Apply", "Update"])
def test_an_operator_owns_what_it_wrote_below_its_own_object(operation: str) -> None:
    raw = deployment(entry("elastic-operator", WRITTEN, operation), **controlled_by("Kibana", "logs"))

    assert holds_back(raw, ActionType.SCALE, delta=1) == {"Kibana logs"}
    assert holds_back(raw, ActionType.PATCH, patch={"metadata": {"labels": {"team": "shop"}}}) == set()
    assert holds_back(raw, ActionType.RESTART) == set()


def test_several_managers_of_one_owner_are_one() -> None:
    raw = deployment(
        entry("shop-operator", REPLICAS),
        entry("shop-webhook", {"f:metadata": {"f:labels": {"f:team": {}}}}),
        **controlled_by("Shop", "main"),
    )
    assert owners(raw) == {"Shop main": ("metadata.labels.team", "spec.replicas")}


def test_who_scales_a_field_away_from_gitops_owns_it_until_it_is_applied_again() -> None:
    """managedFields tell no more; a change that is then undone is seen as Superseded."""
    left = {**APPLIED, "f:spec": {name: value for name, value in APPLIED["f:spec"].items() if name != "f:replicas"}}
    raw = deployment(entry("kustomize-controller", left, "Apply"), entry("smartops", REPLICAS), labels=KUSTOMIZED)

    assert holds_back(raw, ActionType.SCALE, delta=1) == set()
    limits = {"limits": {"memory": "128Mi"}}
    more = {"spec": {"template": {"spec": {"containers": [{"name": "app", "resources": limits}]}}}}
    assert holds_back(raw, ActionType.PATCH, patch=more) == {"Flux Kustomization flux-system/apps"}


def test_what_is_ours_is_what_we_wrote_last() -> None:
    limits = {
        "f:template": {"f:spec": {"f:containers": {'k:{"name":"app"}': {"f:resources": CONTAINER["f:resources"]}}}}
    }
    raw = deployment(entry("kubectl-set", REPLICAS), entry("smartops", {"f:spec": limits}))

    assert parse_workload(raw).ours == (MEMORY,)
    assert parse_workload(deployment(entry("helm", WRITTEN))).ours == ()


@given(st.permutations([
    entry("kustomize-controller", APPLIED, "Apply"), entry("helm", WRITTEN), entry("shop-operator", REPLICAS),
    entry("kubectl-client-side-apply", WRITTEN), entry("kube-controller-manager", REPLICAS),
]))  # fmt: skip
def test_the_order_of_entries_tells_nothing(entries: list[Object]) -> None:
    raw = deployment(*entries, **controlled_by("Shop", "main"))
    assert set(owners(raw)) == {"Flux", "Helm", "Shop main"}
    assert owners(raw)["Shop main"] == ("spec.replicas",)


def test_a_decision_stores_only_the_owners_of_what_changes() -> None:
    raw = deployment(entry("kustomize-controller", APPLIED, "Apply"), labels=KUSTOMIZED)
    changed = PROPOSAL_TYPES[ActionType.SCALE].fields({"delta": 1})
    look = TargetState(seen=True, object=parse_workload(raw))

    seen = look.facts(changed)

    assert seen is not None
    assert [owner.fields for owner in seen.owners] == [("spec.replicas",)]
    assert replace(look, object=None).facts(changed) is None
    nothing_asked = look.facts()
    assert nothing_asked is not None
    assert nothing_asked.owners == ()


@pytest.mark.parametrize("type_", ActionType)
def test_every_action_says_what_it_changes(type_: ActionType) -> None:
    assert PROPOSAL_TYPES[type_].fields({"patch": {"spec": {"paused": True}}})
