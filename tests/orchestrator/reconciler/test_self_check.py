"""Which rights are missing, by what the API server says; asked again until it has nothing more to deny."""

import logging

import pytest

from orchestrator.k8s.errors import Unreached
from orchestrator.k8s.permissions import PERMISSIONS
from orchestrator.process.permissions import PermissionCheck
from tests.orchestrator.reconciler.fake import Fake

ALL = {(verb, right.qualified) for right in PERMISSIONS for verb in right.verbs}
PATCH = "missing: patch deployments.apps in dev — to apply changes"
EVENTS = "missing: create events in dev — to publish Events about actions and refusals (optional)"


class Asked:
    """A check that is asked round after round; `answers` has what is denied in each, or that nobody answers. The last
    one lasts."""

    def __init__(self, *answers: set[str] | Unreached, namespaces: tuple[str, ...] = ("dev",)) -> None:
        fake = Fake()
        fake.rights = self._may
        self.check = PermissionCheck(fake.cluster, namespaces, again_after=0.001)
        self.told: list[tuple[bool, list[str]]] = []  # what the check said at the beginning of each round
        self.asked: set[tuple[str, str, str]] = set()
        self._answers = answers

    def run(self) -> list[tuple[bool, list[str]]]:
        """What it said before each round, and in the end."""
        self.check.start()
        self.check._thread.join(timeout=5)
        return [*self.told, self._says()]

    def _says(self) -> tuple[bool, list[str]]:
        return self.check.passed, [str(one) for one in self.check.missing]

    def _may(self, verb: str, group: str, resource: str, namespace: str) -> bool:
        if (verb, resource) == ("list", "deployments") and namespace in ("dev", ""):
            self.told.append(self._says())
        answer = self._answers[min(len(self.told), len(self._answers)) - 1]
        if isinstance(answer, Unreached):
            raise answer
        self.asked.add((verb, f"{resource}.{group}" if group else resource, namespace))
        return f"{verb} {resource}" not in answer


def test_whoever_may_everything_passes_and_is_asked_once() -> None:
    asked = Asked(set())

    assert asked.run() == [(False, []), (True, [])]
    assert asked.asked == {(verb, resource, "dev") for verb, resource in ALL}


def test_before_it_was_asked_it_has_not_passed() -> None:
    assert Asked(set()).check.passed is False


@pytest.mark.parametrize(("verb", "resource"), sorted(ALL))
def test_each_right_that_is_missing_is_named_in_one_line(verb: str, resource: str) -> None:
    asked = Asked({f"{verb} {resource.partition('.')[0]}"}, set())

    _, (passed, missing), end = asked.run()

    [line] = missing
    assert line.startswith(f"missing: {verb} {resource} in dev — to ")
    assert passed is (resource == "events")
    assert end == (True, [])


def test_each_namespace_is_asked_for_and_all_of_them_at_once() -> None:
    several = Asked(set(), namespaces=("prod", "dev"))
    several.run()
    assert {namespace for *_, namespace in several.asked} == {"dev", "prod"}

    everywhere = Asked({"patch deployments"}, set(), namespaces=("*",))
    _, (_, missing), _ = everywhere.run()
    assert {namespace for *_, namespace in everywhere.asked} == {""}
    assert missing == ["missing: patch deployments.apps in all namespaces — to apply changes"]


def test_what_is_missing_is_logged_once_and_that_it_is_back(caplog: pytest.LogCaptureFixture) -> None:
    both, one = {"patch deployments", "create events"}, {"create events"}
    with caplog.at_level(logging.INFO):
        told = Asked(both, both, one, set()).run()

    assert told == [(False, []), (False, [PATCH, EVENTS]), (False, [PATCH, EVENTS]), (True, [EVENTS]), (True, [])]
    logged = [(record.levelname, record.getMessage()) for record in caplog.records]
    assert logged == [("ERROR", PATCH), ("WARNING", EVENTS), ("INFO", "no right is missing any more")]


def test_while_the_api_server_is_away_nothing_new_is_said_of_rights(caplog: pytest.LogCaptureFixture) -> None:
    away = Unreached("connection refused")

    told = Asked(away, {"patch deployments"}, away, set()).run()

    assert told == [(False, []), (True, []), (False, [PATCH]), (False, [PATCH]), (True, [])]
    assert "the API server does not say what we may do: connection refused" in caplog.messages


def test_it_stops_when_it_is_told_to() -> None:
    fake = Fake()
    fake.rights = lambda *_: False
    check = PermissionCheck(fake.cluster, ["dev"], again_after=3600)
    check.start()

    check.stop()

    assert not check._thread.is_alive()
    assert len(check.missing) == len(ALL)
