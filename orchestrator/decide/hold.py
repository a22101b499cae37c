"""For which further reports a refusal holds, and when a change of the target ends that."""

import json
from datetime import timedelta
from hashlib import blake2b

from django.conf import settings

from guardrails.types import Deny, Ignore
from orchestrator.decide.decision import Decided
from orchestrator.k8s.target import TargetState
from signals import holds
from signals.holds import Hold
from signals.models import Signal
from signals.reasons import Reason

POLICY_HOLDS = timedelta(minutes=5)  # nothing reports a change of the policies of an engine
HOLDS = timedelta(days=1)  # nor what another version of SmartOps would decide

OF_SIGNAL = (Reason.NO_RULE, Reason.BELOW_THRESHOLD)  # they depend on the signal and the rules only
# They depend on the proposal, the settings, and of the target on what `digest` includes.
OF_TARGET = (
    Reason.TARGET_NOT_FOUND,
    Reason.TARGET_BEING_DELETED,
    Reason.NAMESPACE_NOT_MANAGED,
    Reason.PROTECTED_NAMESPACE,
    Reason.OWN_WORKLOAD,
    Reason.TARGET_SCALED_TO_ZERO,
    Reason.REPLICA_LIMIT,
    Reason.WRONG_DIRECTION,
    Reason.UNSUPPORTED_BY_KIND,
    Reason.PATCH_FORBIDDEN,
)


def hold(signal: Signal, decided: Decided) -> Hold | None:
    """None: the next report opens a signal, and is decided on. That is so for every reason that is not listed above.
    `signal` was read with its rules and the version of the settings (`Signal.lock_due`)."""
    found, decision = holds.hold(signal.facts(), signal.enabled_rules, signal.settings_version), decided.decision
    if found is None:
        return None
    state, now = decided.question.state, decided.inputs.now
    found = {**found, "until": (now + HOLDS).isoformat()}
    match decision:
        case Ignore(reason=reason) if reason in OF_SIGNAL:
            return found
        case Deny(reason=reason) if reason in OF_TARGET and state.seen:
            return {**found, "target": digest(state)}
        case Deny(reason=Reason.POLICY_DENIED) if state.seen:
            return {**found, "target": digest(state), "until": (now + POLICY_HOLDS).isoformat()}
    return None


def digest(state: TargetState) -> str:
    """Another one for another target, for every change of it that may end one of these refusals, and where the
    environment of the process allows something else."""
    target = state.object
    facts: list[object] = [state.managed, state.unreadable]
    facts += [settings.SMARTOPS_ALLOWED_OWN_WORKLOADS, settings.SMARTOPS_ALLOWED_PATCH_PREFIXES]
    if target is not None:
        facts += [target.uid, target.replicas, target.deleting, target.part_of_smartops, target.containers]
    return blake2b(json.dumps(facts).encode(), digest_size=8).hexdigest()
