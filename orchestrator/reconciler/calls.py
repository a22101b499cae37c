"""What the threads of the pool do. Each function makes network calls only, and returns one answer. The error that it
raises becomes an answer, too (under_way.py)."""

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TypeVar
from uuid import UUID

from opentelemetry.trace import Span

from guardrails.types import PolicyAnswer
from orchestrator.actions import HANDLERS
from orchestrator.decide.policy import query_policy
from orchestrator.k8s.cluster import Cluster
from orchestrator.k8s.errors import NotFound
from orchestrator.k8s.target import TargetState
from orchestrator.k8s.types import Preconditions, WorkloadKey, WorkloadObject
from orchestrator.models import Action
from orchestrator.reconciler.claim import Claim
from orchestrator.reconciler.next_step import NextStep, Plan, next_step
from signals.identity import Identified, alias_for, identify
from signals.lib import tracing
from signals.models import Signal
from signals.proposals import PROPOSAL_TYPES
from signals.types import ActionType, AliasSpec, Kind, Named, Naming, NamingFacts, Proposal

log = logging.getLogger(__name__)
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Candidate:
    """A due signal with what its decision needs to know. `error`: a call failed unexpectedly. `naming`: what is known
    of its name, if that is not the name of a workload; `aliases` are those that may apply to it."""

    signal: Signal
    proposal: Proposal | None
    state: TargetState
    span: Span
    policy: PolicyAnswer | None = None
    error: Exception | None = None
    aliases: tuple[AliasSpec, ...] = ()
    naming: Naming | None = None

    def __str__(self) -> str:
        return f"signal {self.signal.pk}"


@dataclass(frozen=True, slots=True)
class Reading:
    """The target of a claimed action, read before its write. `step` says what to do next."""

    claim: Claim
    step: NextStep
    state: TargetState
    policy: PolicyAnswer | None = None
    error: Exception | None = None

    def __str__(self) -> str:
        return str(self.claim)


@dataclass(frozen=True, slots=True)
class Answer:
    """Of a write: the object as the API server stored it, or the error."""

    claim: Claim
    result: WorkloadObject | Exception

    def __str__(self) -> str:
        return str(self.claim)


@dataclass(frozen=True, slots=True)
class Rehearsal:
    """Of a dry run of what waits for an approval: the object as the API server would have stored it, or the error."""

    action: Action
    result: WorkloadObject | Exception

    def __str__(self) -> str:
        return f"action {self.action.pk}"


@dataclass(frozen=True, slots=True)
class Confirmation:
    """A live read of a workload whose verification is about to end badly; None if it was deleted. `pods` says
    why one of its pods does not run, if the cluster says so."""

    key: WorkloadKey
    action_id: UUID
    result: WorkloadObject | Exception | None
    pods: str = ""


def look_up(
    candidate: Candidate, observe_live: Callable[..., TargetState], read_name: Callable[[Named], NamingFacts]
) -> Candidate:
    """Reads the target live if the cache does not have it, then queries the policy engine. Where there is no workload
    of this name, reads what the name may stand for instead."""
    signal, proposal = candidate.signal, candidate.proposal
    with tracing.within(candidate.span, signal=signal.pk):
        state = candidate.state if signal.needs_identification else observe_live(signal.target)
        if signal.needs_identification or (state.missing and signal.naming is None):
            facts = read_name(signal.named)
            naming = Naming(signal.named, replace(facts, alias=alias_for(signal.named, candidate.aliases)))
            if signal.needs_identification or isinstance(identify(naming.named, naming.facts), Identified):
                return replace(candidate, state=state, naming=naming)
        policy = None
        if proposal is not None and not state.unreadable:
            policy = query_policy(proposal, state, signal)
    return replace(candidate, state=state, policy=policy)


def read(claim: Claim, cluster: Cluster, state: TargetState) -> Reading:
    """Reads the target of the action live. If a write may follow, queries the policy engine. `state` is that of the
    cache, for all that is not in the object itself."""
    action = claim.action
    if (state.unreadable or not state.managed) and not action.planned_resource_version:
        return Reading(claim, NextStep.PLAN, state)  # nothing was written there, and nothing will be now
    with tracing.within(claim.span, signal=action.signal_id, action=action.pk):
        live = get(cluster, action.workload.key)
        state, step, policy = replace(state, object=live), next_step(plan_of(claim), live), None
        if step in (NextStep.PLAN, NextStep.REFRESH, NextStep.RESEND) and claim.unanswered is None:
            policy = query_policy(action.proposal, state, action.signal)
    return Reading(claim, step, state, policy)


def write(claim: Claim, cluster: Cluster) -> Answer:
    """One request, tried once. All that makes a copy of it harmless is in it."""
    action = claim.action
    guard = Preconditions(uid=action.planned_uid, resource_version=action.planned_resource_version)
    with tracing.within(claim.span, signal=action.signal_id, action=action.pk):
        handler = HANDLERS[ActionType(action.type)]
        change = action.change or {}
        return Answer(claim, handler.write(cluster, action.workload.key, change, guard, str(action.pk), action.dry_run))


def rehearse(action: Action, cluster: Cluster) -> Rehearsal:
    """The change that is shown, against the version that the target has now."""
    key = action.workload.key
    live = cluster.get_workload(key)
    guard = Preconditions(uid=action.planned_uid, resource_version=live.resource_version)
    handler = HANDLERS[ActionType(action.type)]
    return Rehearsal(action, handler.write(cluster, key, action.change or {}, guard, str(action.pk), True))


def confirm(key: WorkloadKey, action_id: UUID, span: Span, cluster: Cluster) -> Confirmation:
    with tracing.within(span, action=action_id):
        live = get(cluster, key)
        return Confirmation(key, action_id, live, "" if live is None else _pods(cluster, live))


def _pods(cluster: Cluster, live: WorkloadObject) -> str:
    """The youngest pod that does not run, and why. Without the right to list pods, nothing."""
    if live.available_replicas >= max(live.replicas, live.status_replicas):
        return ""
    try:
        pods = cluster.list_pods(live.key.namespace, live.selector)
    except Exception as error:  # noqa: BLE001 - it is evidence, and nothing depends on it
        log.info("the pods of %s cannot be listed: %s", live.key, error)
        return ""
    stopped = [one for one in pods if one.problem and not one.ready]
    youngest = max(stopped, key=lambda one: (one.created_at, one.name), default=None)
    return "" if youngest is None else f"Pod {youngest.name}: {youngest.problem}"


def get(cluster: Cluster, key: WorkloadKey) -> WorkloadObject | None:
    try:
        return cluster.get_workload(key)
    except NotFound:
        return None


def plan_of(claim: Claim) -> Plan:
    action = claim.action
    return Plan(
        str(action.pk),
        action.planned_uid,
        action.planned_resource_version,
        action.planned_generation,
        claim.ambiguous and not action.dry_run,  # to send a dry run again is harmless
        unversioned=_is_unversioned(action),
    )


def _is_unversioned(action: Action) -> bool:
    """Only of a Deployment do annotations and labels move the generation."""
    fields = PROPOSAL_TYPES[ActionType(action.type)].fields(action.params)
    return action.workload.key.kind is not Kind.DEPLOYMENT and any(one.startswith("metadata.") for one in fields)
