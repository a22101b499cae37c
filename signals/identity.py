"""Which workload an observation means. Pure: what the cluster and the operators say is in `NamingFacts`."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from enum import StrEnum
from functools import lru_cache
from typing import Any

from pydantic import TypeAdapter

from signals.names import is_workload_name
from signals.patterns import matches
from signals.types import AliasSpec, Kind, Named, Naming, NamingFacts, Target

_NAMING = TypeAdapter(Naming)

# The labels that name a target, as kube-state-metrics, the kubelet and Prometheus call them; the most specific first.
# `job` is the scrape job of Prometheus, by default the name of the Service; `job_name` is a Job of Kubernetes.
WORKLOAD_LABELS = {
    "deployment": Kind.DEPLOYMENT,
    "statefulset": Kind.STATEFUL_SET,
    "daemonset": Kind.DAEMON_SET,
}
LABELS = (*WORKLOAD_LABELS, "workload", "pod", "pod_name", "replicaset", "job_name", "service", "job", "container")
OBJECTS = {"pod": "Pod", "pod_name": "Pod", "replicaset": "ReplicaSet", "job_name": "Job"}  # that have an owner
SERVICES = ("service", "job")
WORKLOAD_KINDS = {kind.lower(): kind for kind in Kind}  # the values of `workload_type`

# Names made by controllers have no vowels and no digits that look like one.
_GENERATED = "[bcdfghjklmnpqrstvwxz2456789]"
_OF_POD = (
    (Kind.DEPLOYMENT, re.compile(rf"(.+)-{_GENERATED}{{1,10}}-{_GENERATED}{{5}}")),
    (Kind.STATEFUL_SET, re.compile(r"(.+)-\d+")),
    (Kind.DAEMON_SET, re.compile(rf"(.+)-{_GENERATED}{{5}}")),
)
_OF_REPLICA_SET = ((Kind.DEPLOYMENT, re.compile(rf"(.+)-{_GENERATED}{{1,10}}")),)

MAX_COMPARED = 10_000  # names
NEAREST = 3


class How(StrEnum):
    """What has said which workload the name stands for."""

    NAME = "name"  # a workload has it
    OWNER = "owner"  # a controller of the live object
    GENERATED_NAME = "generated_name"  # of an object that is gone: its controller made the name of its own
    SERVICE = "service"  # the owners of the pods that its selector selects
    CONTAINER = "container"  # one workload of the namespace has a container of this name
    ALIAS = "alias"


@dataclass(frozen=True, slots=True)
class Identified:
    """`path` leads from the name to the workload, in words."""

    target: Target
    how: How
    path: str


@dataclass(frozen=True, slots=True)
class Unidentified:
    """Why no workload is known by the name."""

    message: str


def named_by(labels: Mapping[str, str]) -> tuple[str, str, Kind] | None:
    """The label that names the target, its value, and the kind of workload. None if no label does. The labels of an
    exporter's metric name the exporter itself, where there is another with the prefix `exported_`."""
    for label in LABELS:
        value = of_target(labels, label)
        if not value:
            continue
        if label in WORKLOAD_LABELS:
            return "", value, WORKLOAD_LABELS[label]
        if label == "workload":
            kind = WORKLOAD_KINDS.get(labels.get("workload_type", "deployment").lower())
            return ("", value, kind) if kind else (label, value, Kind.DEPLOYMENT)
        return label, value, Kind.DEPLOYMENT
    return None


def of_target(labels: Mapping[str, str], label: str) -> str:
    """The value of the label that concerns the target, and not the exporter."""
    return labels.get(f"exported_{label}", "").strip() or labels.get(label, "").strip()


def is_identified(name: str, by: str) -> bool:
    """Whether the name can be that of a workload as it is."""
    return not by and is_workload_name(name)


def candidates(named: Named) -> tuple[Target, ...]:
    """The workloads that the name itself may stand for, if they exist."""
    if not named.by:
        found = [(named.kind, named.name)] if is_workload_name(named.name) else []
    else:
        patterns = {"Pod": _OF_POD, "ReplicaSet": _OF_REPLICA_SET}.get(OBJECTS.get(named.by, ""), ())
        hits = ((kind, pattern.fullmatch(named.name)) for kind, pattern in patterns)
        found = [(kind, hit[1]) for kind, hit in hits if hit]
    return tuple(Target(named.cluster, named.namespace, name, kind) for kind, name in found)


