"""Validation as in the API server: type errors, and invalid values with one cause per field."""

from collections.abc import Iterator

from smartops.dev.sandbox.errors import Cause, wrong
from smartops.dev.sandbox.names import LABEL, QUALIFIED, SUBDOMAIN
from smartops.dev.sandbox.objects import Object
from smartops.dev.sandbox.resources import Kind
from smartops.dev.sandbox.specs import VALIDATORS, validate_labels

_DNS_LABEL_KINDS = {"Namespace", "Service"}
_PATH_NAME_KINDS = {"Role", "RoleBinding", "ClusterRole", "ClusterRoleBinding"}

STANDARD_FINALIZERS = {"orphan", "foregroundDeletion", "kubernetes"}


def validate(kind: Kind, new: Object, old: Object | None) -> list[Cause]:
    """All causes for an object whose types are valid; `old` is None on creation."""
    causes = [*_metadata(kind, new["metadata"], old["metadata"] if old else None)]
    if kind in VALIDATORS:
        causes += VALIDATORS[kind](new, old)
    return causes


def _metadata(kind: Kind, new: Object, old: Object | None) -> Iterator[Cause]:
    name = new.get("name", "")
    if not name:
        yield Cause("metadata.name", "FieldValueRequired", "Required value: name or generateName is required")
    elif kind.name in _DNS_LABEL_KINDS and not (LABEL.fullmatch(name) and len(name) <= 63):
        yield wrong("metadata.name", name, "a lowercase RFC 1123 label must consist of lower case alphanumeric "
                     "characters or '-', and must start and end with an alphanumeric character")  # fmt: skip
    elif kind.name not in _PATH_NAME_KINDS and not (SUBDOMAIN.fullmatch(name) and len(name) <= 253):
        yield wrong("metadata.name", name, "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric "
                     "characters, '-' or '.', and must start and end with an alphanumeric character")  # fmt: skip
    yield from validate_labels("metadata.labels", new.get("labels") or {})
    for key in new.get("annotations") or {}:
        if not QUALIFIED.fullmatch(key.lower()):
            yield wrong("metadata.annotations", key, "name part must consist of alphanumeric characters, '-', '_' or "
                         "'.', and must start and end with an alphanumeric character")  # fmt: skip
    for index, finalizer in enumerate(new.get("finalizers") or []):
        if "/" not in finalizer and finalizer not in STANDARD_FINALIZERS:
            why = "name is neither a standard finalizer name nor is it fully qualified"
            yield wrong(f"metadata.finalizers[{index}]", finalizer, why)
    if old and "deletionTimestamp" in old:
        added = [name for name in new.get("finalizers") or [] if name not in old.get("finalizers", ())]
        if added:
            message = f"Forbidden: no new finalizers can be added if the object is being deleted, found {added}"
            yield Cause("metadata.finalizers", "FieldValueForbidden", message)
    for index, reference in enumerate(new.get("ownerReferences") or []):
        for field in ("apiVersion", "kind", "name", "uid"):
            if not reference.get(field):
                where, why = f"metadata.ownerReferences[{index}].{field}", "Required value: must not be empty"
                yield Cause(where, "FieldValueRequired", why)
    if old and new["uid"] != old["uid"]:
        yield wrong("metadata.uid", new["uid"], "field is immutable")
