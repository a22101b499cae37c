"""An ordinary hour of a shop, made by the loop's own verbs on a cluster of values; then moved back in time."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any
from uuid import UUID
from zlib import crc32

from django.db.models import F
from django.db.models.functions import Now

from guardrails.models import GuardrailSetting
from guardrails.types import Limits
from orchestrator.k8s.errors import Unreached
from orchestrator.k8s.target import TargetState
from orchestrator.k8s.types import Preconditions, WorkloadKey, WorkloadObject
from orchestrator.models import (
    Action,
    ActionState,
    AuditEvent,
    DecisionRecord,
    Heartbeat,
    ObservedNamespace,
    ObservedWorkload,
    Verification,
    VerificationStatus,
    Workload,
    transition_store,
    transitions,
)
from orchestrator.reconciler.claim import Claim
from orchestrator.reconciler.snapshot import describe
from signals import actors
from signals.ingest import ingest
from signals.lib.acting import acting
from signals.models import Alias, Rule, Signal
from signals.proposals import restart, scale
from signals.reasons import Reason
from signals.types import ActionType, Observation, Origin, Proposal, Source, Target
from smartops.dev.sandbox.strategic import strategic_merge
from tests.kit.deployments import document
from tests.kit.history import rewritable
from tests.kit.rules import install_default_rules
from tests.kit.verbs import admit, claim, execute, propose

NAMESPACE = "smartops-dev"
MINUTE = timedelta(minutes=1)
CORE_DNS = Target("default", "kube-system", "coredns")
RECONCILER = "reconciler:smartops-7c9f4d6b8-x2lqp/1"


def deployment(name: str, replicas: int, namespace: str = NAMESPACE) -> WorkloadObject:
    key, number = WorkloadKey(namespace, name), crc32(name.encode())
    uid = f"5b1f0c2e-8f3a-4d6e-9a07-{number:012x}"
    counts = (6, replicas, replicas, replicas, replicas)
    return WorkloadObject(key, uid, "48213", 6, replicas, False, False, {}, *counts, document=document(replicas))


@dataclass
class Shop:
    """As much of a cluster as the verbs ask for. `silent` names whose writes go unanswered."""

    deployments: dict[str, WorkloadObject]
    silent: str = ""

    def get_workload(self, key: WorkloadKey) -> WorkloadObject:
        return self.deployments[key.name]

    def scale_workload(self, key: WorkloadKey, replicas: int, **how: Any) -> WorkloadObject:
        return self._write(key, scale.patch({"replicas": replicas}), replicas=replicas, **how)

    def restart_workload(self, key: WorkloadKey, value: str, **how: Any) -> WorkloadObject:
        return self._write(key, restart.patch({"value": value}), **how)

    def patch_workload(self, key: WorkloadKey, patch: dict[str, Any], **how: Any) -> WorkloadObject:
        return self._write(key, patch, **how)

    def _write(
        self, key: WorkloadKey, patch: Any, preconditions: Preconditions, action: str, dry_run: bool, **changes: Any
    ) -> WorkloadObject:
        assert preconditions.uid == self.deployments[key.name].uid
        assert action
        assert not dry_run
        if key.name == self.silent:
            raise Unreached("connect: connection refused")
        was = self.deployments[key.name]
        changes["document"] = json.dumps(strategic_merge(json.loads(was.document), patch))
        version = str(int(was.resource_version) + 7)
        now = replace(was, generation=was.generation + 1, resource_version=version, **changes)
        self.deployments[key.name] = now
        return now

    def look(self, target: Target) -> TargetState:
        return TargetState(seen=True, object=self.deployments.get(target.name))


def anomaly(service: str, type_: str, score: float, window: str, **metadata: Any) -> Observation:
    payload = {
        "windowId": window, "service": service, "isAnomaly": True, "score": score, "type": type_, "metadata": metadata,
    }  # fmt: skip
    target = Target("default", NAMESPACE, service)
    return Observation(Source.ANOMALY, target, type_, window, True, payload, score=score)


def cause(service: str, name: str, probability: float, window: str) -> Observation:
    payload = {
        "windowId": window,
        "rankedCauses": [{"svc": service, "cause": name, "probability": probability}],
        "confidence": probability,
    }
    target = Target("default", NAMESPACE, service)
    return Observation(Source.RCA, target, name, window, True, payload, probability=probability, confidence=probability)


class Hour:
    """Tells what happens, oldest first; each act returns its action where there is one."""

    def __init__(self, shop: Shop) -> None:
        self.shop = shop
        install_default_rules()

    def signal(self, observation: Observation, repeats: int = 1) -> Action | None:
        for number in range(repeats):
            [receipt] = ingest(
                [replace(observation, window_id=f"{observation.window_id}-{number}")], actors.token("agent-smith")
            )
        claim = admit(UUID(receipt.signal_id), self.shop.look, RECONCILER)
        return None if claim is None else claim.action

    def direct(self, type_: ActionType, service: str, params: dict[str, Any], by: str, because: str) -> Action:
        target = Target("default", NAMESPACE, service)
        workload, _ = Workload.objects.get_or_create(
            cluster="default", namespace=NAMESPACE, kind="Deployment", name=service
        )
        return propose(Proposal(type_, target, Origin.DIRECT, params, because), workload, actors.token(by))

    def execute(self, action: Action | None) -> Action:
        assert action is not None
        held = claim(action, RECONCILER) if action.state == ActionState.PENDING else Claim.of(action, Limits())
        execute(held, self.shop, self.shop.look, RECONCILER)  # type: ignore[arg-type]
        return action

    def verify(
        self, action: Action, status: VerificationStatus, reason: Reason, message: str, available: int | None = None
    ) -> Action:
        wanted = self.shop.deployments[action.workload.name]
        count = wanted.replicas if available is None else available
        seen = replace(
            wanted,
            observed_generation=wanted.generation,
            status_replicas=wanted.replicas,
            updated_replicas=wanted.replicas,
            ready_replicas=count,
            available_replicas=count,
        )
        self.shop.deployments[action.workload.name] = seen
        transition_store.store([transitions.verified(action, status, reason, message, seen, RECONCILER)])
        return action

    def success(self, action: Action) -> Action:
        replicas = self.shop.deployments[action.workload.name].replicas
        message = f"{replicas} of {replicas} replicas are updated and available."
        return self.verify(action, VerificationStatus.SUCCESS, Reason.ROLLOUT_COMPLETE, message)


def tuned() -> None:
    """Limits, a rule and aliases, with versions, of a namespace in which nothing happens."""
    with acting("user:ana", reason="The end of the quarter"):
        limits = GuardrailSetting.objects.create(namespace="billing", max_replicas=6, max_actions_per_hour=2)
        GuardrailSetting.objects.filter(pk=limits.pk).update(max_replicas=4)
        rule = Rule.objects.create(
            name="billing-restart",
            priority=1,
            namespace="billing",
            source="rca",
            symptom="deadlock",
            action_type="RESTART",
        )
        Rule.objects.filter(pk=rule.pk).update(enabled=False)
        alias = Alias.objects.create(pattern="Tomcat[0-9]+", namespace="billing", workload="invoices")
        Alias.objects.filter(pk=alias.pk).update(enabled=False)
        Alias.objects.create(pattern="billing.service", namespace="billing", workload="invoices")
        for row in (
            GuardrailSetting.objects.create(namespace="archive", max_replicas=2),
            Rule.objects.create(name="archived-restart", source="anomaly", symptom="error", action_type="RESTART"),
            Alias.objects.create(pattern="Archive[0-9]+", namespace="archive", workload="archive"),
        ):
            row.delete()


@contextmanager
def past() -> Iterator[Callable[..., None]]:
    """Moves actions, their signals and their evidence back, at the end and all at once: `rewritable` takes longer than
    what it is for."""
    moves: list[tuple[Action, timedelta, timedelta]] = []

    def was(action: Action, ago: timedelta, *, rollout: float = 0.0) -> None:
        """Its rollout takes so many seconds."""
        moves.append((action, ago, ago + timedelta(seconds=rollout)))

    yield was
    ended = ("succeeded", "failed", "timed_out")
    with rewritable(Action, AuditEvent, DecisionRecord, Verification, Signal):
        for action, ago, before in moves:
            moved(Action.objects.filter(pk=action.pk), created_at=before, applied_at=before, finished_at=ago)
            moved(AuditEvent.objects.filter(action=action, to_state__in=ended), at=ago)
            moved(AuditEvent.objects.filter(action=action).exclude(to_state__in=ended), at=before)
            moved(DecisionRecord.objects.filter(action=action), created_at=before)
            moved(Verification.objects.filter(action=action), started_at=before, finished_at=ago)
            if action.signal_id:
                signals = Signal.objects.filter(pk=action.signal_id)
                moved(signals, first_seen_at=before, last_seen_at=before, closed_at=ago)


def moved(rows: Any, **by: timedelta) -> None:
    rows.update(**{time: F(time) - ago for time, ago in by.items()})


def reconciled(ago: timedelta = -60 * MINUTE, cluster: str = "default") -> None:
    """A reconciler has passed; by default it goes on for the next hour."""
    Heartbeat.objects.update_or_create(cluster=cluster, reconciler=RECONCILER, defaults={"passed_at": Now() - ago})


def an_ordinary_hour() -> Hour:
    reconciled()
    with past() as was:
        hour = _happened(was)
    tuned()
    return hour


def _happened(was: Callable[..., None]) -> Hour:
    replicas = {
        "erp-simulator": 3, "frontend": 2, "checkoutservice": 3, "cartservice": 2, "recommendationservice": 3,
        "paymentservice": 2, "currencyservice": 2, "adservice": 1, "shippingservice": 8, "redis-cart": 1,
    }  # fmt: skip
    shop = {name: deployment(name, count) for name, count in replicas.items()}
    hour = Hour(Shop(shop | {"coredns": deployment("coredns", 2, "kube-system")}))

    one = hour.execute(hour.signal(cause("erp-simulator", "memory_leak", 0.93, "win-2041")))
    was(hour.success(one), 52 * MINUTE, rollout=14.2)
    one = hour.execute(
        hour.direct(ActionType.SCALE, "checkoutservice", {"replicas": 5}, "ops-cli", "Black Friday rehearsal")
    )
    was(hour.success(one), 44 * MINUTE, rollout=6.8)
    one = hour.execute(hour.signal(anomaly("cartservice", "error", 0.91, "win-2077", errorRate=0.34)))
    message = "The rollout made no progress for 60 s: pods of the new revision do not become ready."
    one = hour.verify(one, VerificationStatus.FAILED, Reason.PROGRESS_DEADLINE_EXCEEDED, message, available=1)
    was(one, 37 * MINUTE, rollout=61.5)
    one = hour.execute(hour.signal(anomaly("frontend", "latency", 0.88, "win-2102", p99_ms=1840), repeats=4))
    was(hour.success(one), 29 * MINUTE, rollout=4.9)
    one = hour.execute(hour.signal(anomaly("recommendationservice", "resource", 0.97, "win-2118", cpu=98.1)))
    message = "2 of 4 replicas were available when the time was up: pods wait for a node with free memory."
    one = hour.verify(one, VerificationStatus.TIMED_OUT, Reason.VERIFICATION_TIMED_OUT, message, available=2)
    was(one, 18 * MINUTE, rollout=300)
    container = {"name": "server", "resources": {"limits": {"memory": "512Mi"}}}
    patch = {"spec": {"template": {"spec": {"containers": [container]}}}}
    one = hour.execute(
        hour.direct(ActionType.PATCH, "currencyservice", {"patch": patch}, "platform-bot", "Raise the memory limit")
    )
    was(hour.success(one), 12 * MINUTE, rollout=9.4)
    one = hour.direct(ActionType.RESTART, "adservice", {}, "ops-cli", "Pick up the rotated certificate")
    live, change = hour.shop.deployments["adservice"], {"value": str(one.pk)}
    transition_store.store([transitions.plan(one, live, change, 0, RECONCILER)])
    message = "A write was not answered, and the target has changed since. Compare it with the planned change."
    transition_store.store([transitions.require_review(one, message, RECONCILER)])
    was(one, 7 * MINUTE)
    withdrawn = hour.signal(cause("redis-cart", "deadlock", 0.84, "win-2149"))
    assert withdrawn is not None
    message = "The problem was resolved before the action was applied."
    transition_store.store([transitions.cancel(withdrawn, Reason.SIGNAL_RESOLVED, message, RECONCILER)])
    was(withdrawn, 4 * MINUTE)

    for observed, ago in (
        (anomaly("frontend", "resource", 0.42, "win-2160", cpu=71.0), 21),
        (cause("emailservice", "memory_leak", 0.9, "win-2163"), 16),
        (cause("paymentservice", "disk_pressure", 0.88, "win-2166"), 11),
        (anomaly("shippingservice", "resource", 0.94, "win-2170", cpu=93.5), 6),
        (replace(anomaly("coredns", "latency", 0.9, "win-2171"), target=CORE_DNS), 5),
        (anomaly("frontend", "latency", 0.9, "win-2174", p99_ms=2110), 2),
    ):
        hour.signal(observed)
        held_back = Signal.objects.filter(fingerprint=observed.fingerprint).exclude(state="admitted")
        moved(held_back, first_seen_at=ago * MINUTE, last_seen_at=ago * MINUTE)

    one = hour.execute(hour.signal(anomaly("erp-simulator", "resource", 0.95, "win-2180", cpu=96.3), repeats=3))
    was(one, timedelta(seconds=9))
    hour.shop.silent = "paymentservice"
    hour.execute(hour.signal(anomaly("paymentservice", "error", 0.86, "win-2184", errorRate=0.22)))
    return hour


def dry_run(hour: Hour) -> Action:
    """A restart that a person has requested as a dry run, and that the API server has accepted."""
    target = Target("default", NAMESPACE, "checkoutservice")
    workload = Workload.objects.get(name=target.name)
    proposal = Proposal(ActionType.RESTART, target, Origin.DIRECT, {}, "A new certificate", dry_run=True, verify=False)
    one = propose(proposal, workload, actors.user("olga"))
    live = hour.shop.deployments[target.name]
    transition_store.store([transitions.plan(one, live, {"value": str(one.pk)}, 0, RECONCILER)])
    transition_store.store([transitions.apply(one, live, Limits(), RECONCILER, answered=True)])
    return one


def observed(hour: Hour) -> None:
    """The snapshot of the workloads, as a reconciler stores it."""
    for one in hour.shop.deployments.values():
        ObservedWorkload.objects.create(cluster="default", **describe(one, None))
    ObservedNamespace.objects.create(
        cluster="default", namespace="*", reconciler=RECONCILER, lease_until=Now() + 60 * MINUTE, complete_at=Now()
    )


def waiting_for_approval(hour: Hour) -> Action:
    """A direct action whose plan is shown to persons, for the second time."""
    one = hour.direct(ActionType.SCALE, "currencyservice", {"replicas": 4}, "ops-cli", "More room for the sale")
    live, change = hour.shop.deployments["currencyservice"], {"replicas": 4}
    plan = transitions.plan_columns(one, live, change, 2)
    shown: dict[str, Any] = {"uid": live.uid, "generation": live.generation, "change": change}
    shown |= {"before": plan["before_image"], "after": plan["after_image"], "rule": None, "rule_version": None}
    shown |= {"limits": {"approvals_required": 1}}
    message = "The mode of smartops-dev/currencyservice is approve (namespace smartops-dev)."
    changed = [{"what": "generation", "before": live.generation - 1, "after": live.generation}]
    asks = transition_store.Asks(shown, "8f14e45fceea167a", Reason.PLAN_CHANGED, message, {"changed": changed}, 1800)
    transition_store.store([transitions.claim(one, RECONCILER)])
    transition_store.store([transitions.ask(one, plan, asks, RECONCILER)])
    return one
