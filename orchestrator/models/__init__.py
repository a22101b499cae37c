"""What is done: workloads, actions, and the evidence of both."""

from orchestrator.models.action import Action
from orchestrator.models.approval import Approval, Vote
from orchestrator.models.evidence import AuditEvent, DecisionRecord, Phase, Verification, VerificationStatus
from orchestrator.models.heartbeat import Heartbeat
from orchestrator.models.keys import ActiveAction, IdempotencyKey
from orchestrator.models.observed import ObservedNamespace, ObservedWorkload
from orchestrator.models.preview import Preview
from orchestrator.models.publishing import PublisherCursor
from orchestrator.models.refused_request import RefusedRequest
from orchestrator.models.states import ACTIVE, FINAL, TRANSITIONS, ActionState
from orchestrator.models.workload import Workload

__all__ = [
    "ACTIVE",
    "FINAL",
    "TRANSITIONS",
    "Action",
    "ActionState",
    "ActiveAction",
    "Approval",
    "AuditEvent",
    "DecisionRecord",
    "Heartbeat",
    "IdempotencyKey",
    "ObservedNamespace",
    "ObservedWorkload",
    "Phase",
    "Preview",
    "PublisherCursor",
    "RefusedRequest",
    "Verification",
    "VerificationStatus",
    "Vote",
    "Workload",
]
