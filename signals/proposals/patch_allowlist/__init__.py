"""What the PATCH action may touch: an allowlist over a strategic merge patch of a workload. Pure.

Nothing on it runs code, mounts, or changes whose rights the pods have. Nothing on it steers another controller, moves
pods to the control plane, or removes a bound. What is not named here is refused, so that a field that Kubernetes adds
tomorrow is refused, too.
"""

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from signals.proposals.patch_allowlist import marks, placement, resources
from signals.proposals.patch_allowlist.rules import (
    Prefixes,
    Refusal,
    Rule,
    anything,
    boolean,
    fields,
    optional,
    share,
    within,
)
from signals.proposals.paths import CONTAINERS, mapping

MAX_REPLICAS = 2**31 - 1


def forbidden(patch: Any, prefixes: Prefixes = (), containers: tuple[str, ...] | None = None) -> Refusal | None:
    """The first refused path, and why; None if the patch is allowed. A patch that sets nothing is refused. `prefixes`
    are those that the installation allows. `containers` are the names of the live ones in their order; None if they are
    unknown."""
    if refusal := _workload(prefixes)(patch, ""):
        return refusal
    if not _sets_something(patch):
        return "patch", "it changes nothing"
    patched = mapping(mapping(mapping(patch.get("spec")).get("template")).get("spec")).get("containers", [])
    return None if containers is None else resources.reordered(patched, containers, CONTAINERS)


@lru_cache(maxsize=8)
def _workload(prefixes: Prefixes) -> Rule:
    """Of any kind: signals/proposals/kinds.py knows which kind has which field. Claims of volumes, the order in which
    pods start and the numbers of their names are not on it: they decide over data, and most cannot be changed."""
    return fields(
        metadata=fields(labels=marks.labels(prefixes), annotations=marks.annotations(prefixes)),
        spec=fields(
            # A number, so that the replica limit can be evaluated; `null` would mean the API's default.
            replicas=within(0, MAX_REPLICAS),
            paused=optional(boolean),
            minReadySeconds=optional(within(0, 600)),
            progressDeadlineSeconds=optional(within(10, 3600)),  # a verification lasts as long
            revisionHistoryLimit=optional(within(1, 100)),  # without a revision there is no `kubectl rollout undo`
            strategy=optional(_STRATEGY),
            updateStrategy=optional(_UPDATE_STRATEGY),
            template=fields(
                metadata=fields(labels=marks.pod_labels(prefixes), annotations=marks.pod_annotations(prefixes)),
                spec=fields(
                    containers=resources.containers(prefixes),
                    terminationGracePeriodSeconds=optional(within(1, 3600)),  # 0 kills a process within its work
                    nodeSelector=placement.node_selector(prefixes),
                    tolerations=placement.tolerations(prefixes),
                    affinity=placement.affinity(prefixes),
                    topologySpreadConstraints=anything,
                ),
            ),
        ),
    )


def _rolling_update(value: Any, path: str) -> Refusal | None:
    why = "it must be RollingUpdate: others stop all pods at once, or replace none"
    return None if value == "RollingUpdate" else (path, why)


def _sets_something(value: Any) -> bool:
    return any(map(_sets_something, value.values())) if isinstance(value, Mapping) else True


_SURGE, _UNAVAILABLE = optional(share(8, 100)), optional(share(1, 50))
_STRATEGY = fields(
    type=optional(_rolling_update),
    rollingUpdate=optional(fields(maxSurge=_SURGE, maxUnavailable=_UNAVAILABLE)),
)
_UPDATE_STRATEGY = fields(
    type=optional(_rolling_update),
    rollingUpdate=optional(
        fields(partition=optional(within(0, MAX_REPLICAS)), maxSurge=_SURGE, maxUnavailable=_UNAVAILABLE)
    ),
)
