"""What the roles of the processes may do in the database, tried by each of them: every table, every operation."""

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from django.apps import apps
from django.contrib.auth.models import User
from django.core.checks import run_checks
from django.db import connection
from psycopg.errors import InsufficientPrivilege
from pytest_django.fixtures import Settings

from orchestrator.models import Action, Verification
from orchestrator.models.action import IDENTITY
from orchestrator.models.evidence import VERIFICATION_BASIS
from signals.models import IDENTITY as SIGNAL_IDENTITY
from signals.models import SettingChange, Signal
from smartops import privileges
from smartops.dev.postgres import RECONCILER_ROLE, WEB_ROLE
from tests.kit.processes import environment, ran

pytestmark = pytest.mark.django_db

WEB, RECONCILER = WEB_ROLE, RECONCILER_ROLE
# Of each table: what the web process and what a reconciler may do. s: SELECT, i: INSERT, u: UPDATE, d: DELETE.
MAY = {
    "signals_observation": ("si", "s"),
    "signals_signal": ("siu", "su"),
    "signals_problem": ("siu", "s"),
    "signals_window": ("siu", "sd"),
    "signals_settingsversion": ("s", "s"),
    "signals_allowance": ("siud", ""),
    "signals_rule": ("siud", "s"),
    "signals_alias": ("siud", "s"),
    "guardrails_guardrailsetting": ("siud", "s"),
    "guardrails_freeze": ("siu", "s"),
    "guardrails_cooldown": ("siud", "siu"),
    "orchestrator_workload": ("siu", "siu"),  # UPDATE locks a row; a trigger refuses a change
    "orchestrator_action": ("siu", "siu"),
    "orchestrator_decisionrecord": ("si", "si"),
    "orchestrator_approval": ("si", "s"),
    "orchestrator_auditevent": ("s", "s"),
    "orchestrator_activeaction": ("s", "s"),
    "orchestrator_idempotencykey": ("s", ""),
    "orchestrator_verification": ("s", "siu"),
    "orchestrator_publishercursor": ("s", "siu"),
    "orchestrator_heartbeat": ("s", "siud"),
    "orchestrator_observedworkload": ("s", "siud"),
    "orchestrator_observednamespace": ("s", "siud"),
    "orchestrator_preview": ("siud", ""),
    "smartops_token": ("siu", ""),
    "smartops_signin": ("si", ""),
    "smartops_auditexport": ("siu", ""),
    "signals_settingchange": ("s", ""),
    "smartops_signinfailures": ("siud", ""),
    "smartops_secondfactor": ("siud", ""),
    "smartops_passkey": ("siud", ""),
    "smartops_seenfailure": ("sid", ""),
    "auth_user": ("siud", "s"),  # a reconciler reads some columns
    "orchestrator_refusedrequest": ("siu", ""),
    "auth_group": ("siud", "s"),
    "auth_permission": ("siud", ""),
    "auth_user_groups": ("siud", "s"),
    "smartops_rolegrant": ("siud", "s"),
    "auth_user_user_permissions": ("siud", ""),
    "auth_group_permissions": ("siud", ""),
    "account_emailaddress": ("siud", ""),  # those of allauth
    "account_emailconfirmation": ("siud", ""),
    "socialaccount_socialaccount": ("siud", ""),
    "socialaccount_socialapp": ("siud", ""),
    "socialaccount_socialtoken": ("siud", ""),
    "smartops_session": ("siud", ""),
    "django_admin_log": ("si", ""),
    "django_content_type": ("s", ""),
    "django_migrations": ("s", "s"),
}
OPERATIONS = {
    "s": "SELECT FROM {table} LIMIT 0",
    "i": "INSERT INTO {table} DEFAULT VALUES",
    "u": "UPDATE {table} SET {column} = {column} WHERE false",
    "d": "DELETE FROM {table} WHERE false",
}
NEVER = (
    "TRUNCATE {table}",
    "TRUNCATE {table} CASCADE",
    "DROP TABLE {table}",
    "DROP TABLE {table} CASCADE",
    "ALTER TABLE {table} ADD COLUMN another int",
    "ALTER TABLE {table} DISABLE TRIGGER ALL",
    "ALTER TABLE {table} DISABLE TRIGGER USER",
    "ALTER TABLE {table} ENABLE ROW LEVEL SECURITY",
    "ALTER TABLE {table} OWNER TO CURRENT_USER",
    "ALTER TABLE {table} RENAME TO another",
    "CREATE INDEX ON {table} ((1))",
    "CREATE TRIGGER another BEFORE INSERT ON {table} EXECUTE FUNCTION suppress_redundant_updates_trigger()",
    "CREATE RULE another AS ON INSERT TO {table} DO INSTEAD NOTHING",
    "COPY {table} FROM PROGRAM 'true'",
)
NOWHERE = (
    "SET session_replication_role = replica",
    "SET ROLE {owner}",
    "SET SESSION AUTHORIZATION {owner}",
    "GRANT {owner} TO CURRENT_USER",
    "ALTER ROLE CURRENT_USER SUPERUSER",
    "ALTER ROLE CURRENT_USER CREATEROLE",
    "CREATE ROLE another",
    "CREATE SCHEMA another",
    "SELECT setval('orchestrator_auditevent_id_seq', 1)",
    "SELECT nextval('orchestrator_auditevent_id_seq')",
    "ALTER DATABASE {database} SET search_path = pg_temp",
    "ALTER FUNCTION {function}() RESET ALL",
    "DROP FUNCTION {function}() CASCADE",
    "CREATE OR REPLACE FUNCTION {function}() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'",
    "LOCK TABLE signals_observation IN ACCESS EXCLUSIVE MODE",
)


