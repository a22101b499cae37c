"""The connection that listens."""

from pytest_django import Settings

from signals.lib.notifications import connect


def test_who_listens_may_go_past_a_pooler(db: None, database_url: str, settings: Settings) -> None:
    settings.DATABASE_LISTEN_URL = f"{database_url}?application_name=past%20the%20pooler"

    with connect() as session:
        assert session.execute("SHOW application_name").fetchone() == ("past the pooler",)
        assert session.autocommit
