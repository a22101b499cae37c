"""The life of an action: its states, and which follows which. PostgreSQL holds every row to it."""

from django.db import models


class ActionState(models.TextChoices):
    AWAITING_APPROVAL = "awaiting_approval"
    """Set when a guardrail asks for an approval of the plan, and again when what was shown has changed. Persons decide,
    or `deadline_at` ends it. A crash leaves it as it is."""
    PENDING = "pending"
    """Set when a direct action is requested, when an action is approved, and when an attempt is to be repeated. A
    reconciler claims it after `not_before`. A crash leaves it as it is; `deadline_at` cancels it."""
    APPLYING = "applying"
    """Set by the reconciler that admits or claims it, until `lease_until`. The write to the cluster happens in this
    state. After a crash the lease ends, and another reconciler reclaims the action under a new epoch."""
    VERIFYING = "verifying"
    """Set when the API server has confirmed the change. Every reconciler of the cluster watches its rollout, and one
    records the outcome. A crash delays the outcome until a reconciler loads the row."""
    NEEDS_REVIEW = "needs_review"
    """Set when the software cannot find out whether the change was applied. A person settles it in the console
    or the admin, or `deadline_at` ends it as failed. A crash leaves it as it is."""
    SUCCEEDED = "succeeded"
    """Final. Set when the rollout is verified, when nothing was to be verified, or by a review."""
    FAILED = "failed"
    """Final. Set when the rollout failed, when the API server rejected the change, or when a review expired."""
    TIMED_OUT = "timed_out"
    """Final. Set when the rollout was not complete at `deadline_at`."""
    CANCELLED = "cancelled"
    """Final. Set when the action ended before its change was applied."""
    REJECTED = "rejected"
    """Final. Set when a person rejects it."""
    EXPIRED = "expired"
    """Final. Set when too few persons have approved it by `deadline_at`."""
    OBSERVED = "observed"
    """Final. Set in the mode `observe`, instead of the write. It counts as if it had been applied."""


S = ActionState
ACTIVE = (S.AWAITING_APPROVAL, S.PENDING, S.APPLYING, S.VERIFYING, S.NEEDS_REVIEW)
FINAL = tuple(state for state in ActionState if state not in ACTIVE)
TRANSITIONS: dict[ActionState, tuple[ActionState, ...]] = {
    S.AWAITING_APPROVAL: (S.PENDING, S.REJECTED, S.EXPIRED, S.CANCELLED, S.OBSERVED),
    S.PENDING: (S.APPLYING, S.CANCELLED),
    S.APPLYING: (
        *(S.PENDING, S.VERIFYING, S.SUCCEEDED, S.FAILED, S.CANCELLED, S.NEEDS_REVIEW),
        *(S.AWAITING_APPROVAL, S.OBSERVED),
    ),
    S.VERIFYING: (S.SUCCEEDED, S.FAILED, S.TIMED_OUT),
    S.NEEDS_REVIEW: (S.SUCCEEDED, S.FAILED, S.CANCELLED),
}
