"""The chart as Helm and the API server see it."""

import json
from contextlib import closing

import pytest
import yaml

from tests.chart.rendering import CHART, RELEASE, VALUES, Object, Rendered, Values
from tests.conformance.control_plane import ControlPlane
from tests.conformance.release import RESTRICTED, Helm, released
from tests.kit.client import Client, is_complete
from tests.kit.kubectl import Kubectl

OF_THE_PROMETHEUS_OPERATOR = {"ServiceMonitor", "PrometheusRule"}  # their CRDs are not in this cluster
CLUSTER_WIDE = {"ClusterRole", "ClusterRoleBinding", "ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding"}

every_values = pytest.mark.parametrize("values", VALUES.values(), ids=VALUES)


@pytest.fixture
def restricted(http: Client, namespace: str) -> str:
    http.patch(f"/api/v1/namespaces/{namespace}", {"metadata": {"labels": RESTRICTED}})
    return namespace


def moved(one: Object, namespace: str) -> Object:
    """Where nothing is in its way."""
    own = (
        {"name": f"{namespace}.{one['metadata']['name']}"} if one["kind"] in CLUSTER_WIDE else {"namespace": namespace}
    )
    return {**one, "metadata": {**one["metadata"], **own}}


@every_values
def test_helm_lints_the_chart(helm: Helm, values: Values) -> None:
    file = helm.home / "values.yaml"
    file.write_text(yaml.safe_dump(values))

    assert "0 chart(s) failed" in helm("lint", str(CHART), "--strict", "--values", str(file))


@every_values
def test_the_api_server_takes_every_object_without_a_warning(
    helm: Helm, kubectl: Kubectl, restricted: str, values: Values
) -> None:
    """Strictly: an unknown field, a pod that is not restricted and CEL that does not compile are errors."""
    rendered = [one for one in Rendered(values).objects if one["kind"] not in OF_THE_PROMETHEUS_OPERATOR]
    manifest = {"apiVersion": "v1", "kind": "List", "items": [moved(one, restricted) for one in rendered]}

    created = kubectl("create", "--dry-run=server", "--validate=strict", "-f", "-", stdin=json.dumps(manifest))

    assert created.code == 0, created.said
    assert len(created.said.splitlines()) == len(rendered), created.said
    assert "Warning" not in created.said


def test_an_unknown_field_would_be_an_error(helm: Helm, kubectl: Kubectl, restricted: str) -> None:
    service = moved(Rendered({}).one("Service", "smartops-orchestrator"), restricted)
    service["spec"]["sessionAfinity"] = "None"

    created = kubectl("create", "--dry-run=server", "--validate=strict", "-f", "-", stdin=json.dumps(service))

    assert created.code == 1
    assert "sessionAfinity" in created.said


@pytest.mark.usefixtures("simulated_kubelet")
def test_the_chart_installs_upgrades_and_leaves_nothing(control_plane: ControlPlane, helm: Helm) -> None:
    switched_on = {"admissionPolicy": {"enabled": True}}
    with (
        released(control_plane, helm, switched_on) as release,
        closing(Client(control_plane.kubeconfig, release.namespace)) as client,
    ):
        for name in ("smartops-orchestrator-web", "smartops-orchestrator-reconciler"):
            client.rolled_out(name)
        flags = ("--namespace", release.namespace, "--no-hooks", "--reuse-values")
        helm("upgrade", RELEASE, str(CHART), *flags, "--set", "reconciler.replicas=3", "--set", "image.tag=next")
        reconciler = client.wait(
            "deployments",
            lambda found: is_complete(found, 2) and found["spec"]["replicas"] == 3,
            fieldSelector="metadata.name=smartops-orchestrator-reconciler",
        )
        assert reconciler["spec"]["template"]["spec"]["containers"][0]["image"] == "smartops-orchestrator:next"
        assert "admissionPolicy" in helm("get", "values", RELEASE, "--namespace", release.namespace)

        helm("uninstall", RELEASE, "--namespace", release.namespace, "--no-hooks")

        ours = {"labelSelector": f"app.kubernetes.io/instance={RELEASE},app.kubernetes.io/managed-by=Helm"}
        for kind in ("deployments", "services", "configmaps", "serviceaccounts"):
            assert client.get(kind, **ours)["items"] == []
        policies = client.get("/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies")["items"]
        assert release.namespace not in str(policies)
