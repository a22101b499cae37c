"""What the database allows each process to do with each table. `migrate` grants it, as the owner of the tables
(docs/adr/0033-history-that-no-process-can-change.md)."""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from django.apps import apps
from django.conf import settings
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Group, User
from django.contrib.contenttypes.models import ContentType
from django.db import connections, transaction
from django.db.migrations.recorder import MigrationRecorder
from django.db.models import Model
from psycopg.sql import SQL, Composable, Identifier

from guardrails.models import Cooldown, Freeze, GuardrailSetting
from orchestrator.models import (
    Action,
    ActiveAction,
    Approval,
    AuditEvent,
    DecisionRecord,
    Heartbeat,
    IdempotencyKey,
    ObservedNamespace,
    ObservedWorkload,
    Preview,
    PublisherCursor,
    RefusedRequest,
    Verification,
    Workload,
)
from orchestrator.models.action import IDENTITY
from orchestrator.models.evidence import VERIFICATION_BASIS
from signals.aliases import Alias
from signals.models import IDENTITY as SIGNAL_IDENTITY
from signals.models import Allowance, Observation, Problem, Rule, SettingChange, SettingsVersion, Signal, Window
from smartops.models import (
    AuditExport,
    Passkey,
    RoleGrant,
    SecondFactor,
    SeenFailure,
    Session,
    SignIn,
    SignInFailures,
    Token,
)

log = logging.getLogger(__name__)

NONE: Sequence[str] = ()
READ = ("SELECT",)
APPEND = ("SELECT", "INSERT")
MOVE = ("SELECT", "UPDATE")
END = ("SELECT", "DELETE")
STORE = ("SELECT", "INSERT", "UPDATE")
EDIT = ("SELECT", "INSERT", "UPDATE", "DELETE")


@dataclass(frozen=True, slots=True)
class Privileges:
    """Of the two roles on one table. UPDATE does not include the columns of the fields `fixed`. It is also what locks a
    row. `read`: the fields whose columns a reconciler may read, if not all."""

    web: Sequence[str]
    reconciler: Sequence[str]
    fixed: Sequence[str] = ()
    read: Sequence[str] = ()


PRIVILEGES: dict[type[Model], Privileges] = {
    Observation: Privileges(APPEND, READ),
    Signal: Privileges(STORE, MOVE, fixed=SIGNAL_IDENTITY),
    Problem: Privileges(STORE, READ),
    Window: Privileges(STORE, END),
    SettingsVersion: Privileges(READ, READ),  # a trigger of SettingChange counts
    Rule: Privileges(EDIT, READ),
    Alias: Privileges(EDIT, READ),
    GuardrailSetting: Privileges(EDIT, READ),
    Freeze: Privileges(STORE, READ),
    Cooldown: Privileges(EDIT, STORE),
    Workload: Privileges(STORE, STORE),
    Action: Privileges(STORE, STORE, fixed=IDENTITY),
    DecisionRecord: Privileges(APPEND, APPEND),
    Approval: Privileges(APPEND, READ),
    RefusedRequest: Privileges(STORE, NONE),
    AuditEvent: Privileges(READ, READ),  # triggers of Action write these three, with the rights of the owner
    ActiveAction: Privileges(READ, READ),
    IdempotencyKey: Privileges(READ, NONE),
    Verification: Privileges(READ, STORE, fixed=VERIFICATION_BASIS),
    PublisherCursor: Privileges(READ, STORE),
    Heartbeat: Privileges(READ, EDIT),
    ObservedWorkload: Privileges(READ, EDIT),
    ObservedNamespace: Privileges(READ, EDIT),
    Preview: Privileges(EDIT, NONE),
    Allowance: Privileges(EDIT, NONE),
    Token: Privileges(STORE, NONE),
    SignIn: Privileges(APPEND, NONE),
    AuditExport: Privileges(STORE, NONE, fixed=("id", "at", "actor", "address", "format", "search")),
    SettingChange: Privileges(READ, NONE),  # triggers of the recorded tables insert its rows
    SignInFailures: Privileges(EDIT, NONE),
    Session: Privileges(EDIT, NONE),
    SecondFactor: Privileges(EDIT, NONE),
    Passkey: Privileges(EDIT, NONE),
    User: Privileges(EDIT, READ, read=("id", "username", "is_active", "is_superuser")),  # whether it still may
    Group: Privileges(EDIT, READ),
    User.groups.through: Privileges(EDIT, READ),
    RoleGrant: Privileges(EDIT, READ),
    SeenFailure: Privileges(("SELECT", "INSERT", "DELETE"), NONE),
    LogEntry: Privileges(APPEND, NONE),
    ContentType: Privileges(READ, NONE),
    MigrationRecorder.Migration: Privileges(READ, READ),
}
OURS = ("signals", "guardrails", "orchestrator", "smartops")
# A role that may execute a function with the rights of the owner can make it the trigger of a temporary table, and so
# insert into the timeline what no action has done. The triggers of our own tables do not need this privilege.
KEEP_FUNCTIONS = """
    DO $$
    DECLARE name regprocedure;
    BEGIN
        FOR name IN SELECT oid FROM pg_proc WHERE prosecdef AND prorettype = 'trigger'::regtype
            AND pronamespace = 'public'::regnamespace AND proowner = current_user::regrole
        LOOP EXECUTE format('REVOKE EXECUTE ON FUNCTION %s FROM PUBLIC', name); END LOOP;
    END $$
"""


