"""The closed loop as Helm installs it: with the chart's commands, variables and rights, behind its admission policy."""

from collections.abc import Iterator
from contextlib import closing
from http.client import HTTPConnection
from pathlib import Path
from secrets import token_urlsafe

import pytest
from django.conf import settings
from django.db import connection

from orchestrator.k8s.permissions import PERMISSIONS
from smartops.dev.postgres import RECONCILER_ROLE, WEB_ROLE
from tests.chart.rendering import Object, Rendered
from tests.conformance.closed_loop.pods import ended, running
from tests.conformance.control_plane import ControlPlane
from tests.conformance.loop import Judge, Loop, evidence
from tests.conformance.release import Helm, Release, fresh_namespace, released, without
from tests.kit.client import Client
from tests.kit.installation import Agent
from tests.kit.manifests import deployment
from tests.kit.patience import PATIENCE, eventually
from tests.kit.processes import environment, until

OF_WEB = "http://smartops-orchestrator/readyz"
OF_RECONCILER = "http://smartops-orchestrator-reconciler:9090/readyz"
pytestmark = pytest.mark.usefixtures("simulated_kubelet")
Address = tuple[str, int]
Pods = dict[str, Object]


@pytest.fixture(scope="module")
def target(control_plane: ControlPlane, helm: Helm) -> Iterator[str]:
    with fresh_namespace(control_plane, "shop") as name:
        yield name


@pytest.fixture
def namespace(target: str) -> str:
    """The tests share it: the Role is there, and each test has a workload of its own."""
    return target


@pytest.fixture(scope="module")
def values(target: str) -> Object:
    return {
        "targets": {"namespaces": [target]},
        "web": {"hosts": ["127.0.0.1"]},
        "admissionPolicy": {"enabled": True},
    }


@pytest.fixture(scope="module")
def release(control_plane: ControlPlane, helm: Helm, values: Object) -> Iterator[Release]:
    with released(control_plane, helm, values) as found:
        yield found


@pytest.fixture(scope="module")
def pods(values: Object) -> Pods:
    return Rendered(values).pods()


@pytest.fixture(scope="module")
def secrets(transactional_db: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Those that the pods mount, in a folder for each component. A process refuses the pepper of the other tests: it is
    public."""
    pepper = token_urlsafe(48)
    folder, owner = tmp_path_factory.mktemp("secrets"), connection.settings_dict["USER"]
    for component, role in (("web", WEB_ROLE), ("reconciler", RECONCILER_ROLE), ("migrate", owner), ("test", WEB_ROLE)):
        (folder / component).mkdir()
        (folder / component / "database-url").write_text(environment(role)["DATABASE_URL"])
        (folder / component / "secret-key").write_text("of this test " + 50 * "k")
        (folder / component / "token-peppers").write_text(pepper)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(settings, "SMARTOPS_TOKEN_PEPPERS", [pepper])
        yield folder


@pytest.fixture(scope="module")
def reconciler(
    pods: Pods, secrets: Path, release: Release, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Address]:
    log = tmp_path_factory.mktemp("reconciler") / "log"
    with running(
        pods["reconciler"],
        secrets / "reconciler",
        log,
        "--metrics-host",
        "127.0.0.1",
        **account(release),
    ) as address:
        yield address


@pytest.fixture(scope="module")
def web(pods: Pods, secrets: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Address]:
    """It is given no kubeconfig."""
    log = tmp_path_factory.mktemp("web") / "log"
    with running(pods["web"], secrets / "web", log, "--host", "127.0.0.1") as address:
        yield address


@pytest.fixture(scope="module")
def agent(web: Address, reconciler: Address) -> Agent:
    return Agent(web)


def account(release: Release) -> dict[str, str]:
    """The variables of a process outside of the cluster."""
    return {"SMARTOPS_KUBECONFIG": str(release.account)}


def address_of(process: Address) -> str:
    return "http://{}:{}/readyz".format(*process)


def readyz(address: Address) -> tuple[int, str]:
    with closing(HTTPConnection(*address, timeout=PATIENCE)) as connection:
        connection.request("GET", "/readyz")
        response = connection.getresponse()
        return response.status, response.read().decode()


def test_signals_and_direct_actions_are_done_and_verified(
    loop: Loop, judge: Judge, http: Client, release: Release
) -> None:
    for name in ("slow", "leaking", "starved"):
        http.create("deployments", deployment(name, replicas=2))
        http.rolled_out(name)

    scaled = loop.outcome(loop.anomaly("slow"))
    restarted = loop.outcome(loop.root_cause("leaking"))
    template = {"spec": {"containers": [{"name": "app", "resources": {"limits": {"memory": "64Mi"}}}]}}
    tried = loop.ask("restart", "starved", dry_run=True)
    patched = loop.ask("patch", "starved", patch={"spec": {"template": template}})

    assert evidence(scaled) == ("SUCCESS", 3, 3, 3)
    assert evidence(restarted) == ("SUCCESS", 2, 2, 2)
    assert (tried.status, tried.body["success"]) == (200, True), tried
    assert (patched.status, patched.body["verification"]["status"]) == (200, "SUCCESS"), patched
    assert sorted(judge.changes()) == [("PATCH", "starved"), ("RESTART", "leaking"), ("SCALE", "slow")]
    changed = [("leaking", "Restarted"), ("slow", "Scaled"), ("starved", "Patched")]
    eventually(lambda: told(http) == changed, "not each change became an Event")
    writers = {one["user"]["username"] for one in judge.events() if "fieldManager=smartops" in one["requestURI"]}
    assert writers == {release.user}


def told(http: Client) -> list[tuple[str, str]]:
    """The workload and the reason of each Event about a change. A signal that had to wait has a warning."""
    return sorted(
        (one["involvedObject"]["name"], one["reason"])
        for one in http.get("events")["items"]
        if one["reportingComponent"] == "smartops.io/orchestrator" and one["type"] == "Normal"
    )


def test_the_jobs_of_helm_end_well(pods: Pods, secrets: Path, web: Address, reconciler: Address) -> None:
    until(lambda: readyz(reconciler)[0] == 200)
    migrated = ended(pods["migrate"], secrets / "migrate", {})
    tested = ended(pods["test"], secrets / "test", {OF_WEB: address_of(web), OF_RECONCILER: address_of(reconciler)})

    assert migrated.returncode == 0, migrated.stderr
    assert tested.returncode == 0, tested.stderr
    assert tested.stdout.count("ok") == 2


def test_a_reconciler_without_a_right_is_not_ready_and_says_which(
    control_plane: ControlPlane,
    pods: Pods,
    secrets: Path,
    web: Address,
    release: Release,
    target: str,
    tmp_path: Path,
) -> None:
    [patch] = [right for right in PERMISSIONS if (right.verbs, right.resource) == (("patch",), "deployments")]
    more = ("--metrics-host", "127.0.0.1")

    with (
        without(control_plane, release, target, patch, "patch"),
        running(
            pods["reconciler"],
            secrets / "reconciler",
            tmp_path / "log",
            *more,
            **account(release),
        ) as own,
    ):
        until(lambda: readyz(own)[1].startswith("missing permission"))  # and its lists are read
        status, said = readyz(own)
        tested = ended(
            pods["test"], secrets / "test", {"30": "1", OF_WEB: address_of(web), OF_RECONCILER: address_of(own)}
        )

    assert status == 503
    assert said.startswith(f"missing permission: patch deployments.apps in namespace {target}: ")
    assert (tested.returncode, tested.stderr) == (1, f"{address_of(own)} {said}\n")
