"""The domain's reasons, a closed list: the same words in the API, the console, the metrics and the timeline.

docs/reasons.md says what an operator can do about each. The reasons that lie in a request itself are `RequestReason`
of smartops/api/problems.py.
"""

from enum import StrEnum


class Reason(StrEnum):
    # Guardrails: why a proposal is refused or has to wait.
    TARGET_NOT_FOUND = "TargetNotFound"
    TARGET_UNIDENTIFIED = "TargetUnidentified"
    TOO_MANY_UNIDENTIFIED = "TooManyUnidentified"
    TARGET_BEING_DELETED = "TargetBeingDeleted"
    TARGET_BUSY = "TargetBusy"
    NAMESPACE_NOT_MANAGED = "NamespaceNotManaged"
    NAMESPACE_UNREADABLE = "NamespaceUnreadable"
    PROTECTED_NAMESPACE = "ProtectedNamespace"
    OWN_WORKLOAD = "OwnWorkload"
    UNSUPPORTED_BY_KIND = "UnsupportedByKind"
    TARGET_SCALED_TO_ZERO = "TargetScaledToZero"
    ROLLOUT_IN_PROGRESS = "RolloutInProgress"
    ROLLOUT_STUCK = "RolloutStuck"
    TEMPLATE_CHANGED = "TemplateChanged"
    REPLICA_LIMIT = "ReplicaLimit"
    WRONG_DIRECTION = "WrongDirection"
    COOLDOWN_ACTIVE = "CooldownActive"
    RATE_LIMIT = "RateLimit"
    SCALE_VELOCITY_LIMIT = "ScaleVelocityLimit"
    FROZEN = "Frozen"
    TARGET_PAUSED = "TargetPaused"
    ROLLOUT_HELD = "RolloutHeld"
    AUTOSCALED = "Autoscaled"
    AUTOSCALERS_UNKNOWN = "AutoscalersUnknown"
    FIELD_OWNED = "FieldOwned"
    POLICY_DENIED = "PolicyDenied"
    POLICY_UNAVAILABLE = "PolicyUnavailable"
    PATCH_FORBIDDEN = "PatchForbidden"
    RECENTLY_REFUSED = "RecentlyRefused"
    REPLICAS_MISSING = "ReplicasMissing"
    APPROVAL_REQUIRED = "ApprovalRequired"
    OBSERVE_ONLY = "ObserveOnly"

    # Approvals.
    APPROVED = "Approved"
    REJECTED = "Rejected"
    APPROVAL_EXPIRED = "ApprovalExpired"
    PLAN_CHANGED = "PlanChanged"
    OVERRIDDEN = "Overridden"

    # What waits and cannot be decided.
    NO_RECONCILER = "NoReconciler"

    # Signals that lead to no action, or not yet.
    NO_RULE = "NoRule"
    BELOW_THRESHOLD = "BelowThreshold"
    NOT_LASTED = "NotLasted"
    TOO_FEW_REPORTS = "TooFewReports"
    SIGNAL_EXPIRED = "SignalExpired"
    SIGNAL_RESOLVED = "SignalResolved"
    PROCESSING_ERROR = "ProcessingError"

    # Actions that end before they reach the cluster.
    ACTION_EXPIRED = "ActionExpired"
    CANCELLED = "Cancelled"

    # What the cluster said to the write.
    TARGET_REPLACED = "TargetReplaced"
    CLUSTER_FORBIDDEN = "ClusterForbidden"
    CLUSTER_REJECTED = "ClusterRejected"
    CLUSTER_UNREACHABLE = "ClusterUnreachable"
    CLUSTER_ERROR = "ClusterError"
    ADMISSION_UNAVAILABLE = "AdmissionUnavailable"
    CLUSTER_THROTTLED = "ClusterThrottled"
    CONFLICT = "Conflict"
    OUTCOME_UNKNOWN = "OutcomeUnknown"
    RETRIES_EXHAUSTED = "RetriesExhausted"
    REVIEW_EXPIRED = "ReviewExpired"
    REVIEWED = "Reviewed"

    # What verification saw.
    ROLLOUT_COMPLETE = "RolloutComplete"
    PROGRESS_DEADLINE_EXCEEDED = "ProgressDeadlineExceeded"
    REPLICA_FAILURE = "ReplicaFailure"
    VERIFICATION_TIMED_OUT = "VerificationTimedOut"
    SUPERSEDED = "Superseded"
    NO_PODS = "NoPods"
    TARGET_GONE = "TargetGone"


# Why a guardrail refuses a proposal, or lets it wait: the labels of the metrics that count refusals.
GUARDRAIL_REASONS = (
    Reason.TARGET_NOT_FOUND,
    Reason.TARGET_UNIDENTIFIED,
    Reason.TOO_MANY_UNIDENTIFIED,
    Reason.TARGET_BEING_DELETED,
    Reason.TARGET_BUSY,
    Reason.NAMESPACE_NOT_MANAGED,
    Reason.NAMESPACE_UNREADABLE,
    Reason.PROTECTED_NAMESPACE,
    Reason.OWN_WORKLOAD,
    Reason.UNSUPPORTED_BY_KIND,
    Reason.TARGET_SCALED_TO_ZERO,
    Reason.ROLLOUT_IN_PROGRESS,
    Reason.ROLLOUT_STUCK,
    Reason.TEMPLATE_CHANGED,
    Reason.REPLICA_LIMIT,
    Reason.WRONG_DIRECTION,
    Reason.COOLDOWN_ACTIVE,
    Reason.RATE_LIMIT,
    Reason.SCALE_VELOCITY_LIMIT,
    Reason.FROZEN,
    Reason.TARGET_PAUSED,
    Reason.ROLLOUT_HELD,
    Reason.AUTOSCALED,
    Reason.AUTOSCALERS_UNKNOWN,
    Reason.FIELD_OWNED,
    Reason.POLICY_DENIED,
    Reason.POLICY_UNAVAILABLE,
    Reason.PATCH_FORBIDDEN,
    Reason.RECENTLY_REFUSED,
    Reason.REPLICAS_MISSING,
    Reason.APPROVAL_REQUIRED,
    Reason.OBSERVE_ONLY,
)
