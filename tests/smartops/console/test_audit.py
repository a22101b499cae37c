"""The screen of the audit: what it shows to whom, and the file that it gives."""

import json
from datetime import timedelta
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.contrib.auth.models import User
from django.test import Client

from smartops.audit import export
from smartops.audit.export import RightsChanged
from smartops.models import AuditExport
from smartops.people.access import EVERYWHERE, Place
from smartops.people.roles import Role
from tests.kit.people import person
from tests.smartops.audit import rows
from tests.smartops.audit.rows import NOON
from tests.smartops.console.test_pages import text

pytestmark = pytest.mark.django_db

LIST, EXPORT = "/console/audit/", "/console/audit/export/"
NOON_ONLY = "since=2026-11-01T12:00:00&until=2026-11-01T12:00:01"


@pytest.fixture
def auditor() -> Client:
    return signed_in("rita", Role.ADMIN)


def signed_in(name: str, role: Role, place: Place = EVERYWHERE) -> Client:
    client = Client()
    client.force_login(person(name, role, place))
    return client


def shown(client: Client, query: str) -> list[str]:
    """The kinds of the entries."""
    page = client.get(f"{LIST}?{query}")
    assert page.status_code == 200
    return [row.entry.kind.value for row in page.context["listing"].rows]


def file(answer: Any) -> bytes:
    async def read() -> bytes:
        return b"".join([piece async for piece in answer.streaming_content])

    return async_to_sync(read)()


def test_the_list_shows_who_did_what_to_which_object_and_why(auditor: Client) -> None:
    rows.one_of_each(NOON)

    page = text(auditor.get(f"{LIST}?{NOON_ONLY}"))

    for said in (
        "allow on the request",
        "RESTART: pending → applying",
        "The shop is slow.",
        "erp/web",
        "user:bo",
        "192.0.2.1",
        "sign-in",
        "export of the audit as csv",
    ):
        assert said in page
    assert shown(auditor, NOON_ONLY) == [
        *("decision", "transition", "approval", "setting", "refused request", "sign-in", "export")
    ]


def test_a_viewer_sees_no_entry_of_another_place_and_none_of_people() -> None:
    rows.one_of_each(NOON, "erp")
    rows.one_of_each(NOON, "crm")
    viewer = signed_in("vera", Role.VIEWER, Place("default", "erp"))

    assert shown(viewer, NOON_ONLY) == ["decision", "transition", "approval", "setting", "refused request"]
    page = text(viewer.get(f"{LIST}?{NOON_ONLY}"))
    assert "crm" not in page.replace("rollout", "")
    assert shown(viewer, f"{NOON_ONLY}&q=crm/web") == []
    found = file(viewer.post(f"{EXPORT}?{NOON_ONLY}", {"format": "csv"}))
    assert found.count(b"\r\n") == 7, "a header, five entries and the end"
    assert b"crm" not in found


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("kind=nothing", "not one of the available choices"),
        ("since=yesterday", "valid date/time"),
        ("since=2026-11-02T00:00&until=2026-11-01T00:00", "later than the beginning"),
        ("before=x", "is not the position of an entry"),
        ("before=1.2", "is not the position of an entry"),
        ("actro=user:bo", "There is no filter “actro”"),
    ],
)
def test_a_filter_that_is_not_valid_shows_no_rows(auditor: Client, query: str, said: str) -> None:
    rows.one_of_each(NOON)

    answer = auditor.get(f"{LIST}?{query}")

    assert said in text(answer)
    assert answer.context["listing"].rows == []
    assert auditor.post(f"{EXPORT}?{query}", {"format": "csv"}).status_code == 302, "and exports nothing"
    assert not AuditExport.objects.filter(actor="user:rita").exists()


def test_the_links_lead_through_all_pages(auditor: Client) -> None:
    for number in range(60):
        rows.signed_in(NOON - timedelta(seconds=number))

    first = auditor.get(f"{LIST}?kind=sign-in&actor=user:bo")
    second = auditor.get(LIST + first.context["listing"].older)

    assert (len(first.context["listing"].rows), len(second.context["listing"].rows)) == (50, 10)
    assert second.context["listing"].older == ""
    for back in (second.context["listing"].newest, LIST + second.context["listing"].newer):
        assert auditor.get(back).context["listing"].rows == first.context["listing"].rows
    assert 'rel="prev"' not in text(first)


