"""What the ServiceAccount may do, by the API server's own word, and what is said when a right is missing."""

import re
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from orchestrator.k8s.client import KubernetesCluster
from orchestrator.k8s.permissions import PERMISSIONS, Permission
from orchestrator.process.permissions import MissingPermission, PermissionCheck
from tests.chart.rights import told
from tests.conformance.control_plane import ControlPlane
from tests.conformance.release import Helm, Release, account, fresh_namespace, released, without
from tests.kit.client import Client
from tests.kit.kubectl import Kubectl
from tests.kit.patience import eventually

ROW = re.compile(r"(?P<resource>\S*)\s+\[(?P<urls>.*?)\]\s+\[(?P<names>.*?)\]\s+\[(?P<verbs>.*?)\]")
Row = tuple[str, str, frozenset[str]]  # resource, URLs, verbs


@pytest.fixture(scope="module")
def targets(control_plane: ControlPlane, helm: Helm) -> Iterator[list[str]]:
    with ExitStack() as stack:
        yield [stack.enter_context(fresh_namespace(control_plane, name)) for name in ("shop", "billing")]


@pytest.fixture(scope="module")
def release(control_plane: ControlPlane, helm: Helm, targets: list[str]) -> Iterator[Release]:
    with released(control_plane, helm, {"targets": {"namespaces": targets}}) as found:
        yield found


@pytest.fixture
def bystander(control_plane: ControlPlane, helm: Helm, http: Client, namespace: str, tmp_path: Path) -> Path:
    """A kubeconfig of a ServiceAccount to which nobody gave any right."""
    http.create("serviceaccounts", {"metadata": {"name": "bystander"}})
    return account(control_plane.kubeconfig, namespace, tmp_path / "bystander", "bystander")


def listed(kubectl: Kubectl, kubeconfig: Path, namespace: str) -> set[Row]:
    """By `kubectl auth can-i --list`."""
    said = kubectl("--kubeconfig", str(kubeconfig), "--namespace", namespace, "auth", "can-i", "--list").said
    rows = [ROW.fullmatch(line.rstrip()) for line in said.splitlines()[1:]]
    assert rows
    assert all(rows), said
    return {(row["resource"], row["urls"], frozenset(row["verbs"].split())) for row in rows if row}


def test_the_account_may_do_what_the_documentation_lists_and_nothing_more(
    kubectl: Kubectl, release: Release, targets: list[str], bystander: Path
) -> None:
    anybody = listed(kubectl, bystander, release.namespace)
    in_the_docs = {(resource, "", frozenset(verbs)) for resource, verbs in told().items()}

    assert in_the_docs
    for target in targets:
        assert listed(kubectl, release.account, target) - anybody == in_the_docs
    assert listed(kubectl, release.account, release.namespace) == anybody
    assert listed(kubectl, release.account, "kube-system") == anybody


def test_the_role_for_the_whole_cluster_grants_the_same(
    control_plane: ControlPlane, helm: Helm, kubectl: Kubectl, bystander: Path
) -> None:
    in_the_docs = {(resource, "", frozenset(verbs)) for resource, verbs in told().items()}

    with released(control_plane, helm, {"targets": {"allNamespaces": True}}) as release:
        anybody = listed(kubectl, bystander, "kube-system")
        assert listed(kubectl, release.account, "kube-system") - anybody == in_the_docs


@pytest.mark.parametrize(
    ("right", "verb"),
    [pytest.param(right, verb, id=f"{verb} {right.group_resource}") for right in PERMISSIONS for verb in right.verbs],
)
def test_the_self_check_names_the_verb_that_is_taken_away(
    control_plane: ControlPlane, release: Release, targets: list[str], right: Permission, verb: str
) -> None:
    shop, _ = targets
    cluster = KubernetesCluster(release.account)

    with without(control_plane, release, shop, right, verb):
        check = PermissionCheck(cluster, [shop])
        check.start()
        eventually(lambda: bool(check.missing), "the check finds nothing missing")
        check.stop()

    assert check.missing == (MissingPermission(verb, right, shop),)
    assert check.passed is not right.required
