"""kubectl as the witness: it was written for the real API server and knows nothing of this one."""

import json
import shutil
import signal
import subprocess
import sys
import sysconfig
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from smartops.dev.sandbox import Sandbox
from tests.kit.kubectl import kubectl_on
from tests.kit.patience import PATIENCE

Kubectl = Callable[..., str]
Begin = Callable[..., subprocess.Popen[str]]

MANIFEST = """
apiVersion: v1
kind: Service
metadata: {name: shop, labels: {app: shop}}
spec: {selector: {app: shop}, ports: [{port: 80, targetPort: 8080}]}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: shop, labels: {app: shop}}
spec:
  replicas: 2
  selector: {matchLabels: {app: shop}}
  template:
    metadata:
      labels: {app: shop}
      annotations: {sim/ready-after: 10ms}
    spec:
      containers:
        - name: web
          image: example.test/shop:1
          ports: [{containerPort: 8080}]
          env: [{name: MODE, value: slow}, {name: LEVEL, value: "1"}]
          volumeMounts: [{name: data, mountPath: /data}]
        - {name: sidecar, image: example.test/sidecar:1}
      volumes: [{name: data, emptyDir: {}}]
---
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata: {name: shop}
spec: {maxReplicas: 5, scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: shop}}
"""


@pytest.fixture(scope="module")
def cluster() -> Iterator[Sandbox]:
    with Sandbox() as running:
        yield running


@pytest.fixture
def kubectl(cluster: Sandbox, tmp_path: Path, request: pytest.FixtureRequest) -> Kubectl:
    """Runs kubectl in a namespace of the test's own; fails where kubectl does, unless `fails`."""
    namespace = "n" + str(abs(hash(request.node.name)))
    witness = kubectl_on(cluster.kubeconfig, namespace, tmp_path)

    def run(*arguments: str, stdin: str = "", fails: bool = False) -> str:
        done = witness(*arguments, stdin=stdin)
        assert bool(done.code) == fails, done.said
        return done.said

    run(
        "apply", "-f", "-", stdin=json.dumps({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}})
    )
    return run


@pytest.fixture
def begin(shop: Kubectl, cluster: Sandbox, tmp_path: Path) -> Begin:
    """Starts kubectl in the namespace of the shop."""
    program = str(shutil.which("kubectl", path=sysconfig.get_path("scripts")))
    namespace = json.loads(shop("get", "deployment", "shop", "-o", "json"))["metadata"]["namespace"]
    place = ("--kubeconfig", str(cluster.kubeconfig), "--cache-dir", str(tmp_path), "-n", namespace)

    def run(*arguments: str) -> subprocess.Popen[str]:
        command = [program, *place, *arguments]
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    return run


@pytest.fixture
def shop(kubectl: Kubectl) -> Kubectl:
    kubectl("apply", "-f", "-", stdin=MANIFEST)
    kubectl("rollout", "status", "deployment/shop")
    return kubectl


def spec(kubectl: Kubectl) -> dict[str, object]:
    return json.loads(kubectl("get", "deployment", "shop", "-o", "json"))["spec"]  # type: ignore[no-any-return]


def test_kubectl_get_prints_tables(shop: Kubectl) -> None:
    header, row = shop("get", "deployments").splitlines()
    assert header.split() == ["NAME", "READY", "UP-TO-DATE", "AVAILABLE", "AGE"]
    assert row.split()[:4] == ["shop", "2/2", "2", "2"]
    wide = shop("get", "deploy", "shop", "-o", "wide").splitlines()[1].split()
    assert wide[5:] == ["web,sidecar", "example.test/shop:1,example.test/sidecar:1", "app=shop"]
    assert [line.split()[1:3] for line in shop("get", "po", "--no-headers").splitlines()] == [["2/2", "Running"]] * 2
    assert {line.split("/")[0] for line in shop("get", "all", "-o", "name").splitlines()} == {
        "pod", "service", "deployment.apps", "replicaset.apps", "horizontalpodautoscaler.autoscaling",
    }  # fmt: skip
    assert "name: shop" in shop("get", "deploy", "shop", "-o", "yaml")
    assert shop("get", "deploy", "-l", "app!=shop", "-o", "name") == ""


