"""The history of settings: one row for each change, whoever makes it."""

import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import Group, Permission, User
from django.db import Error, IntegrityError, connection, transaction
from django.db.models import F
from django.utils import timezone
from pytest_django.fixtures import Settings

from guardrails.models import Cooldown, Freeze, GuardrailSetting
from signals.aliases import Alias
from signals.lib import triggers
from signals.lib.acting import acting, give_reason
from signals.models import Rule, SettingChange
from signals.types import ActionType, Target
from smartops.models import Passkey, SecondFactor, Token
from smartops.people.roles import Role
from smartops.tokens import Scope, issue
from tests.kit.people import grant as grant_role
from tests.kit.threads import at_once

SCOPE = {"cluster": "default", "namespace": "shop", "workload": "api"}
TARGET = Target("default", "shop", "api")


def a_token() -> Token:
    issue("agent", [Scope.READ])
    return Token.objects.get(name="agent")


def membership() -> Any:
    user = User.objects.create_user("rita")
    user.groups.add(Group.objects.create(name="approvers"))
    return User.groups.through.objects.get(user=user)


def grant() -> Any:
    user = User.objects.create_user("rita")
    user.user_permissions.add(Permission.objects.earliest("id"))
    return User.user_permissions.through.objects.get(user=user)


def group_grant() -> Any:
    group = Group.objects.create(name="approvers")
    group.permissions.add(Permission.objects.earliest("id"))
    return Group.permissions.through.objects.get(group=group)


def role_grant() -> Any:
    return grant_role(User.objects.create_user("rita"), "viewer")


def second_factor() -> Any:
    owner = User.objects.create_user("rita")
    return SecondFactor.objects.create(user=owner, secret="x", used_counter=1, recovery=[])  # noqa: S106


def passkey() -> Any:
    return Passkey.objects.create(
        second_factor=second_factor(), name="Laptop", host="x", credential_id=b"x", credential=b"x", signatures=0
    )


def permission() -> Any:
    kind = Permission.objects.earliest("id").content_type
    return Permission.objects.create(codename="approve", name="Can approve", content_type=kind)


# Of each recorded table: how a row is made, and a change in SQL.
RECORDED: dict[str, tuple[Callable[[], Any], str]] = {
    "signals_rule": (lambda: Rule.objects.create(name="mine", source="anomaly", symptom="x"), "priority = 7"),
    "signals_alias": (lambda: Alias.objects.create(pattern="a", workload="b"), "priority = 7"),
    "guardrails_guardrailsetting": (lambda: GuardrailSetting.objects.create(**SCOPE), "max_replicas = 7"),
    "guardrails_freeze": (lambda: Freeze.objects.create(**SCOPE, reason="x", by="user:ana"), "until = now()"),
    "guardrails_cooldown": (
        lambda: Cooldown.objects.create(**SCOPE, action_type="SCALE", until=timezone.now()),
        "until = now() + interval '1 hour'",
    ),
    "smartops_token": (a_token, "scopes = '[]'"),
    "smartops_rolegrant": (role_grant, "role = 'admin'"),
    "smartops_passkey": (passkey, "name = 'Phone'"),
    "smartops_secondfactor": (second_factor, "made_at = now() - interval '1 day'"),
    "auth_user": (lambda: User.objects.create_user("rita"), "is_superuser = true"),
    "auth_group": (lambda: Group.objects.create(name="approvers"), "name = 'viewers'"),
    "auth_permission": (permission, "name = 'Can approve anything'"),
    "auth_user_groups": (membership, "id = id + 1000"),
    "auth_user_user_permissions": (grant, "id = id + 1000"),
    "auth_group_permissions": (group_grant, "id = id + 1000"),
}
KEPT = {"guardrails_freeze", "smartops_token"}


def sql(statement: str, *parameters: Any) -> list[Any]:
    with connection.cursor() as cursor:
        cursor.execute(statement, parameters)
        return cursor.fetchall() if cursor.description else []


def refusal(statement: str, *parameters: Any) -> str:
    try:
        with transaction.atomic():
            sql(statement, *parameters)
    except Error as error:
        return str(error)
    return ""