@pytest.fixture(scope="module", params=[WEB, RECONCILER])
def session(request: pytest.FixtureRequest, django_db_setup: None) -> Iterator[psycopg.Connection]:
    """Of a process: with its role."""
    with psycopg.connect(environment(request.param)["DATABASE_URL"], autocommit=True) as session:
        yield session


def allowed(session: psycopg.Connection, statement: str) -> bool:
    """Whether the role has the privileges, be there rows or not. Nothing stays."""
    session.execute("BEGIN")
    try:
        session.execute(statement.encode())
    except InsufficientPrivilege:
        return False
    except psycopg.Error:  # a constraint or a trigger: it has the privileges
        return True
    finally:
        session.execute("ROLLBACK")
    return True


def role_of(session: psycopg.Connection) -> int:
    return (WEB, RECONCILER).index(session.info.user)


def column_of(table: str) -> str:
    """One that may be changed, if any may."""
    known = {
        "orchestrator_action": "state",
        "signals_signal": "state",
        "orchestrator_verification": "status",
        "smartops_auditexport": "outcome",
    }
    model = next((one for one in apps.get_models(include_auto_created=True) if one._meta.db_table == table), None)
    return known.get(table) or (str(model._meta.pk.column) if model is not None and model._meta.pk else "id")


def test_the_matrix_has_every_table() -> None:
    tables = set(connection.introspection.table_names())

    assert MAY.keys() == tables, "add it to MAY, and to PRIVILEGES in smartops/privileges.py unless both may edit it"


@pytest.mark.parametrize("table", MAY)
def test_a_role_has_the_privileges_that_its_process_needs_and_no_others(
    session: psycopg.Connection, table: str
) -> None:
    column = column_of(table)
    found = [name for name, text in OPERATIONS.items() if allowed(session, text.format(table=table, column=column))]

    assert "".join(found) == MAY[table][role_of(session)]


@pytest.mark.parametrize("table", MAY)
def test_no_role_of_a_process_may_alter_or_empty_a_table(session: psycopg.Connection, table: str) -> None:
    assert not [statement for statement in NEVER if allowed(session, statement.format(table=table))]