def test_kubectl_apply_knows_what_changed(shop: Kubectl) -> None:
    assert shop("apply", "-f", "-", stdin=MANIFEST).splitlines() == [
        "service/shop unchanged",
        "deployment.apps/shop unchanged",
        "horizontalpodautoscaler.autoscaling/shop unchanged",
    ]
    less = MANIFEST.replace("{name: MODE, value: slow}, ", "").replace(
        "        - {name: sidecar, image: example.test/sidecar:1}\n", ""
    )
    assert "deployment.apps/shop configured" in shop("apply", "-f", "-", stdin=less)
    (container,) = spec(shop)["template"]["spec"]["containers"]  # type: ignore[index]
    assert container["env"] == [{"name": "LEVEL", "value": "1"}]
    assert container["ports"] == [{"containerPort": 8080, "protocol": "TCP"}]
    assert "dry run" in shop("apply", "--dry-run=server", "-f", "-", stdin=MANIFEST)
    assert len(spec(shop)["template"]["spec"]["containers"]) == 1  # type: ignore[index]


def test_apply_on_the_server_side_records_its_manager(kubectl: Kubectl) -> None:
    for _ in range(2):
        assert "deployment.apps/shop serverside-applied" in kubectl("apply", "--server-side", "-f", "-", stdin=MANIFEST)
    kept = kubectl("get", "deployment", "shop", "-o", "json", "--show-managed-fields")
    assert [entry["manager"] for entry in json.loads(kept)["metadata"]["managedFields"]] == ["kubectl"]


def test_kubectl_creates_and_deletes_an_object(kubectl: Kubectl) -> None:
    assert "deployment.apps/shop created" in kubectl("create", "-f", "-", stdin=MANIFEST)
    assert "already exists" in kubectl("create", "-f", "-", stdin=MANIFEST, fails=True)
    assert 'deployment.apps "shop" deleted' in kubectl("delete", "deployment", "shop")
    assert "not found" in kubectl("get", "deployment", "shop", fails=True)


def test_kubectl_creates_by_flags_and_asks_for_permission(kubectl: Kubectl) -> None:
    kubectl("create", "deployment", "shop", "--image=example.test/shop:1", "--replicas=3", "--port=80")
    assert spec(kubectl)["replicas"] == 3
    kubectl("create", "configmap", "settings", "--from-literal=mode=slow")
    assert kubectl("get", "configmap", "settings", "-o", "jsonpath={.data}") == '{"mode":"slow"}'
    kubectl("autoscale", "deployment", "shop", "--max=4")
    assert kubectl("get", "hpa", "shop", "--no-headers").split()[:4] == ["shop", "Deployment/shop", "1", "4"]
    assert kubectl("auth", "can-i", "patch", "deployments") == "yes\n"
    assert "send JSON" in kubectl("create", "job", "once", "--image=example.test/once:1", fails=True)


def test_an_invalid_deployment_is_explained_field_by_field(kubectl: Kubectl) -> None:
    said = kubectl("apply", "-f", "-", stdin=MANIFEST.replace("replicas: 2", "replicas: -1"), fails=True)
    assert 'The Deployment "shop" is invalid: spec.replicas: Invalid value: -1' in said


def test_kubectl_scales_and_follows_a_rollout(shop: Kubectl) -> None:
    shop("scale", "deployment/shop", "--replicas=3")
    assert "successfully rolled out" in shop("rollout", "status", "deployment/shop")
    assert "Expected replicas to be 9" in shop(
        "scale", "deploy/shop", "--replicas=1", "--current-replicas=9", fails=True
    )
    shop("rollout", "restart", "deployment/shop")
    assert "successfully rolled out" in shop("rollout", "status", "deployment/shop")
    assert [line.split()[0] for line in shop("rollout", "history", "deploy/shop").splitlines()[2:4]] == ["1", "2"]
    shop("rollout", "undo", "deployment/shop")
    shop("rollout", "status", "deployment/shop")
    shop("wait", "--for=condition=Available", "deployment/shop", f"--timeout={PATIENCE:.0f}s")
    assert "kubectl.kubernetes.io/restartedAt" not in json.dumps(spec(shop))


