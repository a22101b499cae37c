"""A row of each model that people see, in one namespace. Every text in it has a mark, but those of a rule: it is for
all clusters."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from django.contrib.auth.models import User
from django.utils import timezone

from guardrails.models import Cooldown, Freeze, GuardrailSetting
from orchestrator.models import (
    Action,
    Approval,
    AuditEvent,
    DecisionRecord,
    RefusedRequest,
    Verification,
    Workload,
)
from signals import actors
from signals.aliases import Alias
from signals.ingest import ingest
from signals.models import Observation, Rule, SettingChange, Signal
from signals.types import ActionType, Origin, Proposal, Source, Target
from signals.types import Observation as Report
from smartops.models import RoleGrant, Token
from smartops.people.roles import Place, Role
from smartops.tokens import Scope, issue
from tests.kit.people import person
from tests.kit.verbs import propose


def rows_at(place: Place, mark: str) -> Mapping[type[Any], Any]:
    target = Target(place.cluster, place.namespace, f"{mark}-web")
    scope = {"cluster": place.cluster, "namespace": place.namespace, "workload": target.name}
    token = actors.token(f"{mark}-agent")
    workload = Workload.objects.create(
        cluster=place.cluster, namespace=place.namespace, name=target.name, kind="Deployment"
    )
    action = propose(Proposal(ActionType.RESTART, target, Origin.DIRECT, {}, f"{mark} because"), workload, token)
    ingest([Report(Source.ANOMALY, target, f"{mark}-error", f"{mark}-window", True, {"mark": mark}, score=0.9)], token)
    signal = Signal.objects.get(workload=target.name)
    RefusedRequest.record(token, target, "PatchForbidden", f"{mark} no")
    issue(f"{mark}-agent", [Scope.READ], [place.namespace])
    freeze = Freeze.objects.create(**scope, reason=f"{mark} release", by="user:ops")
    return {
        Workload: workload,
        Action: action,
        Signal: signal,
        Freeze: freeze,
        AuditEvent: AuditEvent.objects.filter(action=action).first(),
        Observation: Observation.objects.get(signal=signal),
        RefusedRequest: RefusedRequest.objects.get(requested_by=token),
        Token: Token.objects.get(name=f"{mark}-agent"),
        SettingChange: SettingChange.objects.get(table_name="guardrails_freeze", key=str(freeze.pk)),
        DecisionRecord: DecisionRecord.objects.create(
            phase="admit", signal=signal, kind="Deployment", requested_by=token, outcome="deny", inputs={}, verdicts=[],
            reason="RateLimited", message=f"{mark} denied", **scope,
        ),
        Approval: Approval.objects.create(
            action=action, digest="d", by="user:ops", decision="approve", reason=f"{mark} fine"
        ),
        Verification: Verification.objects.create(action=action, message=f"{mark} ready", generation=1, baseline={}),
        GuardrailSetting: GuardrailSetting.objects.create(**scope, max_replicas=6),
        Cooldown: Cooldown.objects.create(**scope, action_type="SCALE", until=timezone.now() + timedelta(hours=1)),
        Rule: Rule.objects.create(
            name=f"{place.namespace}-rule-{Rule.objects.count()}", source="anomaly",
            symptom="error", action_type="RESTART",
            namespace=place.namespace, workload=f"{place.namespace}-web",
        ),
        Alias: Alias.objects.create(
            pattern=f"{mark}-.*", cluster=place.cluster, namespace=place.namespace, workload=target.name
        ),
        RoleGrant: RoleGrant.objects.create(
            user=User.objects.filter(username="grantee").first() or person("grantee"),
            role=Role.VIEWER, cluster=place.cluster, namespace=place.namespace,
        ),
    }  # fmt: skip
