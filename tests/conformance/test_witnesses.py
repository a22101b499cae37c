"""What the other tests stand on."""

from tests.conformance.control_plane import ControlPlane
from tests.kit.client import Client
from tests.kit.kubectl import Kubectl


def test_the_audit_log_has_every_write(control_plane: ControlPlane, http: Client, namespace: str) -> None:
    http.create("configmaps", {"metadata": {"name": "one"}})
    http.send("PATCH", "configmaps/none", {}, "application/merge-patch+json", fieldManager="me")
    http.get("configmaps")

    written = [event for event in control_plane.audit() if event["objectRef"].get("namespace") == namespace]
    assert [(event["verb"], event["objectRef"]["resource"], event["responseStatus"]["code"]) for event in written] == [
        ("create", "configmaps", 201),
        ("patch", "configmaps", 404),
    ]
    created, patched = written
    assert created["requestObject"]["metadata"]["name"] == "one"
    assert patched["objectRef"]["name"] == "none"
    assert patched["requestURI"] == f"/api/v1/namespaces/{namespace}/configmaps/none?fieldManager=me"
    assert created["requestReceivedTimestamp"] <= created["stageTimestamp"] <= patched["stageTimestamp"]


def test_kubectl_works_in_the_tests_namespace(kubectl: Kubectl, http: Client) -> None:
    http.create("configmaps", {"metadata": {"name": "one"}})
    assert "configmap/one" in kubectl("get", "configmaps", "-o", "name").said
    assert kubectl("get", "configmap", "two").code == 1
