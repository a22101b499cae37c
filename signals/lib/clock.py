"""The clock that all processes share: that of the database."""

from datetime import datetime

from django.db import connection


def database_now() -> datetime:
    """The present time by the database's clock, also within a transaction. One query."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT clock_timestamp()")
        now: datetime = cursor.fetchone()[0]
    return now
