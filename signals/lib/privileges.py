"""Whether this process may do more in the database than it needs."""

from django.db import connection

# The owner of a table may disable its triggers and empty it, and so may every member of that role.
_OWNS = "SELECT pg_has_role(session_user, relowner, 'MEMBER') FROM pg_class WHERE oid = 'signals_observation'::regclass"


def owns_history() -> bool:
    """Whether the login owns the tables of history, or may become the role that does. A superuser may."""
    with connection.cursor() as cursor:
        cursor.execute(_OWNS)
        return bool(cursor.fetchone()[0])