@pytest.mark.parametrize("statement", NOWHERE)
def test_no_role_of_a_process_may_become_more_than_it_is(session: psycopg.Connection, statement: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT current_user, current_database()")
        owner, database = cursor.fetchone()
        cursor.execute("SELECT proname FROM pg_proc WHERE proname LIKE 'pgtrigger_append_only%' LIMIT 1")
        [function] = cursor.fetchone()

    assert not allowed(session, statement.format(owner=owner, database=database, function=function))


@pytest.mark.parametrize(
    ("model", "fixed"), [(Action, IDENTITY), (Signal, SIGNAL_IDENTITY), (Verification, VERIFICATION_BASIS)]
)
def test_no_role_of_a_process_may_change_what_a_row_is_about(
    session: psycopg.Connection, model: Any, fixed: tuple[str, ...]
) -> None:
    columns = {field.name: str(field.column) for field in model._meta.concrete_fields}
    statement = "UPDATE {table} SET {column} = {column} WHERE false"
    table = model._meta.db_table

    changeable = {
        name for name, column in columns.items() if allowed(session, statement.format(table=table, column=column))
    }

    assert changeable in ([set()] if model is Verification and role_of(session) == 0 else [columns.keys() - set(fixed)])


def test_the_setting_of_the_trigger_library_gives_nothing(session: psycopg.Connection) -> None:
    session.execute("SELECT set_config('pgtrigger.ignore', array_agg(tgname)::text, false) FROM pg_trigger")

    assert not allowed(session, "DELETE FROM orchestrator_auditevent")
    assert not allowed(session, "UPDATE orchestrator_auditevent SET message = 'x'")


def test_no_role_of_a_process_writes_the_timeline_by_a_table_of_its_own(session: psycopg.Connection) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT oid::regprocedure::text FROM pg_proc WHERE prosecdef AND proname LIKE 'pgtrigger%'")
        functions = [name for [name] in cursor.fetchall()]
    table = "CREATE TEMP TABLE own (LIKE orchestrator_action)"

    assert functions
    assert allowed(session, table)
    for function in functions:
        trigger = f"CREATE TRIGGER own AFTER INSERT ON own FOR EACH ROW EXECUTE FUNCTION {function}"
        assert not allowed(session, f"{table}; {trigger}")


def test_the_changes_of_the_web_process_are_recorded_although_it_may_not_write_the_history() -> None:
    with psycopg.connect(environment(WEB)["DATABASE_URL"]) as session:
        session.execute("SELECT set_config('smartops.actor', 'user:ana', true)")
        session.execute("INSERT INTO auth_group (name) VALUES ('approvers')")
        found = session.execute("SELECT actor, login, after ->> 'name' FROM signals_settingchange ORDER BY id DESC")
        assert found.fetchone() == ("user:ana", WEB, "approvers")
        session.execute("SELECT set_config('smartops.actor', 'ana', true)")
        with pytest.raises(psycopg.errors.CheckViolation, match="setting_change_names_actor"):
            session.execute("INSERT INTO auth_group (name) VALUES ('viewers')")
        session.rollback()


@pytest.mark.django_db(transaction=True)
def test_a_command_is_the_actor_of_its_changes() -> None:
    code, printed = ran(["manage.py", "create_token", "agent", "--scope", "read"], environment(WEB))
    assert code == 0, printed

    change = SettingChange.objects.get(table_name="smartops_token")
    assert (change.actor, change.login, change.operation) == ("system:create_token", WEB, "insert")


def test_a_migration_grants_the_same_again() -> None:
    statement = "SELECT relname, relacl::text FROM pg_class WHERE relkind IN ('r', 'p') AND relacl <> '{}' ORDER BY 1"
    with connection.cursor() as cursor:
        cursor.execute(statement)
        before = cursor.fetchall()
        privileges.grant(using="default", plan=[])
        cursor.execute(statement)

        assert cursor.fetchall() == before


def test_a_role_that_cannot_be_created_is_named(settings: Settings, caplog: pytest.LogCaptureFixture) -> None:
    settings.SMARTOPS_WEB_ROLE = "no such role"
    with connection.cursor() as cursor:
        cursor.execute("SELECT rolcreaterole OR rolsuper FROM pg_roles WHERE rolname = current_user")
        if cursor.fetchone()[0]:
            pytest.skip("the role of the tests may create roles")

    privileges.grant(using="default", plan=[])

    assert "The role no such role does not exist" in caplog.text


def test_flush_leaves_the_privileges_alone(django_assert_num_queries: object) -> None:
    with django_assert_num_queries(0):  # type: ignore[operator]
        privileges.grant(using="default")


def test_a_process_that_owns_the_tables_is_warned(settings: Settings) -> None:
    User.objects.exists()  # any connection: that of the tests owns the tables

    found = run_checks(tags=["database"], include_deployment_checks=True, databases=["default"])

    assert "smartops.W002" in [message.id for message in found]
