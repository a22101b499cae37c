"""Rights as `kubectl auth can-i --list` writes them: {"deployments.apps/scale": {"get", "list"}}."""

import re
from collections.abc import Iterable

from orchestrator.k8s.permissions import PERMISSIONS
from tests.chart.rendering import CHART, Object

Rights = dict[str, set[str]]

READ = {"get", "list", "watch"}
CHANGE = READ | {"patch", "update"}
PROMISED: Rights = {
    "pods": READ | {"delete"},
    "pods/log": READ | {"delete"},
    "events": READ | {"delete"},
    "deployments.apps": CHANGE,
    "replicasets.apps": CHANGE,
    "deployments.apps/scale": CHANGE,
    "namespaces": {"get", "list"},
}


def qualified(group: str, resource: str) -> str:
    name, _, subresource = resource.partition("/")
    return "/".join(filter(None, (f"{name}.{group}" if group else name, subresource)))


def granted(rules: Iterable[Object]) -> Rights:
    """By a Role."""
    return _united(
        (qualified(group, resource), rule["verbs"])
        for rule in rules
        for group in rule["apiGroups"]
        for resource in rule["resources"]
    )


def needed() -> Rights:
    """By the reconciler, as its self-check says."""
    return _united((qualified(right.group, right.resource), right.verbs) for right in PERMISSIONS)


def told() -> Rights:
    """By docs/install.md."""
    _, _, section = (CHART.parents[1] / "docs/install.md").read_text().partition("\n## Rights\n")
    rows = re.findall(r"^\| `([a-z./]+)` \| ([a-z, ]+) \|", section, re.MULTILINE)
    return _united((resource, verbs.split(", ")) for resource, verbs in rows)


def _united(pairs: Iterable[tuple[str, Iterable[str]]]) -> Rights:
    found: Rights = {}
    for resource, verbs in pairs:
        found.setdefault(resource, set()).update(verbs)
    return found
