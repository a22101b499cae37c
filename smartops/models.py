"""API tokens, sign-ins of people, and the triggers that record changes of accounts and groups. Role grants, second
factors, passkeys and sessions have modules of their own (smartops/people)."""

from datetime import timedelta

import pgtrigger
import uuid_utils.compat as uuids
from django.contrib.auth.models import Group, Permission, User
from django.core.exceptions import ValidationError
from django.core.validators import MinValueValidator
from django.db import models
from django.db.models import Q
from django.db.models.functions import Now
from django.utils import timezone

from signals import actors
from signals.invisible import imitation_problem
from signals.lib import triggers
from signals.lib.constraints import are_actors
from signals.names import name_problems
from smartops.people.grants import RoleGrant
from smartops.people.passkeys import Passkey
from smartops.people.second_factor import SecondFactor
from smartops.people.sessions import Session, ends_sessions

__all__ = ["Passkey", "RoleGrant", "SecondFactor", "Session", "SignIn", "SignInFailures", "Token"]

LONGEST_LIFE = timedelta(days=3650)


class Token(models.Model):
    """An API token. Only an HMAC of its secret is stored; `lookup` is the public part of its text, and finds the row.

    `scopes` and `namespaces` are lists of strings."""

    id = models.UUIDField(primary_key=True, default=uuids.uuid7, editable=False)
    name = models.CharField(max_length=64, unique=True, help_text="Name of the caller, as shown in the audit.")
    lookup = models.CharField(max_length=12, unique=True, editable=False)
    digest = models.BinaryField(max_length=32, editable=False)
    scopes = models.JSONField(default=list, help_text="read, signals:write, actions:write, rules:try")
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

    class Meta:
        triggers = [
            *triggers.recorded(secrets=("digest",), volatile=("last_used_at",)),
            triggers.never_deleted(),  # history refers to its name
            triggers.unchanged("identity_unchanged", "id", "name", "lookup", "created_at"),
            triggers.unchanged(
                "revoked_unchanged",
                *("digest", "scopes", "namespaces", "signals_per_minute", "waiting_signals"),
                *("expires_at", "revoked_at"),
                condition="OLD.revoked_at IS NOT NULL",
            ),
        ]

    def __str__(self) -> str:
        return self.name

    def clean(self) -> None:
        problems: dict[str, str] = {}
        if not 1 <= len(self.name) <= 64 or not self.name.isprintable() or self.name != self.name.strip():
            problems["name"] = "The name must have 1 to 64 printable characters, and none may be a space around it."
        elif imitated := imitation_problem(self.name):
            problems["name"] = imitated
        elif self._state.adding:  # an equal name is refused by its key, also if it was taken just now
            for other in Token.objects.filter(name__iexact=self.name).exclude(name=self.name):
                problems["name"] = f"There is a token “{other.name}”. Choose a name that differs in more than case."
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
    """Failed sign-ins in a row, by a keyed hash of who tried what (smartops/web/failures.py). Rows are deleted an hour
    after the last failure."""

    key = models.CharField(max_length=64, primary_key=True)
    count = models.PositiveIntegerField(default=0)
    last_at = models.DateTimeField(db_default=Now())

    class Meta:
        indexes = [models.Index(fields=["last_at"], name="signinfailures_last_at")]

    def __str__(self) -> str:
        return f"{self.count} until {self.last_at:%H:%M:%S}"


class SignIn(models.Model):
    """One sign-in, failed sign-in or sign-out of a person, or the `count` of failures that were too many for a row each
    (smartops/web/sign_ins.py). `actor`: empty if no account has the name that was typed."""

    at = models.DateTimeField(db_default=Now())
    event = models.CharField(max_length=24)
    actor = models.CharField(max_length=actors.MAX_LENGTH, blank=True)
    address = models.CharField(max_length=64, blank=True)
    reason = models.TextField(blank=True)
    count = models.PositiveIntegerField(default=1)

    class Meta:
        verbose_name = "sign-in"
        indexes = [
            models.Index(fields=["event", "-id"], name="sign_in_by_event"),
            models.Index(fields=["actor", "-id"], name="sign_in_by_actor"),
            models.Index(fields=["at"], name="sign_in_at"),
        ]
        triggers = [triggers.append_only()]

    def __str__(self) -> str:
        return f"{self.event} of {self.actor or 'an unknown name'}"