# A reconciler creates the partitions of the next months (signals/lib/partitions.py).
CREATE_PARTITIONS = SQL("GRANT EXECUTE ON FUNCTION smartops_create_partitions() TO {}")


def privileges_of(model: type[Model]) -> Privileges:
    """A model of ours that is not in the table is for both processes, one of Django for the web process."""
    default = Privileges(EDIT, EDIT if model._meta.app_label in OURS else NONE)
    return PRIVILEGES.get(model, default)


def grant(using: str, plan: Any = None, **_: Any) -> None:
    """After `migrate`. Replaces what was granted before, in one transaction. `flush` has no plan, and leaves the
    privileges alone."""
    if plan is None:
        return
    roles = {settings.SMARTOPS_WEB_ROLE: "web", settings.SMARTOPS_RECONCILER_ROLE: "reconciler"}
    with transaction.atomic(using=using), connections[using].cursor() as cursor:
        cursor.execute(KEEP_FUNCTIONS)
        for role, kind in roles.items():
            if _exists(cursor, role):
                for statement in _statements(role, kind):
                    cursor.execute(statement)
                if kind == "reconciler":
                    cursor.execute(CREATE_PARTITIONS.format(Identifier(role)))
            else:
                log.warning(
                    "The role %s does not exist, and the role of DATABASE_URL may not create it: nothing was granted. "
                    "Create it (CREATE ROLE %s NOLOGIN), then run `manage.py migrate` again.",
                    role,
                    role,
                )


def _exists(cursor: Any, role: str) -> bool:
    """Creates it if it may."""
    cursor.execute("SELECT count(*) FROM pg_roles WHERE rolname = %s", [role])
    if cursor.fetchone()[0]:
        return True
    cursor.execute("SELECT rolcreaterole OR rolsuper FROM pg_roles WHERE rolname = current_user")
    if not cursor.fetchone()[0]:
        return False
    create = SQL("CREATE ROLE {} NOLOGIN").format(Identifier(role)).as_string(cursor.connection)
    exists = "EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL"  # created in another database just now
    cursor.execute(f"DO $$ BEGIN {create}; {exists}; END $$")
    return True


def _statements(role: str, kind: str) -> Iterator[Composable]:
    models: list[type[Model]] = [*apps.get_models(include_auto_created=True), MigrationRecorder.Migration]
    managed = [model for model in models if model._meta.managed and not model._meta.proxy]
    tables = SQL(", ").join([Identifier(model._meta.db_table) for model in managed])
    yield SQL("REVOKE ALL ON {} FROM {}").format(tables, Identifier(role))
    for model in managed:
        privileges = privileges_of(model)
        wanted, read = getattr(privileges, kind), privileges.read if kind == "reconciler" else ()
        given = [_privilege(model, one, privileges.fixed, read) for one in wanted]
        if given:
            table = Identifier(model._meta.db_table)
            yield SQL("GRANT {} ON {} TO {}").format(SQL(", ").join(given), table, Identifier(role))


def _privilege(model: type[Model], privilege: str, fixed: Sequence[str], read: Sequence[str]) -> Composable:
    fields = model._meta.concrete_fields
    if privilege == "UPDATE" and fixed:
        columns = [str(field.column) for field in fields if field.name not in fixed]
    elif privilege == "SELECT" and read:
        columns = [str(field.column) for field in fields if field.name in read]
    else:
        return SQL(privilege)
    return SQL("{} ({})").format(SQL(privilege), SQL(", ").join(map(Identifier, columns)))
