"""The ControllerRevisions of StatefulSets and DaemonSets: one for each pod template that they had."""

from smartops.dev.sandbox.deployments import template_hash
from smartops.dev.sandbox.objects import Object, Resource, reference
from smartops.dev.sandbox.registry import Registry
from smartops.dev.sandbox.resources import CONTROLLER_REVISION, Kind

REVISION_HASH = "controller-revision-hash"  # the label of a pod


class Revisions:
    def __init__(self, registry: Registry, kind: Kind) -> None:
        self._registry, self._store, self._kind = registry, registry.store, kind

    def of(self, owner: Resource) -> list[Resource]:
        """Oldest first."""
        found = [one for kind, one in self._store.owned_by(owner.uid) if kind is CONTROLLER_REVISION]
        return sorted(found, key=lambda one: int(one["revision"]))

    def current(self, owner: Resource) -> Resource:
        """That of its template, which gets the highest number; created if there is none."""
        name, known = f"{owner.name}-{template_hash(owner['spec']['template'])}", self.of(owner)
        number = int(known[-1]["revision"]) if known else 0
        found = next((one for one in known if one.name == name), None)
        if found is None:
            return self._registry.insert(CONTROLLER_REVISION, self._blueprint(owner, name, number + 1))
        if found is known[-1]:
            return found
        return self._registry.write(CONTROLLER_REVISION, found, {**found, "revision": number + 1})

    def template(self, owner: Resource, name: str) -> Object:
        """The pod template of the revision; that of the owner if there is no such revision."""
        found = self._store.get(CONTROLLER_REVISION, owner.namespace, name)
        template: Object = found["data"]["spec"]["template"] if found else owner["spec"]["template"]
        return {field: value for field, value in template.items() if field != "$patch"}

    def forget_old(self, owner: Resource, used: set[str]) -> None:
        idle = [one for one in self.of(owner) if one.name not in used]
        for one in idle[: max(0, len(idle) - owner["spec"]["revisionHistoryLimit"])]:
            self._registry.delete(CONTROLLER_REVISION, one, {})

    def _blueprint(self, owner: Resource, name: str, number: int) -> Object:
        template = owner["spec"]["template"]
        return {
            "metadata": {
                "name": name,
                "namespace": owner.namespace,
                "labels": {**template["metadata"].get("labels", {}), "controller.kubernetes.io/hash": hash_of(name)},
                "ownerReferences": [reference(self._kind.api_version, self._kind.name, owner)],
            },
            "data": {"spec": {"template": {**template, "$patch": "replace"}}},
            "revision": number,
        }


def hash_of(name: str) -> str:
    """The end of a revision's name: the label of a DaemonSet's pods."""
    return name.rpartition("-")[2]
