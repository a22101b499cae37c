"""Labels and annotations. Other controllers act on them: a patch may set those that no known controller reads. Pure.

A name with a prefix, as `argocd.argoproj.io/tracking-id`, belongs to the owner of the domain: a GitOps tool, a service
mesh, an autoscaler, Kubernetes itself. The installation may allow prefixes of its own.
"""

from typing import Any

from signals.proposals.patch_allowlist.rules import Prefixes, Rule, names

LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
RESTARTED_AT = "kubectl.kubernetes.io/restartedAt"  # kubectl's own way to restart
# Without a prefix, but read by Helm 2, by service meshes, and by tools that prune or select by them.
WELL_KNOWN_LABELS = frozenset({"app", "chart", "heritage", "k8s-app", "release", "version"})


def labels(prefixes: Prefixes) -> Rule:
    def why_not(name: str, value: Any) -> str:
        if name in WELL_KNOWN_LABELS:
            return "other tools select by this label"
        return _foreign(name, prefixes) or _text(value)

    return names(why_not)


def annotations(prefixes: Prefixes) -> Rule:
    return names(lambda name, value: _foreign(name, prefixes) or _text(value))


def pod_labels(prefixes: Prefixes) -> Rule:
    def why_not(name: str, value: Any) -> str:
        if "/" not in name:
            return "Services, NetworkPolicies and PodDisruptionBudgets select pods by their labels"
        return _foreign(name, prefixes) or _text(value)

    return names(why_not)


def pod_annotations(prefixes: Prefixes) -> Rule:
    return names(lambda name, value: _foreign(name, (*prefixes, RESTARTED_AT)) or _text(value))


def _foreign(name: str, prefixes: Prefixes) -> str:
    domain, slash, _ = name.partition("/")
    if name == LAST_APPLIED:
        return "the next `kubectl apply` would remove what this leaves out"
    if slash and (domain == "smartops.io" or domain.endswith(".smartops.io")):
        return "smartops.io is reserved for SmartOps itself"
    if slash and not name.startswith(prefixes):
        return "a name with a prefix can steer another controller; SMARTOPS_ALLOWED_PATCH_PREFIXES allows prefixes"
    return ""


def _text(value: Any) -> str:
    return "" if value is None or isinstance(value, str) else "it must be a text, or null to remove it"