def changes(table: str) -> list[Any]:
    """In their order, without those that made the groups of the installation."""
    rows = SettingChange.objects.filter(table_name=table).order_by("id")
    return [row for row in rows if (row.after or {}).get("name") not in set(Role)]


@pytest.mark.django_db
def test_the_tables_of_this_file_are_those_that_are_recorded() -> None:
    rows = sql("SELECT DISTINCT tgrelid::regclass::text FROM pg_trigger WHERE tgname LIKE 'pgtrigger_recorded_%%'")

    assert {name for [name] in rows} == RECORDED.keys()


@pytest.mark.django_db
@pytest.mark.parametrize("table", RECORDED)
def test_each_change_of_plain_sql_is_a_row_with_the_login(table: str) -> None:
    make, change = RECORDED[table]
    row = make()
    column_of_key = row._meta.pk.column
    [login] = sql("SELECT session_user::text, pg_current_xact_id()::text::bigint")
    [first, *_] = changes(table)[-1:]
    sql(f"UPDATE {table} SET {change} WHERE {column_of_key} = %s", row.pk)  # noqa: S608
    [second] = changes(table)[-1:]

    assert (first.operation, first.key, first.before) == ("insert", str(row.pk), None)
    assert (second.operation, second.key, second.before) == ("update", str(row.pk), first.after)
    column = change.partition(" =")[0]
    assert {name for name in first.after if first.after[name] != second.after[name]} >= {column}
    assert (second.actor, second.login, second.transaction_id) == (f"system:{login[0]}", *login)
    assert (second.reason, abs(timezone.now() - second.at) < timedelta(minutes=1)) == ("", True)

    deletion = f"DELETE FROM {table} WHERE {column_of_key} = %s"  # noqa: S608
    if table in KEPT:
        assert "never_deleted" in refusal(deletion, row.pk)
        return
    sql(deletion, second.after[column_of_key])
    [third] = changes(table)[-1:]
    assert (third.operation, third.before, third.after) == ("delete", second.after, None)


@pytest.mark.django_db
@pytest.mark.parametrize("table", RECORDED)
def test_a_recorded_table_is_not_truncated(table: str) -> None:
    assert "history is kept" in refusal(f"TRUNCATE {table} CASCADE")


@pytest.mark.django_db
def test_history_is_not_changed() -> None:
    RECORDED["auth_group"][0]()
    for statement in ("UPDATE {} SET actor = 'user:eve'", "DELETE FROM {}", "TRUNCATE {}"):
        assert "append_only" in refusal(statement.format("signals_settingchange"))


@pytest.mark.django_db
def test_a_bulk_update_is_a_row_for_each_row_that_changes() -> None:
    GuardrailSetting.objects.bulk_create(
        [GuardrailSetting(namespace=f"n{number}", max_replicas=number) for number in range(5)]
    )
    before = SettingChange.objects.count()

    with acting("user:olga", "192.0.2.1", "quarter's end"):
        GuardrailSetting.objects.update(max_replicas=3)

    found = changes("guardrails_guardrailsetting")[-4:]
    assert SettingChange.objects.count() == before + 4, "one had 3 already"
    assert {one.before["max_replicas"] for one in found} == {0, 1, 2, 4}
    assert {one.after["max_replicas"] for one in found} == {3}
    assert {(one.actor, one.address, one.reason) for one in found} == {("user:olga", "192.0.2.1", "quarter's end")}
    assert len({one.transaction_id for one in found}) == 1


@pytest.mark.django_db
def test_what_the_software_writes_by_itself_is_no_change() -> None:
    token, rita = a_token(), User.objects.create_user("rita")
    before = SettingChange.objects.count()

    Token.objects.filter(pk=token.pk).update(last_used_at=timezone.now())
    User.objects.filter(pk=rita.pk).update(last_login=timezone.now(), first_name=F("first_name"))

    assert SettingChange.objects.count() == before