class AuditExport(models.Model):
    """Who exported which part of the audit (smartops/audit/export.py). The row is stored before the first byte is sent,
    and completed once. `search`: the parameters of the page, as `{name: value}`. An empty `outcome`: it runs, or its
    process has died. `sha256`: of all bytes before the last line of the file."""

    class Outcome(models.TextChoices):
        COMPLETE = "complete"
        FAILED = "failed"  # an error; the last line of the file says which
        ABORTED = "aborted"  # the client went away, or stopped to read

    at = models.DateTimeField(db_default=Now())
    actor = models.CharField(max_length=actors.MAX_LENGTH)
    address = models.CharField(max_length=64, blank=True)
    format = models.CharField(max_length=8)
    search = models.JSONField()
    outcome = models.CharField(max_length=16, choices=Outcome.choices, blank=True)
    rows = models.PositiveBigIntegerField(default=0)
    sha256 = models.CharField(max_length=64, blank=True)
    ended_at = models.DateTimeField(null=True)

    class Meta:
        verbose_name = "export of the audit"
        verbose_name_plural = "exports of the audit"
        indexes = [
            models.Index(fields=["at"], name="audit_export_at"),
            models.Index(fields=["actor", "at"], name="audit_export_by_actor"),
        ]
        constraints = [
            are_actors("audit_export_names_actor", "actor"),
            models.CheckConstraint(
                condition=Q(outcome="", ended_at=None) | ~Q(outcome="") & Q(ended_at__isnull=False),
                name="audit_export_ended_iff_outcome",
            ),
        ]
        triggers = [
            triggers.kept(),
            triggers.unchanged("request_unchanged", "id", "at", "actor", "address", "format", "search"),
            triggers.unchanged("ended_unchanged", condition="OLD.outcome <> ''"),
        ]

    def __str__(self) -> str:
        return f"{self.format} for {self.actor}"


class SeenFailure(models.Model):
    """A failed action whose page was opened by somebody who may act on its workload: first by whom, and when. A row is
    deleted when the overview does not ask for it any more (smartops/console/attention.py)."""

    action_id = models.UUIDField(primary_key=True)
    by = models.CharField(max_length=actors.MAX_LENGTH)
    at = models.DateTimeField(db_default=Now())

    class Meta:
        triggers = [
            triggers.Unswitched(
                name="announce_seen",
                level=pgtrigger.Row,
                when=pgtrigger.After,
                operation=pgtrigger.Insert,
                func="PERFORM pg_notify('smartops', 'action:' || NEW.action_id); RETURN NULL;",
            )
        ]

    def __str__(self) -> str:
        return f"{self.action_id} by {self.by}"


# Proxies of Django's models: they have the triggers of tables that are not ours.


class RecordedUser(User):
    class Meta:
        proxy, default_permissions = True, ()
        triggers = [
            *triggers.recorded(secrets=("password",), volatile=("last_login",)),
            ends_sessions("OLD.id", pgtrigger.Update, pgtrigger.AnyChange("is_active")),
        ]


class RecordedGroup(Group):
    class Meta:
        proxy, default_permissions = True, ()
        triggers = triggers.recorded()


class RecordedPermission(Permission):
    class Meta:
        proxy, default_permissions = True, ()
        triggers = triggers.recorded()


class RecordedUserGroup(User.groups.through):  # type: ignore[name-defined,misc]
    class Meta:
        proxy, default_permissions = True, ()
        triggers = triggers.recorded()


class RecordedUserPermission(User.user_permissions.through):  # type: ignore[name-defined,misc]
    class Meta:
        proxy, default_permissions = True, ()
        triggers = triggers.recorded()


class RecordedGroupPermission(Group.permissions.through):  # type: ignore[name-defined,misc]
    class Meta:
        proxy, default_permissions = True, ()
        triggers = triggers.recorded()
