"""The permission check: what it reports for each answer of the API server, and when it asks again."""

import logging

import pytest

from orchestrator.k8s.errors import Unknown, Unreached
from orchestrator.k8s.permissions import PERMISSIONS
from orchestrator.process.permissions import PermissionCheck
from tests.kit.patience import PATIENCE
from tests.orchestrator.reconciler.fake import Fake

ALL = {(verb, one.group_resource) for one in PERMISSIONS for verb in one.verbs}
GRANT = "Grant it to the ServiceAccount of the reconciler."
PATCH = f"missing permission: patch deployments.apps in namespace dev: SmartOps applies changes with it. {GRANT}"
EVENTS = (
    "missing permission (optional): create events in namespace dev: SmartOps publishes Kubernetes Events with it. "
    + GRANT
)


class Checked:
    """A check that runs one round per answer; an answer is the set of denied permissions, or the error of a server
    that does not answer. The last answer repeats."""

    def __init__(self, *answers: set[str] | Unreached, namespaces: tuple[str, ...] = ("dev",)) -> None:
        fake = Fake()
        fake.rights = self._can_i
        self.check = PermissionCheck(fake.cluster, namespaces, recheck_after=0.001)
        self.asked: set[tuple[str, str, str]] = set()
        self._reports: list[tuple[bool, list[str]]] = []
        self._answers = answers

    def run(self) -> list[tuple[bool, list[str]]]:
        """What the check reported before each round, and after the last."""
        self.check.start()
        self.check._thread.join(PATIENCE)
        return [*self._reports, self._report()]

    def _report(self) -> tuple[bool, list[str]]:
        return self.check.passed, [str(one) for one in self.check.missing]

    def _can_i(self, verb: str, group: str, resource: str, namespace: str) -> bool:
        if (verb, resource) == ("list", "deployments") and namespace in ("dev", ""):
            self._reports.append(self._report())
        answer = self._answers[min(len(self._reports), len(self._answers)) - 1]
        if isinstance(answer, Unreached):
            raise answer
        self.asked.add((verb, f"{resource}.{group}" if group else resource, namespace))
        return f"{verb} {resource}" not in answer


def test_the_check_passes_after_one_round_if_every_permission_is_granted() -> None:
    checked = Checked(set())

    assert checked.run() == [(False, []), (True, [])]
    assert checked.asked == {(verb, resource, "dev") for verb, resource in ALL}


def test_the_check_has_not_passed_before_its_first_round() -> None:
    assert Checked(set()).check.passed is False


@pytest.mark.parametrize(("verb", "resource"), sorted(ALL))
def test_each_missing_permission_is_named_in_one_line(verb: str, resource: str) -> None:
    checked = Checked({f"{verb} {resource.partition('.')[0]}"}, set())

    _, (passed, missing), end = checked.run()

    [line] = missing
    optional = "" if resource.startswith(("deployments.", "horizontalpodautoscalers.")) else " (optional)"
    assert line.startswith(f"missing permission{optional}: {verb} {resource} in namespace dev: SmartOps ")
    assert line.endswith(f" with it. {GRANT}") or " with it " in line
    assert passed is bool(optional)
    assert end == (True, [])


def test_the_check_asks_for_each_namespace_or_for_all_at_once() -> None:
    several = Checked(set(), namespaces=("prod", "dev"))
    several.run()
    assert {namespace for *_, namespace in several.asked} == {"dev", "prod"}

    everywhere = Checked({"patch deployments"}, set(), namespaces=("*",))
    _, (_, missing), _ = everywhere.run()
    assert {namespace for *_, namespace in everywhere.asked} == {""}
    assert missing == [PATCH.replace("in namespace dev", "in all namespaces")]


def test_a_missing_permission_is_logged_once_and_so_is_its_return(caplog: pytest.LogCaptureFixture) -> None:
    both, one = {"patch deployments", "create events"}, {"create events"}
    with caplog.at_level(logging.INFO):
        reports = Checked(both, both, one, set()).run()

    assert reports == [(False, []), (False, [PATCH, EVENTS]), (False, [PATCH, EVENTS]), (True, [EVENTS]), (True, [])]
    logged = [(record.levelname, record.getMessage()) for record in caplog.records]
    assert logged == [
        ("ERROR", PATCH),
        ("WARNING", EVENTS),
        ("INFO", "permission check passed: no permission is missing any more"),
    ]


def test_one_namespace_without_permissions_leaves_the_others_to_work() -> None:
    fake = Fake()
    fake.rights = lambda *asked: "left" not in asked
    check = PermissionCheck(fake.cluster, ["left", "shop"])

    assert (check._check(), check.passed) == (False, True)
    assert {one.namespace for one in check.missing} == {"left"}

    fake.rights = lambda *asked: "deployments" not in asked
    assert (check._check(), check.passed) == (False, False)


def test_a_namespace_that_cannot_be_checked_does_not_keep_the_others_from_it() -> None:
    fake = Fake()
    check = PermissionCheck(fake.cluster, ["left", "shop", "shop"])
    fake.rights = lambda *asked: "patch" not in asked
    check._check()

    def rights(*asked: str) -> bool:
        if "left" in asked:
            raise Unknown("etcdserver: request timed out", code=500)
        return True

    fake.rights = rights
    assert (check._check(), check.passed) == (False, True)
    assert {one.namespace for one in check.missing} == {"left"}, "what was known of it"


def test_an_unavailable_api_server_leaves_the_report_unchanged(caplog: pytest.LogCaptureFixture) -> None:
    unavailable = Unreached("connection refused")

    reports = Checked(unavailable, {"patch deployments"}, unavailable, set()).run()

    assert reports == [(False, []), (True, []), (False, [PATCH]), (False, [PATCH]), (True, [])]
    assert "permission check failed: connection refused. It is repeated in 0 s." in caplog.messages


def test_a_stopped_check_does_not_wait_for_its_next_round() -> None:
    fake = Fake()
    fake.rights = lambda *_: False
    check = PermissionCheck(fake.cluster, ["dev"], recheck_after=3600)
    check.start()

    check.stop()

    assert not check._thread.is_alive()
    assert len(check.missing) == len(ALL)
