"""Writes of objects: identity, versions, generations, conflicts, defaults, validation, deletion. API requests and
controllers of one cluster write through one instance."""

import secrets
from dataclasses import dataclass
from uuid import uuid4

from smartops.dev.sandbox.defaults import apply_defaults, cluster_ip
from smartops.dev.sandbox.errors import (
    ApiError,
    Cause,
    already_exists,
    bad_request,
    conflict,
    invalid,
    not_found,
    precondition_failed,
)
from smartops.dev.sandbox.managers import managed
from smartops.dev.sandbox.objects import Object, Resource, canonical, timestamp
from smartops.dev.sandbox.resources import (
    DAEMON_SET,
    DEPLOYMENT,
    NAMESPACE,
    POD,
    SERVICE,
    SERVICE_ACCOUNT,
    TEMPLATE_GENERATION,
    Kind,
)
from smartops.dev.sandbox.store import Store
from smartops.dev.sandbox.validation import validate

STALE = "the object has been modified; please apply your changes to the latest version and try again"
FOREGROUND, ORPHAN = "foregroundDeletion", "orphan"
FINALIZERS = {"Foreground": [FOREGROUND], "Orphan": [ORPHAN]}  # that a policy of propagation adds
ALPHABET = "bcdfghjklmnpqrstvwxz2456789"  # names made by the API contain no vowels, hence no words
PRECONDITIONS = (("uid", "UID", "deleted and then recreated"), ("resourceVersion", "ResourceVersion", "modified"))
# What clients cannot change in metadata, whatever they send.
OF_THE_SYSTEM = ("creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds", "generation")


def random_suffix(length: int = 5) -> str:
    return "".join(secrets.choice(ALPHABET) for _ in range(length))


@dataclass(frozen=True, slots=True)
class Writer:
    """The field manager of a write, and the applied fields of a server-side apply. Writes of controllers are not
    recorded."""

    name: str
    applied: Object | None = None


class Registry:
    def __init__(self, store: Store) -> None:
        self.store = store
        self._services = 0

    def get(self, kind: Kind, namespace: str, name: str) -> Resource:
        found = self.store.get(kind, namespace, name)
        if found is None:
            raise not_found(kind, name)
        return found

    def create(
        self, kind: Kind, namespace: str, body: Object, *, writer: Writer | None = None, dry_run: bool = False
    ) -> Object:
        """Store a new object. Raises 404 if its namespace does not exist, 409 if the object exists, 400 or 422 if it is
        invalid, and 500 if it has a resourceVersion, as the API server does."""
        obj = canonical(body)
        metadata = obj.setdefault("metadata", {})
        _place(kind, metadata, namespace)
        if metadata.get("resourceVersion"):
            raise ApiError(500, "", "resourceVersion should not be set on objects to be created")
        if kind.status:
            obj["status"] = {}
        if not metadata.get("name") and metadata.get("generateName"):
            metadata["name"] = metadata["generateName"] + random_suffix()
        for field in (*OF_THE_SYSTEM, "uid", "managedFields", "resourceVersion", "selfLink"):
            metadata.pop(field, None)
        apply_defaults(kind, obj)
        self._refuse_invalid(kind, obj, None)
        if kind.namespaced and self.store.get(NAMESPACE, "", namespace) is None:
            raise not_found(NAMESPACE, namespace)
        if self.store.get(kind, namespace, metadata["name"]):
            raise already_exists(kind, metadata["name"])
        if kind is SERVICE and obj["spec"]["type"] != "ExternalName" and "clusterIP" not in obj["spec"]:
            self._services += 1
            obj["spec"]["clusterIP"] = cluster_ip(self._services)
        if writer:
            obj = _with_manager(kind, {}, obj, writer, "")
        if dry_run:
            return _born(kind, obj)
        stored = self.insert(kind, obj)
        if kind is NAMESPACE:
            self.create(SERVICE_ACCOUNT, stored.name, {"metadata": {"name": "default"}})
        return stored

    def insert(self, kind: Kind, obj: Object) -> Resource:
        """Store an object that is known to be valid, such as one of a controller."""
        return self.store.put(kind, _born(kind, obj))

    def update(
        self,
        kind: Kind,
        old: Resource,
        new: Object,
        *,
        subresource: str = "",
        writer: Writer | None = None,
        dry_run: bool = False,
    ) -> Resource:
        """Write a client's new version of `old`: everything except the status, or only the status."""
        new = canonical(new)
        metadata = new.setdefault("metadata", {})
        if not metadata.get("name"):
            raise bad_request(f"the name of the object ({old.name} based on URL) was undeterminable")
        if metadata["name"] != old.name:
            given = metadata["name"]
            raise bad_request(f"the name of the object ({given}) does not match the name on the URL ({old.name})")
        _place(kind, metadata, old.namespace)
        _refuse_stale(kind, old, metadata.get("resourceVersion") or "0")
        for field in ("uid", "managedFields"):
            if not metadata.get(field) and field in old.metadata:
                metadata[field] = old.metadata[field]
        if subresource == "status":
            annotated = {"annotations": metadata["annotations"]} if "annotations" in metadata else {}
            new = {**old, "metadata": {**old.metadata, **annotated}, "status": new.get("status", {})}
        else:
            metadata |= {name: old.metadata[name] for name in OF_THE_SYSTEM if name in old.metadata}
            apply_defaults(kind, new)
            if kind.status:
                new.pop("status", None)
                new |= {"status": old["status"]} if "status" in old else {}
            if kind is DAEMON_SET:
                _count_templates(old, new)
            self._refuse_invalid(kind, new, old)
        return self.write(kind, old, new, writer=writer, subresource=subresource, dry_run=dry_run)

    def write(
        self,
        kind: Kind,
        old: Resource,
        new: Object,
        *,
        writer: Writer | None = None,
        subresource: str = "",
        dry_run: bool = False,
    ) -> Resource:
        """Store a valid new version. Increments the generation if required; does nothing if nothing changed."""
        metadata = {**new["metadata"], "resourceVersion": old.metadata["resourceVersion"]}
        new = {**new, "metadata": metadata}
        if writer:
            new = _with_manager(kind, old, new, writer, subresource)
        if new == old:
            return old
        if kind.generation and subresource != "status" and _moves_generation(kind, old, new):
            new["metadata"]["generation"] = old.metadata["generation"] + 1
        if dry_run:
            return Resource(new)
        if old.deleting and not new["metadata"].get("finalizers") and kind is not POD:
            self.store.remove(kind, old)
            return Resource(new)
        return self.store.put(kind, new)

    def delete(self, kind: Kind, obj: Resource, options: Object) -> Resource:
        """Delete the object and return its last state: `deleting` if it was only marked, because it has finalizers or
        is a pod with a grace period. The garbage collector handles dependents. `options` are DeleteOptions."""
        for field, what, cause in PRECONDITIONS:
            wanted, found = (options.get("preconditions") or {}).get(field), obj.metadata[field]
            if wanted is not None and wanted != found:
                why = f"the {what} in the precondition ({wanted}) does not match the {what} in record ({found})"
                raise precondition_failed(kind, obj.name, f"{why}. The object might have been {cause}")
        dry_run, grace = "All" in (options.get("dryRun") or ()), options.get("gracePeriodSeconds")
        if grace is None:
            grace = obj["spec"]["terminationGracePeriodSeconds"] if kind is POD else 0
        finalizers = [*obj.metadata.get("finalizers", ()), *FINALIZERS.get(options.get("propagationPolicy", ""), ())]
        waits = bool(finalizers) or (kind is POD and grace > 0)
        last = obj
        if not obj.deleting and (waits or kind is POD):
            last = _marked(obj, finalizers, grace)
            if waits and not dry_run:
                return self.store.put(kind, last)
        if waits or dry_run:
            return last
        version = self.store.remove(kind, obj).metadata["resourceVersion"]
        return Resource({**last, "metadata": {**last.metadata, "resourceVersion": version}})

    def _refuse_invalid(self, kind: Kind, new: Object, old: Object | None) -> None:
        causes: list[Cause] = validate(kind, new, old)
        if causes:
            raise invalid(kind, new["metadata"].get("name", ""), causes)


