"""For which further reports a refusal holds, and when a change of the target ends that."""

import json
from datetime import datetime, timedelta
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
NAME_HOLDS = timedelta(minutes=15)  # nor that a name without a workload stands for another one now
HOLDS = timedelta(days=1)  # nor what another version of SmartOps would decide

OF_SIGNAL = (Reason.NO_RULE, Reason.BELOW_THRESHOLD)  # they depend on the signal and the rules only
# They depend on the proposal, the settings, and of the target on what `digest_of_target` includes.
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
ENDS_SOONER = {Reason.POLICY_DENIED: POLICY_HOLDS, Reason.TARGET_NOT_FOUND: NAME_HOLDS}


def hold(signal: Signal, decided: Decided, settings_version: int) -> Hold | None:
    """None: the next report opens a signal, and is decided on. That is so for every reason that is not listed above.
    `signal` was read with its rules (`Signal.lock_due`), and the version of the settings before anything else that the
    decision used."""
    state, now = decided.question.state, decided.inputs.now
    match decided.decision:
        case Ignore(reason=reason) if reason in OF_SIGNAL:
            bounds = {"until": (now + HOLDS).isoformat()}
        case Deny(reason=reason) if reason in (*OF_TARGET, Reason.POLICY_DENIED) and state.seen:
            until = now + ENDS_SOONER.get(reason, HOLDS)
            bounds = {"target": digest_of_target(state), "until": until.isoformat()}
        case _:
            return None
    found = holds.hold(signal.facts(), signal.enabled_rules, settings_version)
    return None if found is None else {**found, **bounds}


def is_over(held: Hold, state: TargetState, now: datetime) -> bool:
    """Whether a refusal holds no longer, for its time or because its target has changed."""
    until = held.get("until")
    return held.get("target") != digest_of_target(state) or (until is not None and datetime.fromisoformat(until) <= now)


def digest_of_target(state: TargetState) -> str:
    """Another one for another target, for every change of it that may end one of these refusals, and where the
    environment of the process allows something else."""
    target = state.object
    facts: list[object] = [state.managed, state.unreadable]
    facts += [settings.SMARTOPS_ALLOWED_OWN_WORKLOADS, settings.SMARTOPS_ALLOWED_PATCH_PREFIXES]
    if target is not None:
        facts += [target.uid, target.replicas, target.deleting, target.part_of_smartops, target.containers]
    return blake2b(json.dumps(facts).encode(), digest_size=8).hexdigest()
