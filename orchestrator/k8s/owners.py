"""Who else writes a Deployment: Argo CD, Flux, Helm, or its controlling owner. Pure.

The names of field managers say who owns which fields; labels, annotations and ownerReferences say in whose name.
"""

import json
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from guardrails.types import FieldOwner, OwnerKind
from orchestrator.k8s.fields import owned, stated
from orchestrator.k8s.types import FIELD_MANAGER
from signals.proposals.paths import mapping

MANAGERS = {
    "argocd-controller": OwnerKind.ARGO_CD,  # all that it applies, as a client or on the server
    "argocd-application-controller": OwnerKind.ARGO_CD,  # its user agent: what it writes without applying
    "kustomize-controller": OwnerKind.FLUX,
    "helm-controller": OwnerKind.FLUX,
    "helm": OwnerKind.HELM,
}
SYSTEM_MANAGERS = frozenset({FIELD_MANAGER, "kube-controller-manager", "before-first-apply"})  # they write for no owner

LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
ARGO_CD_ID = "argocd.argoproj.io/tracking-id"  # <application>:<group>/<kind>:<namespace>/<name>
ARGO_CD_LABEL = "argocd.argoproj.io/instance"
FLUX_LABELS = (("Kustomization", "kustomize.toolkit.fluxcd.io"), ("HelmRelease", "helm.toolkit.fluxcd.io"))
HELM_RELEASE = "meta.helm.sh/release-name"

# With one of these, as a label or an annotation in any letter case, Flux lets go of the object; managedFields go on to
# name it.
FLUX_OPT_OUT = (
    ("kustomize.toolkit.fluxcd.io/reconcile", "disabled"),
    ("kustomize.toolkit.fluxcd.io/ssa", "ignore"),
    ("kustomize.toolkit.fluxcd.io/ssa", "ifnotpresent"),
    ("helm.toolkit.fluxcd.io/driftDetection", "disabled"),
)


@dataclass(frozen=True, slots=True)
class ManagedFieldsEntry:
    """One entry of managedFields. `operation` is Apply or Update; `fields` is FieldsV1."""

    manager: str
    operation: str
    fields: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class ObjectMeta:
    """What a Deployment says of itself. `place` is its namespace/name, `controller` its controlling owner's kind and
    name, or empty."""

    place: str
    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    controller: str = ""

    def get(self, name: str) -> str:
        return self.annotations.get(name) or self.labels.get(name) or ""


def field_owners(marks: ObjectMeta, entries: Iterable[ManagedFieldsEntry]) -> tuple[FieldOwner, ...]:
    """Nearly always (), and then found without a walk through the fields."""
    entries_of: dict[OwnerKind, list[ManagedFieldsEntry]] = {OwnerKind.ARGO_CD: []} if _application(marks) else {}
    for entry in entries:
        kind = MANAGERS.get(entry.manager)
        if (
            kind is None
            and marks.controller
            and not (entry.manager in SYSTEM_MANAGERS or entry.manager.startswith("kubectl"))
        ):
            kind = OwnerKind.CONTROLLER
        if kind is not None:
            entries_of.setdefault(kind, []).append(entry)
    if any(marks.get(name).lower() == value for name, value in FLUX_OPT_OUT):
        entries_of.pop(OwnerKind.FLUX, None)
    owners = (FieldOwner(kind, _name(kind, marks), _fields(kind, own, marks)) for kind, own in entries_of.items())
    return tuple(owner for owner in owners if owner.fields)


def our_fields(entries: Iterable[ManagedFieldsEntry]) -> tuple[str, ...]:
    """Nearly always (), too."""
    return tuple(field for entry in entries if entry.manager == FIELD_MANAGER for field in owned(entry.fields))


def _fields(kind: OwnerKind, entries: list[ManagedFieldsEntry], marks: ObjectMeta) -> tuple[str, ...]:
    """An Apply names what its manager states. An Update names what it changed last, and the API's defaults with it:
    where Argo CD applies as a client does, what it states is in the annotation."""
    if kind is OwnerKind.ARGO_CD and not any(entry.operation == "Apply" for entry in entries):
        with suppress(ValueError, RecursionError):  # an annotation may hold anything
            return tuple(sorted(set(stated(mapping(json.loads(marks.annotations.get(LAST_APPLIED, "")))))))
    return tuple(sorted({field for entry in entries for field in owned(entry.fields)}))


def _name(kind: OwnerKind, marks: ObjectMeta) -> str:
    match kind:
        case OwnerKind.ARGO_CD:
            return _application(marks)
        case OwnerKind.FLUX:
            found = (
                (owner, marks.get(f"{group}/namespace"), marks.get(f"{group}/name")) for owner, group in FLUX_LABELS
            )
            return next((f"{owner} {namespace}/{name}" for owner, namespace, name in found if name), "")
        case OwnerKind.HELM:
            release = marks.annotations.get(HELM_RELEASE)
            return f"release {release}" if release else ""
        case OwnerKind.CONTROLLER:
            return marks.controller


def _application(marks: ObjectMeta) -> str:
    """Argo CD's, if it tracks this very object: an operator may have copied the mark from its own."""
    application, _, tracked = marks.annotations.get(ARGO_CD_ID, "").partition(":")
    if tracked != f"apps/Deployment:{marks.place}":
        application = marks.labels.get(ARGO_CD_LABEL, "")
    return f"Application {application}" if application else ""
