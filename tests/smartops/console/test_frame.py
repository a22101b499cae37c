"""What every screen and every act has from the frame: who may open it, its dialog, its answer, its list."""

from collections.abc import Iterator
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.contrib.auth.models import User
from django.core.exceptions import ValidationError
from django.http.response import HttpResponseBase
from django.test import Client, override_settings
from django.urls import path

from guardrails.models import Freeze
from orchestrator.models import Action
from signals.setting_changes import SettingChange
from signals.types import Target
from smartops import urls
from smartops.console import listing
from smartops.console.acts import Confirmation, ReasonedForm, respond
from smartops.console.pages import ConsoleRequest, act, require
from smartops.people import access
from smartops.people.access import Access, Place, Right
from smartops.people.roles import Role
from tests.kit.people import grant
from tests.smartops.console.scene import Hour
from tests.smartops.console.test_pages import propose, text

HERE = Target("default", "smartops-dev", "web")
DIALOG = {"HX-Request": "true", "HX-Target": "dialog#act"}


@act(Right.ACT)
def halt(request: ConsoleRequest, namespace: str) -> HttpResponseBase:
    require(request, Right.ACT, Target("default", namespace, ""))

    def perform(given: dict[str, Any]) -> str:
        Freeze.objects.create(namespace=namespace, reason=given["reason"], by="user:rita")
        if given["reason"] == "too late":
            raise ValidationError("It has ended.")
        return f"{namespace} is frozen."

    asked = Confirmation("Freeze", f"Freeze {namespace}", "Nothing new is done.", "/console/", targets=[namespace])
    return respond(request, ReasonedForm(request.POST or None), asked, perform)


urlpatterns = [*urls.urlpatterns, path("halt/<namespace>/", halt)]


@pytest.fixture(scope="module", autouse=True)
def with_halt() -> Iterator[None]:
    """For all tests at once: every other URL configuration is compiled anew."""
    with override_settings(ROOT_URLCONF=__name__):
        yield


@pytest.fixture
def acting(reader: User, reading: Client) -> Client:
    grant(reader, Role.OPERATOR)
    return reading


