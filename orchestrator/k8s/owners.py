"""Ownership of a workload's fields by Argo CD, Flux, Helm, or its controlling owner. Pure.

managedFields say which manager owns which fields. Labels, annotations and ownerReferences name the owner.
"""

import json
from collections.abc import Container, Iterable, Mapping
from contextlib import suppress
from datetime import datetime
from typing import Any, NamedTuple

from guardrails.types import FieldOwner, OwnerKind
from orchestrator.k8s.fields import owned, stated
from orchestrator.k8s.types import FIELD_MANAGER, TemplateChange
from signals.proposals.paths import mapping

MANAGERS = {
    "argocd-controller": OwnerKind.ARGO_CD,  # all that it applies, as a client or on the server
    "argocd-application-controller": OwnerKind.ARGO_CD,  # its user agent: what it writes without applying
    "kustomize-controller": OwnerKind.FLUX,
    "helm-controller": OwnerKind.FLUX,
    "helm": OwnerKind.HELM,
}
SYSTEM_MANAGERS = frozenset({FIELD_MANAGER, "kube-controller-manager", "before-first-apply"})  # they own nothing

LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
ARGO_CD_ID = "argocd.argoproj.io/tracking-id"  # <application>:<group>/<kind>:<namespace>/<name>
ARGO_CD_LABEL = "argocd.argoproj.io/instance"
FLUX_LABELS = (("Kustomization", "kustomize.toolkit.fluxcd.io"), ("HelmRelease", "helm.toolkit.fluxcd.io"))
HELM_RELEASE = "meta.helm.sh/release-name"

# With one of these, as a label or an annotation in any letter case, Flux no longer reconciles the object, but
# managedFields still name it.
FLUX_OPT_OUT = (
    ("kustomize.toolkit.fluxcd.io/reconcile", "disabled"),
    ("kustomize.toolkit.fluxcd.io/ssa", "ignore"),
    ("kustomize.toolkit.fluxcd.io/ssa", "ifnotpresent"),
    ("helm.toolkit.fluxcd.io/driftDetection", "disabled"),
)


class ManagedFieldsEntry(NamedTuple):
    """One entry of managedFields. `operation` is Apply or Update; `fields` is FieldsV1. `time` is when the manager last
    added, changed or removed a field."""

    manager: str
    operation: str
    fields: Mapping[str, Any]
    time: datetime | None = None


class ObjectMeta(NamedTuple):
    """The metadata that names owners. `place` is the workload's namespace/name; `controller` the kind and the name of
    its controlling owner, or ""."""

    kind: str
    place: str
    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    controller: str = ""

    def get(self, name: str) -> str:
        return self.annotations.get(name) or self.labels.get(name) or ""


def field_owners(meta: ObjectMeta, entries: Iterable[ManagedFieldsEntry]) -> tuple[FieldOwner, ...]:
    """One for each kind of owner. In most cases there is none, and then the fields are not read."""
    entries_of: dict[OwnerKind, list[ManagedFieldsEntry]] = {OwnerKind.ARGO_CD: []} if _application(meta) else {}
    for entry in entries:
        kind = MANAGERS.get(entry.manager)
        if (
            kind is None
            and meta.controller
            and not (entry.manager in SYSTEM_MANAGERS or entry.manager.startswith("kubectl"))
        ):
            kind = OwnerKind.CONTROLLER
        if kind is not None:
            entries_of.setdefault(kind, []).append(entry)
    if OwnerKind.FLUX in entries_of and any(meta.get(name).lower() == value for name, value in FLUX_OPT_OUT):
        del entries_of[OwnerKind.FLUX]
    owners = (FieldOwner(kind, _name(kind, meta), _fields(kind, own, meta)) for kind, own in entries_of.items())
    return tuple(owner for owner in owners if owner.fields)


def template_changes(
    entries: Iterable[ManagedFieldsEntry], *, without: Container[str] = ()
) -> tuple[TemplateChange, ...]:
    """Of every manager that owns a field of the pod template, except `without`."""
    return tuple(
        TemplateChange(entry.manager, entry.time)
        for entry in entries
        if entry.time is not None
        and "f:template" in mapping(entry.fields.get("f:spec"))
        and entry.manager not in without
    )


def our_fields(entries: Iterable[ManagedFieldsEntry]) -> tuple[str, ...]:
    """The fields that SmartOps wrote last."""
    return tuple(field for entry in entries if entry.manager == FIELD_MANAGER for field in owned(entry.fields))


def _fields(kind: OwnerKind, entries: list[ManagedFieldsEntry], meta: ObjectMeta) -> tuple[str, ...]:
    """An Apply lists what its manager states. An Update lists what it changed last, with the API's defaults: where Argo
    CD applies client-side, the fields that it states are in the annotation."""
    if kind is OwnerKind.ARGO_CD and not any(entry.operation == "Apply" for entry in entries):
        with suppress(ValueError, RecursionError):  # an annotation may hold anything
            return tuple(sorted(set(stated(mapping(json.loads(meta.annotations.get(LAST_APPLIED, "")))))))
    return tuple(sorted({field for entry in entries for field in owned(entry.fields)}))


def _name(kind: OwnerKind, meta: ObjectMeta) -> str:
    match kind:
        case OwnerKind.ARGO_CD:
            return _application(meta)
        case OwnerKind.FLUX:
            found = ((owner, meta.get(f"{group}/namespace"), meta.get(f"{group}/name")) for owner, group in FLUX_LABELS)
            return next((f"{owner} {namespace}/{name}" for owner, namespace, name in found if name), "")
        case OwnerKind.HELM:
            release = meta.annotations.get(HELM_RELEASE)
            return f"release {release}" if release else ""
        case OwnerKind.CONTROLLER:
            return meta.controller


def _application(meta: ObjectMeta) -> str:
    """The Application that tracks this object. An operator may have copied the annotation from another one."""
    application, _, tracked = meta.annotations.get(ARGO_CD_ID, "").partition(":")
    if tracked != f"apps/{meta.kind}:{meta.place}":
        application = meta.labels.get(ARGO_CD_LABEL, "")
    return f"Application {application}" if application else ""