@pytest.mark.django_db
def test_a_secret_is_not_recorded_but_its_change_is(settings: Settings) -> None:
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
    token, rita = a_token(), User.objects.create_user("rita", password="canary-1")  # noqa: S106
    hashes = [rita.password, bytes(token.digest).hex()]
    rita.set_password("canary-2")
    rita.save()
    sql("UPDATE smartops_token SET digest = %s WHERE id = %s", b"another", token.pk)
    sql("UPDATE auth_user SET first_name = 'Rita' WHERE id = %s", rita.pk)

    password, name = changes("auth_user")[-2:]
    [digest] = changes("smartops_token")[-1:]
    assert (password.before["password"], password.after["password"]) == ("secret", "secret, changed")
    assert (name.before["password"], name.after["password"]) == ("secret", "secret")
    assert (digest.before["digest"], digest.after["digest"]) == ("secret", "secret, changed")
    text = json.dumps([[one.before, one.after] for one in SettingChange.objects.all()])
    assert not [one for one in [*hashes, rita.password, b"another".hex()] if one in text]


@pytest.mark.django_db
def test_a_reconciler_that_starts_a_cooldown_is_not_recorded_and_everybody_else_is() -> None:
    def recorded() -> list[str]:
        return [one.operation for one in changes("guardrails_cooldown")]

    with transaction.atomic():
        Cooldown.start([(TARGET, ActionType.SCALE, 300)])
        Cooldown.start([(TARGET, ActionType.SCALE, 540)])
        assert recorded() == []
        Cooldown.start([(TARGET, ActionType.SCALE, 10)])
        assert recorded() == ["update"], "it became shorter"
    actor = changes("guardrails_cooldown")[-1].actor
    assert actor.startswith("reconciler:")

    with acting("user:olga"):
        Cooldown.start([(TARGET, ActionType.RESTART, 300)])
        Cooldown.objects.filter(action_type="RESTART").update(until=F("until") + timedelta(hours=1))
        Cooldown.objects.all().delete()
    assert recorded() == ["update", "insert", "update", "delete", "delete"]


@pytest.mark.django_db(transaction=True)
def test_the_actor_ends_with_the_transaction_also_of_a_single_statement() -> None:
    settings_of = "SELECT " + ", ".join(
        f"coalesce(current_setting('smartops.{name}', true), '')" for name in ("actor", "address", "reason")
    )
    with acting("user:olga", "192.0.2.1", "why"):
        Group.objects.create(name="one")
        assert sql(settings_of) == [("", "", "")], "in the same session, after an autocommitted statement"
        with transaction.atomic():
            Group.objects.create(name="two")
            assert sql(settings_of) == [("user:olga", "192.0.2.1", "why")]
        assert sql(settings_of) == [("", "", "")]
        with pytest.raises(IntegrityError):
            Group.objects.create(name="two")
        assert sql(settings_of) == [("", "", "")]
    connection.close()  # back to the pool
    Group.objects.create(name="four")

    found = [(one.actor, one.reason) for one in changes("auth_group")]
    login = connection.settings_dict["USER"] or sql("SELECT session_user::text")[0][0]
    assert found[:2] == [("user:olga", "why")] * 2
    assert found[2:] == [(f"system:{login}", "")]


@pytest.mark.django_db(transaction=True)
def test_people_at_the_same_time_are_not_mixed_up() -> None:
    def act(number: int) -> None:
        for turn in range(5):
            with acting(f"user:{number}", reason=f"of {number}"):
                Group.objects.create(name=f"{number}-{turn}")
            Group.objects.create(name=f"nobody-{number}-{turn}")
            connection.close()  # the next one gets this session

    at_once([lambda number=number: act(number) for number in range(8)])  # type: ignore[misc]

    found = changes("auth_group")
    assert len(found) == 80
    for one in found:
        who = one.after["name"].partition("-")[0]
        assert (one.actor.startswith("system:"), one.reason) == (True, "") if who == "nobody" else (
            one.actor, one.reason) == (f"user:{who}", f"of {who}")  # fmt: skip


@pytest.mark.django_db
def test_a_reason_that_is_given_later_is_that_of_what_follows() -> None:
    give_reason("nobody acts, so this says nothing")
    with acting("user:olga"):
        Group.objects.create(name="one")
        give_reason("incident 42")
        Group.objects.create(name="two")

    assert [one.reason for one in changes("auth_group")] == ["", "incident 42"]


def test_a_table_is_recorded_by_one_line() -> None:
    assert [one.name for one in triggers.recorded()] == ["recorded", "never_truncated"]
