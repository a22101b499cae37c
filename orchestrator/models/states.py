"""The life of an action: its states, and which follows which. PostgreSQL holds every row to it."""

from django.db import models


class ActionState(models.TextChoices):
    AWAITING_APPROVAL = "awaiting_approval"
    PENDING = "pending"
    APPLYING = "applying"
    VERIFYING = "verifying"
    NEEDS_REVIEW = "needs_review"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    TIMED_OUT = "timed_out"
    CANCELLED = "cancelled"
    REJECTED = "rejected"
    EXPIRED = "expired"


S = ActionState
ACTIVE = (S.AWAITING_APPROVAL, S.PENDING, S.APPLYING, S.VERIFYING, S.NEEDS_REVIEW)
FINAL = tuple(state for state in ActionState if state not in ACTIVE)
TRANSITIONS: dict[ActionState, tuple[ActionState, ...]] = {
    S.AWAITING_APPROVAL: (S.PENDING, S.REJECTED, S.EXPIRED, S.CANCELLED),
    S.PENDING: (S.APPLYING, S.CANCELLED),
    S.APPLYING: (S.PENDING, S.VERIFYING, S.SUCCEEDED, S.FAILED, S.CANCELLED, S.NEEDS_REVIEW),
    S.VERIFYING: (S.SUCCEEDED, S.FAILED, S.TIMED_OUT),
    S.NEEDS_REVIEW: (S.SUCCEEDED, S.FAILED, S.CANCELLED),
}
