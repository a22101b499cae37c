"""Where pods are scheduled: on which nodes, and despite which taints. Pure.

Refused are the control plane, single nodes, and the taints by which Kubernetes and autoscalers keep pods off a node.
"""

import re
from collections.abc import Mapping
from typing import Any

from signals.proposals.patch_allowlist.rules import (
    Prefixes,
    Refusal,
    Rule,
    anything,
    fields,
    items,
    join,
    names,
    optional,
)

CONTROL_PLANE = re.compile(r"(^|[-./_])(control-?plane|master|etcd)($|[-./_])", re.IGNORECASE)
RESERVED = re.compile(r"(^|\.)(kubernetes|k8s)\.io/")
NODE_KINDS = frozenset(
    {
        *("kubernetes.io/arch", "kubernetes.io/os", "node.kubernetes.io/instance-type"),
        *("topology.kubernetes.io/region", "topology.kubernetes.io/zone"),
    }
)
SYSTEM_TAINTS = frozenset(
    {
        *("CriticalAddonsOnly", "DeletionCandidateOfClusterAutoscaler", "ToBeDeletedByClusterAutoscaler"),
        *("karpenter.sh/disrupted", "karpenter.sh/disruption", "karpenter.sh/unregistered"),
    }
)
AWAY = frozenset({"NotIn", "DoesNotExist"})  # operators that keep pods off nodes


def node_selector(prefixes: Prefixes) -> Rule:
    return names(lambda name, value: _place(name, [value], prefixes))


def tolerations(prefixes: Prefixes) -> Rule:
    def toleration(value: Any, path: str) -> Refusal | None:
        if refusal := anything(value, path):
            return refusal
        key = value.get("key") if isinstance(value, Mapping) else None
        if not isinstance(key, str) or not key:
            return path, "it must have a key: without one it tolerates every taint"
        system = key in SYSTEM_TAINTS or RESERVED.search(key) or _control_plane(key, value.get("value"))
        if system and not key.startswith(prefixes):
            return join(path, "key"), "this taint keeps pods off the control plane, or off nodes that are not available"
        return None

    return optional(items(toleration))


def affinity(prefixes: Prefixes) -> Rule:
    def expression(value: Any, path: str) -> Refusal | None:
        match value:
            case {"key": str(key), "operator": str(operator)}:
                values = value.get("values") if isinstance(value.get("values"), list) else []
                why = "" if operator in AWAY else _place(key, values, prefixes)
                return (join(path, "key"), why) if why else anything(value, path)
        return path, "it must have a key and an operator"

    node_term = fields(matchExpressions=optional(items(expression)))
    # A term about pods of other namespaces would keep those pods off the node, too.
    pod_term = fields(labelSelector=anything, topologyKey=anything, matchLabelKeys=anything, mismatchLabelKeys=anything)
    pods = optional(
        fields(
            requiredDuringSchedulingIgnoredDuringExecution=optional(items(pod_term)),
            preferredDuringSchedulingIgnoredDuringExecution=optional(
                items(fields(weight=anything, podAffinityTerm=pod_term))
            ),
        )
    )
    nodes = optional(
        fields(
            requiredDuringSchedulingIgnoredDuringExecution=optional(fields(nodeSelectorTerms=items(node_term))),
            preferredDuringSchedulingIgnoredDuringExecution=optional(
                items(fields(weight=anything, preference=node_term))
            ),
        )
    )
    return optional(fields(nodeAffinity=nodes, podAffinity=pods, podAntiAffinity=pods))


def _place(label: str, values: list[Any], prefixes: Prefixes) -> str:
    if label.startswith(prefixes):
        return ""
    if _control_plane(label, *values):
        return "it can place pods on the control plane"
    if RESERVED.search(label) and label not in NODE_KINDS:
        return "it can place pods on single nodes, or on the control plane"
    return ""


def _control_plane(*words: Any) -> bool:
    return any(isinstance(word, str) and CONTROL_PLANE.search(word) for word in words)