@pytest.mark.parametrize(
    ("since", "until", "found"),
    [
        ("2026-11-01T12:00:00", "2026-11-01T12:00:01", 1),
        ("2026-11-01T13:00:00%2B01:00", "2026-11-01T13:00:01%2B01:00", 1),
        ("2026-11-01T07:00:00-05:00", "2026-11-01T07:00:01-05:00", 1),
        ("2026-11-01T12:00:01", "", 0),
        ("", "2026-11-01T12:00:00", 0),  # it is exclusive
        ("2026-11-01", "2026-11-02", 1),
        # These hours do not exist in Berlin, or exist twice there: in UTC they exist once.
        ("2026-03-29T02:30", "2026-10-25T02:30", 0),
        ("2026-10-25T02:30", "2026-11-01T12:30", 1),
    ],
)
def test_times_are_in_utc_or_have_a_zone(auditor: Client, since: str, until: str, found: int) -> None:
    rows.refused(NOON)

    assert len(shown(auditor, f"kind=refused+request&since={since}&until={until}")) == found


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("reason=%25", "100% of them"),
        ("reason=_", "a_b"),
        ("reason=%5C", "back\\slash"),
        ("reason=%E2%80%AE", "\u202egnp.exe"),
        ("reason=ÄRGER", "ärger"),
        ("actor=user:n_body", ""),
        ("actor=nobody%25", ""),
        ("q=%25/%25", ""),
        ("q=erp/we_", ""),
    ],
)
def test_no_letter_of_a_search_stands_for_others(auditor: Client, query: str, found: str) -> None:
    for message in ("100% of them", "a_b", "back\\slash", "\u202egnp.exe", "ärger", "plain"):
        rows.refused(NOON, message=message)

    page = auditor.get(f"{LIST}?kind=refused+request&{query}").context["listing"].rows

    assert [row.entry.message for row in page] == ([found] if found else [])


def test_an_actor_that_never_existed_has_done_nothing(auditor: Client) -> None:
    rows.one_of_each(NOON)

    page = auditor.get(f"{LIST}?actor=user:nobody")

    assert page.context["listing"].rows == []
    assert "Nothing matches the filter." in text(page)
    found = file(auditor.post(f"{EXPORT}?actor=user:nobody", {"format": "csv"}))
    assert found.count(b"\r\n") == 2, "a header and the end"


def test_a_person_who_loses_the_right_during_an_export_gets_no_more_of_it(
    auditor: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("smartops.audit.export.PIECE", 1)
    rows.one_of_each(NOON)
    answer = auditor.post(f"{EXPORT}?{NOON_ONLY}", {"format": "csv"})
    User.objects.filter(username="rita").update(is_active=False)

    with pytest.raises(RightsChanged):
        file(answer)

    assert AuditExport.objects.get(actor="user:rita").outcome == "failed"


@pytest.mark.parametrize(("form", "kind"), [("csv", "text/csv"), ("jsonl", "application/jsonl")])
def test_an_export_is_a_file_of_what_is_filtered_and_is_in_the_audit(auditor: Client, form: str, kind: str) -> None:
    rows.one_of_each(NOON)

    answer = auditor.post(f"{EXPORT}?{NOON_ONLY}&kind=sign-in", {"format": form})

    assert answer.status_code == 200
    assert answer.headers["Content-Type"].startswith(kind)
    assert answer.headers["Cache-Control"] == "no-store"
    assert f'.{form}"' in answer.headers["Content-Disposition"]
    assert file(answer).count(b"sign-in") >= 1
    record = AuditExport.objects.get(actor="user:rita")
    assert (record.outcome, record.rows, record.address) == ("complete", 1, "127.0.0.1")
    assert record.search["kind"] == "sign-in"
    assert shown(auditor, "kind=export&actor=user:rita") == ["export"]


def test_an_export_ends_with_what_makes_it_complete(auditor: Client) -> None:
    found = file(auditor.post(f"{EXPORT}?{NOON_ONLY}", {"format": "jsonl"}))

    assert json.loads(found.splitlines()[-1])["end"]["complete"] is True


@pytest.mark.parametrize("post", [{}, {"format": "pdf"}])
def test_an_export_without_a_format_leads_back_to_the_list(auditor: Client, post: dict[str, str]) -> None:
    assert auditor.post(f"{EXPORT}?actor=user:bo", post).headers["Location"] == f"{LIST}?actor=user%3Abo"
    assert "Export CSV" in text(auditor.get(f"{EXPORT}?actor=user:bo")), "the page with the form"
    assert not AuditExport.objects.exists()


def test_an_export_too_many_is_refused_with_the_limit(auditor: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(export, "PER_HOUR", 1)
    file(auditor.post(f"{EXPORT}?{NOON_ONLY}", {"format": "csv"}))

    answer = auditor.post(f"{EXPORT}?{NOON_ONLY}", {"format": "csv"})

    assert answer.status_code == 429
    assert "You have exported the audit 1 times within an hour." in answer.content.decode()


def test_an_export_needs_the_token_against_forgery() -> None:
    forged = Client(enforce_csrf_checks=True)
    forged.force_login(person("rita", Role.ADMIN))

    assert forged.post(f"{EXPORT}?{NOON_ONLY}", {"format": "csv"}).status_code == 403
    assert not AuditExport.objects.exists()


def test_hostile_text_stays_text(auditor: Client) -> None:
    rows.signed_in(NOON, actor="user:<script>alert(1)</script>", reason="<img src=x>\u202e")

    page = auditor.get(f"{LIST}?{NOON_ONLY}").content.decode()

    assert "<script>alert" not in page
    assert "<img src=x" not in page
