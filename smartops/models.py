"""API tokens, and failed sign-ins of people."""

import uuid_utils.compat as uuids
from django.db import models
from django.db.models.functions import Now


class Token(models.Model):
    """An API token. Only an HMAC of its secret is stored; `lookup` is the public part of its text, and finds the row.

    `scopes` and `namespaces` are lists of strings."""

    id = models.UUIDField(primary_key=True, default=uuids.uuid7, editable=False)
    name = models.CharField(max_length=64, unique=True, help_text="Name of the caller, as shown in the audit.")
    lookup = models.CharField(max_length=12, unique=True, editable=False)
    digest = models.BinaryField(max_length=32, editable=False)
    scopes = models.JSONField(default=list, help_text="read, signals:write, actions:write")
    namespaces = models.JSONField(default=list, blank=True, help_text="Namespaces that the token covers. Empty: all.")
    created_at = models.DateTimeField(db_default=Now(), editable=False)
    expires_at = models.DateTimeField(null=True, blank=True)
    revoked_at = models.DateTimeField(null=True, blank=True)
    last_used_at = models.DateTimeField(null=True, editable=False)

    def __str__(self) -> str:
        return self.name


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
