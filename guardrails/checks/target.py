"""May SmartOps change this object at all?"""

import re
from datetime import datetime

from guardrails.checks.answers import RECHECK, no_target
from guardrails.types import Deferral, Denial, Facts, Limits, Verdict, Warned
from signals.proposals import changes_template, sets_replicas
from signals.reasons import Reason
from signals.types import Kind, Origin, Proposal

PROTECTED_NAMESPACES = frozenset({"kube-system", "kube-public", "kube-node-lease"})
OWN_NAME = re.compile(r"(^|[-.])smartops-orchestrator($|[-.])")  # the chart's names, also behind a prefix


def target(proposal: Proposal, facts: Facts, limits: Limits, now: datetime) -> Verdict:
    """Protects what SmartOps does not manage, and finds out early that there is nothing to change.

    Closed loop: deny. Direct action: deny; the web process has no access to the target, so the reconciler says it.
    """
    name = "target"
    if not facts.managed:
        message = f"SmartOps does not manage the namespace “{proposal.target.namespace}”."
        return Denial(name, message, reason=Reason.NAMESPACE_NOT_MANAGED)
    if not facts.target_seen:
        return no_target(name, proposal, facts)
    if facts.target is None:
        message = f"There is no {proposal.target.with_kind}."
        if facts.namesakes:
            kinds = " and a ".join(facts.namesakes)
            message += f" There is a {kinds} of this name: name the kind in the request."
        return Denial(name, message, reason=Reason.TARGET_NOT_FOUND)
    if facts.target.deleting:
        return Denial(name, f"{proposal.target} is being deleted.", reason=Reason.TARGET_BEING_DELETED)
    return Verdict(name, details={"uid": facts.target.uid, "replicas": facts.target.replicas})


def readable_namespace(proposal: Proposal, facts: Facts, limits: Limits, now: datetime) -> Verdict:
    """Protects a target whose state the reconciler does not know, because it cannot list the namespace. Other
    namespaces are not affected. The target is decided on when its namespace can be read.

    Closed loop: defer. Direct action: defer; it waits until its deadline.
    """
    name = "readable_namespace"
    if facts.unreadable:
        message = f"SmartOps cannot read the namespace “{proposal.target.namespace}”: {facts.unreadable}"
        return Deferral(name, message, reason=Reason.NAMESPACE_UNREADABLE, until=now + RECHECK)
    if not facts.target_seen:
        return no_target(name, proposal, facts)
    return Verdict(name)


def scaled_to_zero(proposal: Proposal, facts: Facts, limits: Limits, now: datetime) -> Verdict:
    """Protects the decision to run no replicas: `spec.replicas` is 0, so somebody has parked the workload. Its pods may
    still be terminating. A workload whose pods are missing for another reason has a `spec.replicas` above 0. A
    DaemonSet has 0 replicas while it selects no node, and until its controller has counted them.

    Closed loop: deny; defer while the nodes are not counted. Direct action: warn, if the change needs pods and sets no
    replicas.
    """
    name, live = "scaled_to_zero", facts.target
    if live is None:
        return no_target(name, proposal, facts)
    if live.replicas:
        return Verdict(name, details={"replicas": live.replicas})
    if live.uncounted:
        message = f"The controller of {proposal.target.with_kind} has not counted its nodes since its last change."
        counted = {"uncounted": True}
        if proposal.origin is Origin.DIRECT:
            return Verdict(name, message, counted)
        return Deferral(name, message, counted, reason=Reason.ROLLOUT_IN_PROGRESS, until=now + RECHECK)
    details, daemons = {"replicas": 0}, proposal.target.kind is Kind.DAEMON_SET
    state, end = ("selects no node", "it selects one") if daemons else ("is scaled to 0", "it is scaled up")
    if proposal.origin is Origin.CLOSED_LOOP:
        message = f"{proposal.target} {state}. The closed loop does not change it until {end}."
        return Denial(name, message, details, reason=Reason.TARGET_SCALED_TO_ZERO)
    if changes_template(proposal.type, proposal.params) and not sets_replicas(proposal):
        message = f"{proposal.target} {state}: the change reaches no pod until {end}."
        return Warned(name, message, details, reason=Reason.TARGET_SCALED_TO_ZERO)
    return Verdict(name, details=details)


def protected_namespace(proposal: Proposal, facts: Facts, limits: Limits, now: datetime) -> Verdict:
    """Protects the namespaces of the cluster itself.

    Closed loop: deny. Direct action: deny. There is no setting.
    """
    name, namespace = "protected_namespace", proposal.target.namespace
    if namespace in PROTECTED_NAMESPACES:
        message = f"The namespace “{namespace}” belongs to the cluster itself: change it by hand."
        return Denial(name, message, reason=Reason.PROTECTED_NAMESPACE)
    return Verdict(name)


def own_workload(proposal: Proposal, facts: Facts, limits: Limits, now: datetime) -> Verdict:
    """Protects SmartOps itself: a reconciler that restarts or scales down itself or the web process stops the loop
    that would repair them. SMARTOPS_ALLOWED_OWN_WORKLOADS allows workloads by name.

    Closed loop: deny. Direct action: deny. A workload without the name is known by its labels: the web process does not
    observe them, so the reconciler says it.
    """
    name, target = "own_workload", proposal.target
    mark = "its name" if OWN_NAME.search(target.name) else ""
    if not mark:
        if facts.target is None:
            return no_target(name, proposal, facts)
        mark = facts.target.part_of_smartops
    if not mark:
        return Verdict(name)
    details = {"recognized_by": mark}
    if str(target) in facts.exemptions.own_workloads:
        return Verdict(name, "Allowed, as SMARTOPS_ALLOWED_OWN_WORKLOADS names it.", details)
    message = f"{target} is a part of SmartOps, recognized by {mark}: change it by hand."
    return Denial(name, message, details, reason=Reason.OWN_WORKLOAD)