def test_a_stuck_rollout_exceeds_its_deadline(shop: Kubectl, begin: Begin) -> None:
    template = {"metadata": {"annotations": {"sim/outcome": "stuck"}}}
    shop("patch", "deploy", "shop", "-p", json.dumps({"spec": {"template": template}}))
    with begin("rollout", "status", "deployment/shop") as following:
        assert following.stdout
        assert "Waiting for deployment" in following.stdout.readline()
        shop("patch", "deploy", "shop", "-p", json.dumps({"spec": {"progressDeadlineSeconds": 1}}))
        assert "exceeded its progress deadline" in following.stdout.read()
    assert following.returncode == 1
    assert "ImagePullBackOff" in shop("get", "pods")


@pytest.mark.parametrize(
    ("kind", "patch"),
    [
        ("merge", '{"spec": {"replicas": 4}}'),
        ("strategic", '{"spec": {"replicas": 4, "template": {"spec": {"containers": [{"name": "web"}]}}}}'),
        ("json", '[{"op": "replace", "path": "/spec/replicas", "value": 4}]'),
    ],
)
def test_kubectl_patches_with_each_kind_of_patch(shop: Kubectl, kind: str, patch: str) -> None:
    assert "deployment.apps/shop patched" in shop("patch", "deployment", "shop", "--type", kind, "-p", patch)
    assert spec(shop)["replicas"] == 4
    assert len(spec(shop)["template"]["spec"]["containers"]) == 2  # type: ignore[index]
    again = '{"spec": {"replicas": 4}}'
    assert "(no change)" in shop("patch", "deployment", "shop", "--type", "merge", "-p", again)


def test_a_deleted_pod_is_replaced(shop: Kubectl) -> None:
    before = set(shop("get", "pods", "-o", "name").split())
    assert "deleted" in shop("delete", *sorted(before)[:1])
    shop("rollout", "status", "deployment/shop")
    after = set(shop("get", "pods", "-o", "name").split())
    assert len(after) == 2
    assert len(after & before) == 1


def test_kubectl_describe_and_events_show_what_happened(shop: Kubectl) -> None:
    told = shop("describe", "deployment", "shop")
    assert "2 desired | 2 updated | 2 total | 2 available | 0 unavailable" in told
    assert "Scaled up replica set" in told
    assert "ScalingReplicaSet" in shop("get", "events")
    assert "smartops-sandbox" in shop("get", "pods", "-o", "wide")


def test_kubectl_watch_prints_each_change(shop: Kubectl, begin: Begin) -> None:
    with begin("get", "deployments", "--watch", f"--request-timeout={PATIENCE:.0f}s") as watching:
        assert watching.stdout
        assert watching.stdout.readline().startswith("NAME")
        assert watching.stdout.readline().startswith("shop")
        shop("scale", "deployment/shop", "--replicas=3")
        for line in watching.stdout:
            if line.split()[1] == "3/3":
                break
        else:
            raise AssertionError("the watch ended early")
        watching.terminate()


def test_the_sandbox_runs_by_itself_until_it_is_told_to_stop(tmp_path: Path) -> None:
    manifest = tmp_path / "shop.yaml"
    manifest.write_text(MANIFEST.replace("{name: shop,", "{name: shop, namespace: elsewhere,"))
    home = tmp_path / "a folder"
    command = [sys.executable, "-m", "smartops.dev.sandbox", "--dir", str(home), "--load", str(manifest)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        word, url = process.stdout.readline().split()
        assert word == "ready"
        assert f"server: {url}" in (home / "kubeconfig").read_text()
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=PATIENCE) == 0
