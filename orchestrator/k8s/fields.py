"""The fields of a workload that managedFields or a manifest name, as paths (signals/proposals/paths.py). Pure.

Only the spec, the labels and the annotations have paths.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from signals.proposals.patch_allowlist.marks import LAST_APPLIED
from signals.proposals.paths import CONTAINERS, LEFT_OUT_OF_PODS, POD, join, mapping, touched

# The fields of the patch allowlist (signals/proposals/patch_allowlist).
SPEC_FIELDS = (
    *("replicas", "paused", "minReadySeconds", "progressDeadlineSeconds", "revisionHistoryLimit"),
    *("strategy", "updateStrategy"),
)
POD_FIELDS = (
    *("terminationGracePeriodSeconds", "nodeSelector", "tolerations", "affinity", "topologySpreadConstraints"),
)
# Objects that are merged, not replaced: the owner of an empty one does not own what is added to it.
MERGED = (
    *(".labels", ".annotations", ".strategy", ".rollingUpdate", ".resources", ".limits", ".requests"),
    *(".affinity", ".nodeAffinity", ".podAffinity", ".podAntiAffinity"),
)


def owned(fields: Mapping[str, Any]) -> list[str]:
    """The leaves of FieldsV1."""
    found: list[str] = []
    metadata = mapping(fields.get("f:metadata"))
    _collect(found, mapping(fields.get("f:spec")), "spec")
    _collect(found, mapping(metadata.get("f:labels")), "metadata.labels")
    _collect(found, mapping(metadata.get("f:annotations")), "metadata.annotations")
    return found


def stated(manifest: Mapping[str, Any]) -> Iterator[str]:
    """The leaves of a manifest."""
    metadata = mapping(manifest.get("metadata"))
    yield from touched({name: mapping(metadata.get(name)) for name in ("labels", "annotations")}, "metadata")
    yield from touched(mapping(manifest.get("spec")), "spec")


def changeable(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """The part of an object that an action may change, in the form of a manifest."""
    spec = mapping(manifest.get("spec"))
    template = mapping(spec.get("template"))
    pod = mapping(template.get("spec"))
    listed = pod.get("containers")
    containers = [_only(("name", "resources"), one) for one in (listed if isinstance(listed, list) else ())]
    return {
        "metadata": _labels(manifest),
        "spec": _only(SPEC_FIELDS, spec)
        | {"template": {"metadata": _labels(template), "spec": _only(POD_FIELDS, pod) | {"containers": containers}}},
    }


def overlapping(fields: Iterable[str], paths: Iterable[str]) -> tuple[str, ...]:
    """Those of `fields` that a change of `paths` changes: one of them, a part of one, or an object that holds one."""
    paths = tuple(paths)
    return tuple(
        field
        for field in fields
        if any(_within(field, path) or (_within(path, field) and not field.endswith(MERGED)) for path in paths)
    )


def _labels(of: Mapping[str, Any]) -> dict[str, Any]:
    metadata = _only(("labels", "annotations"), of.get("metadata"))
    if LAST_APPLIED in mapping(metadata.get("annotations")):
        metadata["annotations"] = {name: one for name, one in metadata["annotations"].items() if name != LAST_APPLIED}
    return metadata


def _only(names: Iterable[str], of: Any) -> dict[str, Any]:
    known = mapping(of)
    return {name: known[name] for name in names if known.get(name) is not None}


def _collect(found: list[str], fields: Mapping[str, Any], path: str) -> None:
    for key, inner in fields.items():
        if key == "." or (path == POD and key.removeprefix("f:") in LEFT_OUT_OF_PODS):
            continue
        here = join(path, key)
        if path == CONTAINERS:
            resources = {name: value for name, value in mapping(inner).items() if name == "f:resources"}
            _collect(found, resources, here)
        elif inner and isinstance(inner, (dict, Mapping)):
            _collect(found, inner, here)
        else:
            found.append(here)


def _within(path: str, other: str) -> bool:
    return path.startswith(other) and path[len(other) : len(other) + 1] in ("", ".", "[")