@pytest.fixture
def granted(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Gives every account the rights of this test."""

    def grant(*rights: Right, place: Place = access.EVERYWHERE) -> None:
        found = Access(dict.fromkeys(rights, (place,)))
        monkeypatch.setattr("smartops.console.pages.access_of", lambda _: found)

    return grant


def test_an_act_is_a_page_and_a_dialog(acting: Client) -> None:
    page, dialog = text(acting.get("/halt/prod/")), text(acting.get("/halt/prod/", headers=DIALOG))
    for shown in (page, dialog):
        for said in ("Freeze prod", "<li><code>prod</code></li>", "Nothing new is done.", ">Freeze</button>"):
            assert said in shown
    assert "<main" in page
    assert "<main" not in dialog
    assert "hx-post" in dialog
    assert "hx-post" not in page


def test_an_act_is_done_once_with_its_reason_in_the_history(acting: Client, reader: User) -> None:
    answer = acting.post("/halt/prod/", {"reason": "release"}, follow=True)
    assert "prod is frozen." in text(answer)
    assert Freeze.objects.get().namespace == "prod"
    [change] = SettingChange.objects.filter(table_name="guardrails_freeze")
    assert (change.actor, change.reason) == ("user:rita", "release")


def test_the_dialog_is_sent_to_the_page_with_the_message(acting: Client) -> None:
    answer = acting.post("/halt/prod/", {"reason": "release"}, headers=DIALOG)
    assert (answer.status_code, answer.headers["HX-Redirect"]) == (204, "/console/")
    assert "prod is frozen." in text(acting.get("/console/"))


@pytest.mark.parametrize(
    ("given", "said"),
    [({}, "This field is required."), ({"reason": "  "}, "This field is required."), ({"reason": "too late"}, "ended")],
)
@pytest.mark.parametrize("headers", [{}, DIALOG])
def test_an_act_that_is_refused_says_why_and_keeps_what_was_entered(
    acting: Client, given: dict[str, str], said: str, headers: dict[str, str]
) -> None:
    answer = acting.post("/halt/prod/", {"reason": "", **given}, headers=headers)
    assert answer.status_code == 422
    assert said in answer.content.decode()
    assert given.get("reason", "") in answer.content.decode()
    assert not Freeze.objects.exists()


def test_an_act_needs_the_token_against_forgery(acting: Client, reader: User) -> None:
    forged = Client(enforce_csrf_checks=True)
    forged.force_login(reader)
    assert forged.post("/halt/prod/", {"reason": "release"}).status_code == 403
    assert not Freeze.objects.exists()


@pytest.mark.parametrize("method", ["get", "post"])
@pytest.mark.parametrize(
    ("rights", "place"),
    [([Right.READ, Right.TUNE], Place()), ([Right.ACT], Place("default", "elsewhere")), ([Right.ACT], Place("other"))],
)
def test_an_act_outside_of_the_rights_of_a_person_is_403_in_words(
    acting: Client, granted: Any, method: str, rights: list[Right], place: Place
) -> None:
    granted(*rights, place=place)
    for headers in ({}, DIALOG):
        answer = getattr(acting, method)("/halt/prod/", {"reason": "release"}, headers=headers)
        assert answer.status_code == 403
        assert "Your account has no right to act" in answer.content.decode()
    assert not Freeze.objects.exists()


def walk(client: Client, address: str, link: str) -> Iterator[list[Any]]:
    """The rows of each page, by the links `newer` or `older`."""
    while address:
        found = client.get(address).context["listing"]
        yield [row.pk for row in found.rows]
        address = "/console/actions/" + getattr(found, link) if getattr(found, link) else ""


def test_pages_in_both_directions_have_every_row_once(reading: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listing.listing, "__defaults__", (4,))
    own = [propose(number).pk for number in range(10)]
    propose(99, "elsewhere")
    filtered = "/console/actions/?namespace=smartops-dev"
    older = list(walk(reading, filtered, "older"))
    assert [len(rows) for rows in older] == [4, 4, 2]
    assert [pk for rows in older for pk in rows] == own[::-1]
    newer = list(walk(reading, f"{filtered}&after={own[0]}", "newer"))
    assert [len(rows) for rows in newer] == [4, 4, 4]  # the last one is the newest page, whole
    assert [set(rows) for rows in newer] == [set(own[1:5]), set(own[5:9]), set(own[6:])]


def test_a_row_that_arrives_while_somebody_pages_neither_hides_nor_repeats_others(
    reading: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listing.listing, "__defaults__", (4,))
    own = [propose(number).pk for number in range(6)]
    first = reading.get("/console/actions/").context["listing"]
    propose(7)
    second = reading.get("/console/actions/" + first.older).context["listing"]
    assert [row.pk for page in (first, second) for row in page.rows] == own[::-1]


def test_the_page_of_an_action_leads_through_the_filtered_list(reading: Client) -> None:
    first, other, second = propose(1), propose(99, "elsewhere"), propose(2)
    query = "?namespace=smartops-dev"
    around = reading.get(f"/console/actions/{second.pk}/{query}").context["around"]
    assert around.back == f"/console/actions/{query}"
    assert (around.previous, around.next) == ("", f"/console/actions/{first.pk}/{query}")
    around = reading.get(around.next).context["around"]
    assert (around.previous, around.next) == (f"/console/actions/{second.pk}/{query}", "")
    around = reading.get(f"/console/actions/{other.pk}/").context["around"]
    assert (str(second.pk) in around.previous, str(first.pk) in around.next) == (True, True)


def test_an_empty_list_says_what_fills_it(reading: Client) -> None:
    assert "The first signal that matches a rule creates one" in text(reading.get("/console/actions/"))
    assert "Nothing matches the filter." in text(reading.get("/console/actions/?state=failed"))


# From here on the tests share a stored hour.


def test_what_a_person_may_not_see_is_not_found_like_what_does_not_exist(
    reading: Client, granted: Any, hour: Hour
) -> None:
    hidden, unknown = Action.objects.all()[0].pk, uuid4()
    granted(Right.READ, place=Place("default", "elsewhere"))
    answers = [reading.get(f"/console/actions/{pk}/") for pk in (hidden, unknown)]
    assert [one.status_code for one in answers] == [404, 404]
    shown = [one.content.decode().replace(str(pk), "") for one, pk in zip(answers, (hidden, unknown), strict=True)]
    assert len({one.partition("<main")[2].partition("</main>")[0] for one in shown}) == 1
    assert "No action yet" in text(reading.get("/console/actions/"))


def test_the_menu_marks_the_screen_of_a_page(reading: Client, hour: Hour) -> None:
    for address in ("/console/actions/", f"/console/actions/{Action.objects.all()[0].pk}/"):
        assert '<a href="/console/actions/" aria-current="page"' in text(reading.get(address))
        assert text(reading.get(address)).count("aria-current") == 1


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("state=no-such-state", "no-such-state is not one of the available choices"),
        ("stat=failed", "There is no filter “stat”"),
        ("state=failed&state=succeeded", "“state” is given more than once"),
        ("namespace=%00", "Null characters are not allowed"),
        ("namespace=Prod", "not the name of a namespace"),
        ("q=" + "x" * 254, "at most 253 characters"),
        ("since=year", "year is not one of the available choices"),
        ("before=junk", "“before” is not the id of a row"),
        (f"before={UUID(int=1)}&after={UUID(int=2)}", "either “before” or “after”"),
    ],
)
def test_a_filter_that_is_not_valid_is_an_error_and_shows_no_rows(
    reading: Client, hour: Hour, query: str, said: str
) -> None:
    page = text(reading.get(f"/console/actions/?{query}"))
    assert said in page
    assert "The filter is not valid" in page
    assert '<tr role="row" id=' not in page


@pytest.mark.parametrize(
    ("query", "shown"),
    [
        ("", 10), ("state=verifying", 1), ("state=active", 3), ("state=unsuccessful", 2), ("state=expired", 0),
        ("since=hour", 10), ("since=hour&state=succeeded", 4), ("type=PATCH", 1), ("kind=StatefulSet", 0),
        ("namespace=elsewhere", 0), ("q=SERVICE", 6), ("q=nothing", 0), ("q=%25", 0), ("state=&q=", 10),
        ("before=00000000-0000-0000-0000-000000000000", 0), ("after=00000000-0000-0000-0000-000000000000", 10),
    ],
)  # fmt: skip
def test_the_list_of_actions_has_the_rows_of_its_filter(reading: Client, hour: Hour, query: str, shown: int) -> None:
    assert len(reading.get(f"/console/actions/?{query}").context["listing"].rows) == shown


def test_an_action_is_found_by_its_id(reading: Client, hour: Hour) -> None:
    action = Action.objects.all()[3]
    assert reading.get("/console/actions/", {"q": str(action.pk)}).context["listing"].rows == [action]


def test_a_list_takes_ten_queries_at_most_however_long_it_is(
    reading: Client, hour: Hour, django_assert_max_num_queries: Any
) -> None:
    """Of the session, user, grants, rows, verifications, signals, namespaces, heartbeats, the clock and freezes."""
    for count in (0, 60):
        for number in range(count):
            propose(number)
        with django_assert_max_num_queries(10):
            reading.get("/console/actions/")