def identify(named: Named, facts: NamingFacts) -> Identified | Unidentified:
    """An alias counts only where the cluster has no answer: it never redirects the name of a workload."""
    found = _by_cluster(named, facts)
    if isinstance(found, Unidentified) and facts.alias is not None:
        alias = facts.alias
        target = Target(named.cluster, alias.to_namespace or named.namespace, alias.workload, alias.kind)
        return Identified(target, How.ALIAS, f"{named} matches the alias {alias.id} ({alias.pattern}) of {target}.")
    return found


def _by_cluster(named: Named, facts: NamingFacts) -> Identified | Unidentified:
    if facts.chains:
        return _by_owners(named, facts)
    if not named.by and facts.existing:
        first = facts.existing[0]
        return Identified(first, How.NAME, f"{first.kind} {first.namespace}/{first.name} has this name.")
    if len(facts.existing) > 1:
        names = ", ".join(f"{one.kind} {one.name}" for one in facts.existing)
        return Unidentified(f"The {named} may belong to several workloads of “{named.namespace}”: {names}.")
    if facts.existing:
        [found] = facts.existing
        if named.by == "container":
            return Identified(found, How.CONTAINER, f"Of the workloads, only {found} has the {named}.")
        return Identified(found, How.GENERATED_NAME, f"The {named} is gone. Its name is one of {found.kind} {found}.")
    why = f" {facts.error}" if facts.error else ""
    return Unidentified(f"No workload of the namespace “{named.namespace}” is known by the name {named}.{why}")


def _by_owners(named: Named, facts: NamingFacts) -> Identified | Unidentified:
    found: dict[Target, str] = {}
    others = list[str]()
    for chain in facts.chains:
        path = " → ".join(map(str, chain))
        owner = next((link for link in chain if link.kind in set(Kind)), None)
        if owner is None:
            others.append(path)
        else:
            found.setdefault(Target(named.cluster, named.namespace, owner.name, Kind(owner.kind)), path)
    if len(found) == 1:
        [(target, path)] = found.items()
        how = How.SERVICE if named.by in SERVICES or facts.chains[0][0].kind == "Service" else How.OWNER
        return Identified(target, how, path)
    if found:
        names = ", ".join(f"{target.kind} {target.name}" for target in found)
        return Unidentified(f"The {named} leads to several workloads of “{named.namespace}”: {names}.")
    why = f" {facts.error}" if facts.error else ""
    return Unidentified(f"{others[0]} leads to no Deployment, StatefulSet or DaemonSet.{why}")


def alias_for(named: Named, aliases: Iterable[AliasSpec]) -> AliasSpec | None:
    """The first alias, in the order given, that matches the name."""
    return next((alias for alias in aliases if _applies(alias, named)), None)


def _applies(alias: AliasSpec, named: Named) -> bool:
    return (
        alias.source in ("", named.source)
        and alias.cluster in ("", named.cluster)
        and alias.namespace in ("", named.namespace)
        and matches(alias.pattern, named.name)
    )


def cycle(alias: AliasSpec, others: Iterable[AliasSpec]) -> tuple[AliasSpec, ...]:
    """The aliases that lead from the workload of `alias` back to its own name; empty if none do. An alias names a
    workload, and never another alias, so such a set of aliases says nothing."""
    others, path, seen = tuple(others), [alias], {alias.workload}
    while following := next((one for one in others if _follows(path[-1], one)), None):
        path.append(following)
        if matches(alias.pattern, following.workload):
            return tuple(path)
        if following.workload in seen:
            return ()
        seen.add(following.workload)
    return ()


def _follows(first: AliasSpec, second: AliasSpec) -> bool:
    """Whether the second alias would match the workload of the first. One whose pattern includes the name of its own
    workload leads nowhere else."""
    scopes = ((first.source, second.source), (first.cluster, second.cluster))
    overlap = all("" in pair or pair[0] == pair[1] for pair in scopes)
    there = first.to_namespace or first.namespace
    return (
        overlap
        and ("" in (there, second.namespace) or there == second.namespace)
        and second.workload != first.workload
        and matches(second.pattern, first.workload)
    )


def dump_naming(naming: Naming) -> dict[str, Any]:
    document: dict[str, Any] = _NAMING.dump_python(naming, mode="json")
    return document


def load_naming(document: Any) -> Naming | None:
    return None if document is None else _NAMING.validate_python(document)


@lru_cache(maxsize=1024)
def nearest(name: str, known: tuple[str, ...]) -> tuple[str, ...]:
    """The names of workloads that resemble it most, without regard to case and separators."""
    plain = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
    return tuple(get_close_matches(plain, known[:MAX_COMPARED], n=NEAREST, cutoff=0.5))