def _born(kind: Kind, obj: Object) -> Object:
    given = {"uid": str(uuid4()), "creationTimestamp": timestamp()} | ({"generation": 1} if kind.generation else {})
    return {**obj, "metadata": {**obj["metadata"], **given}}


def _refuse_stale(kind: Kind, old: Resource, version: str) -> None:
    """Version 0 means any version."""
    if not version.isdecimal():
        raise ApiError(500, "", f'strconv.ParseUint: parsing "{version}": invalid syntax')  # sic
    if version not in ("0", old.metadata["resourceVersion"]):
        raise conflict(kind, old.name, STALE)


def _marked(obj: Resource, finalizers: list[str], grace: int) -> Resource:
    """The object after the start of its deletion; `grace` in seconds."""
    metadata = {**obj.metadata, "deletionTimestamp": timestamp(), "deletionGracePeriodSeconds": grace}
    if finalizers:
        metadata["finalizers"] = finalizers
    if "generation" in metadata:
        metadata["generation"] += 1
    return Resource({**obj, "metadata": metadata})


def _place(kind: Kind, metadata: Object, namespace: str) -> None:
    if metadata.setdefault("namespace", namespace) != namespace:
        raise bad_request("the namespace of the provided object does not match the namespace sent on the request")
    if not kind.namespaced:
        del metadata["namespace"]


def _count_templates(old: Resource, new: Object) -> None:
    """The API server counts the pod templates of a DaemonSet in an annotation. It ignores the value of a client."""
    count = int(old.metadata["annotations"][TEMPLATE_GENERATION])
    count += new["spec"].get("template") != old["spec"]["template"]
    new["metadata"]["annotations"] = {**new["metadata"].get("annotations", {}), TEMPLATE_GENERATION: str(count)}


def _moves_generation(kind: Kind, old: Object, new: Object) -> bool:
    if old.get("spec") != new.get("spec"):
        return True
    # The Deployment's strategy counts annotations too, so that its controller copies them to the ReplicaSets.
    return kind is DEPLOYMENT and old["metadata"].get("annotations") != new["metadata"].get("annotations")


def _with_manager(kind: Kind, before: Object, after: Object, writer: Writer, subresource: str) -> Object:
    operation = "Update" if writer.applied is None else "Apply"
    entry: Object = {"manager": writer.name, "operation": operation, "apiVersion": kind.api_version}
    entry |= {"time": timestamp()} | ({"subresource": subresource} if subresource else {})
    fields = managed(before, after, entry, writer.applied)
    metadata = {name: value for name, value in after["metadata"].items() if name != "managedFields"}
    return {**after, "metadata": metadata | ({"managedFields": fields} if fields else {})}
