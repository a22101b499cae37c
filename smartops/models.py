"""API tokens, and failed sign-ins of people."""

from datetime import timedelta

import uuid_utils.compat as uuids
from django.core.exceptions import ValidationError
from django.core.validators import MinValueValidator
from django.db import models
from django.db.models.functions import Now
from django.utils import timezone

from signals.names import name_problems

LONGEST_LIFE = timedelta(days=3650)


class Token(models.Model):
    """An API token. Only an HMAC of its secret is stored; `lookup` is the public part of its text, and finds the row.

    `scopes` and `namespaces` are lists of strings."""

    id = models.UUIDField(primary_key=True, default=uuids.uuid7, editable=False)
    name = models.CharField(max_length=64, unique=True, help_text="Name of the caller, as shown in the audit.")
    lookup = models.CharField(max_length=12, unique=True, editable=False)
    digest = models.BinaryField(max_length=32, editable=False)
    scopes = models.JSONField(default=list, help_text="read, signals:write, actions:write")
    namespaces = models.JSONField(default=list, blank=True, help_text="Namespaces that the token covers. Empty: all.")
    signals_per_minute = models.PositiveIntegerField(
        null=True, blank=True, validators=[MinValueValidator(1)], help_text="Empty: SMARTOPS_SIGNALS_PER_MINUTE."
    )
    waiting_signals = models.PositiveIntegerField(
        null=True,
        blank=True,
        validators=[MinValueValidator(1)],
        help_text="How many of its signals may wait for a decision. Empty: SMARTOPS_WAITING_SIGNALS.",
    )
    created_at = models.DateTimeField(db_default=Now(), editable=False)
    expires_at = models.DateTimeField(null=True, blank=True)
    revoked_at = models.DateTimeField(null=True, blank=True)
    last_used_at = models.DateTimeField(null=True, editable=False)

    def __str__(self) -> str:
        return self.name

    def clean(self) -> None:
        problems: dict[str, str] = {}
        if not 1 <= len(self.name.strip()) <= 64 or not self.name.isprintable():
            problems["name"] = "The name must have 1 to 64 printable characters."
        for namespace in self.namespaces:
            if problem := name_problems(namespace=namespace):
                problems["namespaces"] = f"“{namespace}”: {problem['namespace']}"
        now = timezone.now()
        if self.expires_at and self.expires_at > now + LONGEST_LIFE:
            problems["expires_at"] = (
                f"It is more than {LONGEST_LIFE.days} days away. Leave it empty for a token that does not expire."
            )
        if self.revoked_at and self.revoked_at > now:
            problems["revoked_at"] = "A token cannot be revoked at a later time. Choose “Now”, or a time in the past."
        if problems:
            raise ValidationError(problems)


class SignInFailures(models.Model):
    """Failed sign-ins in a row, by a keyed hash of who tried what (smartops/web/sign_in.py). Rows are deleted an hour
    after the last failure."""

    key = models.CharField(max_length=64, primary_key=True)
    count = models.PositiveIntegerField(default=0)
    last_at = models.DateTimeField(db_default=Now())

    class Meta:
        indexes = [models.Index(fields=["last_at"], name="signinfailures_last_at")]

    def __str__(self) -> str:
        return f"{self.count} until {self.last_at:%H:%M:%S}"
