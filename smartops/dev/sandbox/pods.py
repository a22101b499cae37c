"""What the controllers of pods have in common: which changes they follow, and what a new pod has of its template."""

from collections.abc import Mapping
from typing import Any

from smartops.dev.sandbox.defaults import POD_DEFAULTS
from smartops.dev.sandbox.objects import Object, Resource, controller_of, reference
from smartops.dev.sandbox.resources import POD, Kind
from smartops.dev.sandbox.store import Event, Store
from smartops.dev.sandbox.workqueue import Key, WorkQueue


def follow(store: Store, kind: Kind, queue: WorkQueue[Key], owned: Kind = POD) -> None:
    """Queues each object of the kind that changes, and the one that controls an `owned` object that changes."""

    def see(event: Event) -> None:
        if event.type != "DELETED":
            queue.add((event.object.namespace, event.object.name))

    def see_owned(event: Event) -> None:
        owner = controller_of(event.object)
        if owner and owner["kind"] == kind.name:
            queue.add((event.object.namespace, owner["name"]))

    store.subscribe(kind, see)
    store.subscribe(owned, see_owned)


def new_pod(
    kind: Kind, owner: Resource, name: str, template: Object, inherited: Object, spec: Mapping[str, Any]
) -> Object:
    """A pod of the owner: `inherited` is what it has of the metadata of the template, and `spec` what its controller
    adds to that of the template."""
    metadata: Object = {
        **inherited,
        "name": name,
        "generateName": f"{owner.name}-",
        "namespace": owner.namespace,
        "ownerReferences": [reference(kind.api_version, kind.name, owner)],
    }
    status = {"phase": "Pending", "qosClass": "BestEffort"}
    return {"metadata": metadata, "spec": {**POD_DEFAULTS, **template["spec"], **spec}, "status": status}
