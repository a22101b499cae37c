"""What no statement does to a token, whoever executes it."""

import pytest
from django.db import Error, connection, transaction

from smartops.models import Token
from smartops.tokens import Scope, issue

pytestmark = pytest.mark.django_db

OTHER = {
    "id": "gen_random_uuid()",
    "name": "'another'",
    "lookup": "'another'",
    "digest": "'another'",
    "scopes": "'[\"actions:write\"]'",
    "namespaces": "'[]'",
    "signals_per_minute": "7",
    "waiting_signals": "7",
    "created_at": "now() - interval '1 day'",
    "expires_at": "now() + interval '1 day'",
    "revoked_at": "NULL",
    "last_used_at": "now()",
}
IDENTITY = {"id", "name", "lookup", "created_at"}


def a_token(*, revoked: bool = False) -> Token:
    issue("agent", [Scope.READ], ["shop"])
    if revoked:
        sql("UPDATE smartops_token SET revoked_at = now() - interval '1 day'")
    return Token.objects.get()


def sql(statement: str) -> str:
    """The error, if PostgreSQL refuses."""
    try:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(statement)
    except Error as error:
        return str(error)
    return ""


def test_the_table_of_this_file_names_every_column() -> None:
    assert OTHER.keys() == {field.column for field in Token._meta.concrete_fields}


@pytest.mark.parametrize(("column", "value"), OTHER.items())
def test_a_revoked_token_is_neither_restored_nor_widened(column: str, value: str) -> None:
    a_token(revoked=True)

    refusal = sql(f"UPDATE smartops_token SET {column} = {value}")  # noqa: S608

    assert ("_unchanged" in refusal) == (column != "last_used_at")


@pytest.mark.parametrize(("column", "value"), OTHER.items())
def test_a_token_keeps_its_name_and_the_rest_may_change(column: str, value: str) -> None:
    a_token()

    refusal = sql(f"UPDATE smartops_token SET {column} = {value}")  # noqa: S608

    assert ("identity_unchanged" in refusal) == (column in IDENTITY)


def test_a_name_is_not_free_again() -> None:
    a_token(revoked=True)

    assert "never_deleted" in sql("DELETE FROM smartops_token")
    assert "already exists" in sql(
        "INSERT INTO smartops_token (id, name, lookup, digest, scopes, namespaces) "
        "VALUES (gen_random_uuid(), 'agent', 'x', 'x', '[]', '[]')"
    )
