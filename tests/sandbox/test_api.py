"""What the API server promises, by plain HTTP."""

import copy
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from smartops.dev.sandbox import Sandbox
from tests.kit.client import JSON, MERGE, Client, Object
from tests.kit.manifests import deployment

STRATEGIC, JSON_PATCH = "application/strategic-merge-patch+json", "application/json-patch+json"
APPLY = "application/apply-patch+yaml"
WEB = "deployments/web"


@pytest.fixture
def quiet(client: Client) -> Object:
    """A Deployment that nothing happens to any more."""
    client.create("deployments", deployment())
    return client.rolled_out("web")


def version(obj: Object) -> str:
    return str(obj["metadata"]["resourceVersion"])


def test_the_server_states_its_version_and_its_resources(client: Client) -> None:
    assert client.get("/version")["gitVersion"] == "v1.37.0+smartops-sandbox"
    assert [node["metadata"]["name"] for node in client.get("/api/v1/nodes")["items"]] == ["smartops-sandbox"]


def test_the_usual_namespaces_exist(client: Client) -> None:
    names = {item["metadata"]["name"] for item in client.get("/api/v1/namespaces")["items"]}
    assert names == {"default", "kube-node-lease", "kube-public", "kube-system"}


def test_a_created_deployment_has_an_identity_and_defaults(client: Client) -> None:
    created = client.create("deployments", deployment(replicas=None))
    metadata, spec = created["metadata"], created["spec"]
    assert metadata["generation"] == 1
    assert metadata["uid"]
    assert metadata["creationTimestamp"]
    assert (spec["replicas"], spec["progressDeadlineSeconds"], spec["revisionHistoryLimit"]) == (1, 600, 10)
    assert spec["strategy"] == {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "25%", "maxUnavailable": "25%"}}
    assert spec["template"]["spec"]["containers"][0]["imagePullPolicy"] == "IfNotPresent"


@pytest.mark.parametrize(
    "patch",
    [
        {},
        {"spec": {"replicas": 1}},
        {"metadata": {"labels": {"none": None}}},
        {"metadata": {"labels": {}, "finalizers": []}},
        {"spec": {"paused": False, "minReadySeconds": 0}},
        {"spec": {"template": {"metadata": {"creationTimestamp": None}, "spec": {"nodeSelector": {}, "volumes": []}}}},
    ],
)
def test_a_patch_of_nothing_moves_nothing(client: Client, quiet: Object, patch: Object) -> None:
    assert client.patch(WEB, patch, fieldManager="somebody-else") == quiet


@pytest.mark.parametrize("method", ["PUT", "PATCH"])
def test_a_stale_resource_version_is_a_conflict(client: Client, quiet: Object, method: str) -> None:
    client.patch(WEB, {"spec": {"replicas": 0}})
    stale = quiet if method == "PUT" else {"metadata": {"resourceVersion": version(quiet)}, "spec": {"replicas": 5}}
    status, refusal = client.send(method, WEB, stale, JSON if method == "PUT" else MERGE)
    assert (status, refusal["kind"], refusal["reason"], refusal["code"]) == (409, "Status", "Conflict", 409)
    assert refusal["details"] == {"name": "web", "group": "apps", "kind": "deployments"}
    assert "the object has been modified" in refusal["message"]
    assert client.get(WEB)["spec"]["replicas"] == 0


def test_the_present_resource_version_is_no_conflict(client: Client, quiet: Object) -> None:
    patch = {"metadata": {"resourceVersion": version(quiet), "uid": quiet["metadata"]["uid"]}, "spec": {"replicas": 2}}
    assert client.patch(WEB, patch)["spec"]["replicas"] == 2


def test_another_uid_is_invalid_in_a_patch_and_a_conflict_in_a_put(client: Client, quiet: Object) -> None:
    status, refusal = client.send("PATCH", WEB, {"metadata": {"uid": "another"}, "spec": {"replicas": 2}}, MERGE)
    assert (status, refusal["reason"]) == (422, "Invalid")
    assert refusal["details"]["causes"][0]["field"] == "metadata.uid"
    assert "field is immutable" in refusal["message"]
    status, refusal = client.send("PUT", WEB, quiet | {"metadata": quiet["metadata"] | {"uid": "another"}})
    assert (status, refusal["reason"]) == (409, "Conflict")


def test_a_put_without_a_version_replaces(client: Client, quiet: Object) -> None:
    status, replaced = client.send("PUT", WEB, deployment(replicas=4))
    assert (status, replaced["spec"]["replicas"]) == (200, 4)
    assert replaced["metadata"]["uid"] == quiet["metadata"]["uid"]
    assert replaced["status"] == quiet["status"]


def test_a_dry_run_answers_as_if_and_stores_nothing(client: Client, quiet: Object) -> None:
    patched = client.patch(WEB, {"spec": {"replicas": 7}}, dryRun="All")
    assert (patched["spec"]["replicas"], version(patched)) == (7, version(quiet))
    assert patched["metadata"]["generation"] == quiet["metadata"]["generation"] + 1
    status, created = client.send("POST", "deployments", deployment("other"), dryRun="All")
    assert (status, created["metadata"]["generation"]) == (201, 1)
    assert client.send("DELETE", WEB, dryRun="All")[0] == 200
    assert client.send("PATCH", WEB, {}, MERGE, dryRun="Some")[0] == 422
    assert client.get("deployments")["items"] == [
        {key: value for key, value in quiet.items() if key not in ("kind", "apiVersion")}
    ]


@pytest.mark.parametrize(
    ("path", "value", "field"),
    [
        (("metadata", "name"), "Not_A_Name", "metadata.name"),
        (("metadata", "name"), "", "metadata.name"),
        (("metadata", "finalizers"), ["unqualified"], "metadata.finalizers[0]"),
        (("metadata", "labels"), {"a": "not a value"}, "metadata.labels"),
        (("metadata", "ownerReferences"), [{"uid": "u"}], "metadata.ownerReferences[0].apiVersion"),
        (("metadata", "ownerReferences"), [None], "metadata.ownerReferences[0].apiVersion"),
        (("spec", "replicas"), -1, "spec.replicas"),
        (("spec", "progressDeadlineSeconds"), 0, "spec.progressDeadlineSeconds"),
        (("spec", "selector"), None, "spec.selector"),
        (("spec", "selector"), {"matchLabels": {"app": "other"}}, "spec.template.metadata.labels"),
        (("spec", "strategy"), {"type": "Sideways"}, "spec.strategy"),
        (("spec", "strategy"), {"type": "Recreate", "rollingUpdate": {}}, "spec.strategy.rollingUpdate"),
        (("spec", "strategy"), {"rollingUpdate": {"maxSurge": "a few"}}, "spec.strategy.rollingUpdate.maxSurge"),
        (("spec", "strategy"), {"rollingUpdate": {"maxSurge": 0, "maxUnavailable": 0}},
         "spec.strategy.rollingUpdate.maxUnavailable"),
        (("spec", "template", "spec", "containers"), [], "spec.template.spec.containers"),
        (("spec", "template", "spec", "containers"), [{"name": "a"}], "spec.template.spec.containers[0].image"),
        (("spec", "template", "spec", "containers"), [{"name": "a", "image": "i"}] * 2,
         "spec.template.spec.containers[1].name"),
    ],
)  # fmt: skip
def test_an_invalid_value_is_refused_with_its_field(
    client: Client, path: tuple[str, ...], value: Any, field: str
) -> None:
    wrong = deployment()
    inner = wrong
    for step in path[:-1]:
        inner = inner[step]
    inner[path[-1]] = value
    status, refusal = client.send("POST", "deployments", wrong)
    assert (status, refusal["reason"]) == (422, "Invalid")
    assert field in [cause["field"] for cause in refusal["details"]["causes"]]


@pytest.mark.parametrize(
    "wrong",
    [
        {"spec": {"replicas": "3"}},
        {"spec": {"replicas": True}},
        {"spec": {"replicas": 2**31}},
        {"spec": {"paused": 1}},
        {"spec": {"template": []}},
        {"metadata": {"name": "web", "annotations": {"a": 1}}},
        {"kind": "ReplicaSet"},
    ],
)
def test_wrong_types_are_an_invalid_patch_and_a_bad_request_otherwise(
    client: Client, quiet: Object, wrong: Object
) -> None:
    status, refusal = client.send("PATCH", WEB, wrong, MERGE)
    assert (status, refusal["reason"], refusal["details"]["causes"][0]["field"]) == (422, "Invalid", "patch")
    status, refusal = client.send("POST", "deployments", {"metadata": {"name": "web"}, "apiVersion": "apps/v1"} | wrong)
    assert (status, refusal["reason"]) == (400, "BadRequest")


@pytest.mark.parametrize("metadata", [None, {"name": None}, {"name": "another"}, {"namespace": "another"}])
def test_an_object_cannot_be_moved(client: Client, quiet: Object, metadata: Object | None) -> None:
    status, refusal = client.send("PATCH", WEB, {"metadata": metadata}, MERGE)
    assert (status, refusal["reason"]) == (400, "BadRequest")


@pytest.mark.parametrize(
    "metadata",
    [{"creationTimestamp": "2020-01-01T00:00:00Z"}, {"generation": 7}, {"uid": None}, {"managedFields": None}],
)
def test_metadata_of_the_system_is_kept(client: Client, quiet: Object, metadata: Object) -> None:
    assert client.patch(WEB, {"metadata": metadata}) == quiet


def test_fields_the_api_does_not_know_are_dropped(client: Client, quiet: Object) -> None:
    assert client.patch(WEB, {"spec": {"surprise": 1}}) == quiet


def test_a_selector_is_immutable(client: Client, quiet: Object) -> None:
    patch = {"spec": {"selector": {"matchLabels": {"app": "x"}}, "template": {"metadata": {"labels": {"app": "x"}}}}}
    assert client.send("PATCH", WEB, patch, MERGE)[0] == 422


@pytest.mark.parametrize(
    ("method", "path", "body", "content_type", "expected"),
    [
        ("GET", "deployments/none", None, JSON, (404, "NotFound")),
        ("PATCH", "deployments/none", {}, MERGE, (404, "NotFound")),
        ("DELETE", "deployments/none", None, JSON, (404, "NotFound")),
        ("GET", "/apis/apps/v1/gizmos", None, JSON, (404, "NotFound")),
        ("GET", f"{WEB}/finalize", None, JSON, (404, "NotFound")),
        ("POST", WEB, {}, JSON, (405, "MethodNotAllowed")),
        ("POST", "deployments", b"{", JSON, (400, "BadRequest")),
        ("POST", "deployments", b'{"spec": {"replicas": NaN}}', JSON, (400, "BadRequest")),
        ("POST", "deployments", b"[" * 100_000, JSON, (400, "BadRequest")),
        ("POST", "deployments", b"[]", JSON, (400, "BadRequest")),
        ("POST", "deployments", {"kind": "Pod", "apiVersion": "v1"}, JSON, (400, "BadRequest")),
        ("POST", "deployments", b"<xml/>", "text/xml", (415, "UnsupportedMediaType")),
        ("PATCH", WEB, {}, JSON, (415, "UnsupportedMediaType")),
        ("PATCH", WEB, [{"op": "test", "path": "/spec/replicas", "value": 9}], JSON_PATCH, (422, "Invalid")),
        ("PATCH", WEB, [{"op": "wrong"}], JSON_PATCH, (422, "Invalid")),
        ("PATCH", WEB, [{"op": "replace", "path": "", "value": 1}], JSON_PATCH, (422, "Invalid")),
        ("PATCH", WEB, {"op": "add"}, JSON_PATCH, (400, "BadRequest")),
        ("PATCH", WEB, {"spec": {"template": {"spec": {"containers": [{"image": "i"}]}}}}, STRATEGIC, (500, "")),
        ("PATCH", WEB, {}, APPLY, (422, "Invalid")),
        ("GET", "deployments?resourceVersion=new", None, JSON, (400, "BadRequest")),
        ("GET", "deployments?watch=1&sendInitialEvents=true", None, JSON, (422, "Invalid")),
        ("PATCH", WEB, [], MERGE, (400, "BadRequest")),
    ],
)
def test_refusals_have_the_apis_codes_and_reasons(
    client: Client, quiet: Object, method: str, path: str, body: Any, content_type: str, expected: tuple[int, str]
) -> None:
    status, refusal = client.send(method, path, body, content_type)
    assert (status, refusal.get("reason", "")) == expected
    assert (refusal["kind"], refusal["code"]) == ("Status", status)


def test_a_name_can_be_taken_once_and_needs_its_namespace(client: Client, quiet: Object) -> None:
    status, refusal = client.send("POST", "deployments", deployment())
    assert (status, refusal["reason"]) == (409, "AlreadyExists")
    status, refusal = client.send("POST", "/apis/apps/v1/namespaces/none/deployments", deployment())
    assert (status, refusal["message"]) == (404, 'namespaces "none" not found')


@pytest.mark.parametrize("field", ["uid", "resourceVersion"])
def test_a_deletion_keeps_to_its_preconditions(client: Client, quiet: Object, field: str) -> None:
    status, refusal = client.send("DELETE", WEB, {"preconditions": {field: "another"}})
    assert (status, refusal["reason"]) == (409, "Conflict")
    assert client.send("DELETE", WEB, {"preconditions": {field: quiet["metadata"][field]}})[0] == 200
    assert client.send("GET", WEB)[0] == 404


def test_an_object_with_finalizers_goes_when_the_last_is_removed(client: Client, quiet: Object) -> None:
    client.patch(WEB, {"metadata": {"finalizers": ["example.test/wait"]}})
    status, deleting = client.send("DELETE", WEB)
    assert (status, "deletionTimestamp" in deleting["metadata"]) == (200, True)
    client.patch(WEB, {"metadata": {"finalizers": None}})
    assert client.send("GET", WEB)[0] == 404


def test_a_deleted_namespace_takes_its_contents_along(client: Client) -> None:
    client.create("/api/v1/namespaces", {"metadata": {"name": "shop"}})
    inside = "/apis/apps/v1/namespaces/shop/deployments"
    client.create(inside, deployment())
    client.wait(inside, lambda found: found.get("status", {}).get("availableReplicas") == 1)
    client.send("DELETE", "/api/v1/namespaces/shop")
    for path in (inside, "/apis/apps/v1/namespaces/shop/replicasets", "/api/v1/namespaces/shop/pods"):
        assert client.get(path)["items"] == []


def test_scale_is_another_view_of_the_deployment(client: Client, quiet: Object) -> None:
    scale = client.get(f"{WEB}/scale")
    assert (scale["kind"], scale["spec"], scale["status"]) == (
        "Scale", {"replicas": 1}, {"replicas": 1, "selector": "app=web"},
    )  # fmt: skip
    assert client.patch(f"{WEB}/scale", {"spec": {"replicas": 3}})["spec"]["replicas"] == 3
    assert client.get(WEB)["metadata"]["generation"] == quiet["metadata"]["generation"] + 1
    assert client.send("PUT", f"{WEB}/scale", scale)[0] == 409
    assert client.send("PATCH", f"{WEB}/scale", {"spec": {"replicas": -3}}, MERGE)[0] == 422
    assert client.send("PATCH", f"{WEB}/scale", {"metadata": {"uid": "another"}}, MERGE)[0] == 409


def test_status_is_written_apart_from_the_rest(client: Client, quiet: Object) -> None:
    ignored = client.patch(WEB, {"status": {"replicas": 99}})
    assert ignored["status"] == quiet["status"]
    change = {"spec": {"replicas": 99}, "metadata": {"annotations": {"a": "b"}}, "status": {"collisionCount": 1}}
    changed = client.patch(f"{WEB}/status", change)
    assert (changed["spec"], changed["metadata"]["annotations"]["a"]) == (quiet["spec"], "b")
    assert changed["metadata"]["generation"] == quiet["metadata"]["generation"]


def test_a_table_has_a_row_per_object(client: Client, quiet: Object) -> None:
    accept = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"
    table = client.raw("GET", "deployments", accept=accept).json()
    assert [column["name"] for column in table["columnDefinitions"]][:4] == ["Name", "Ready", "Up-to-date", "Available"]
    assert table["rows"][0]["cells"][:4] == ["web", "1/1", 1, 1]


def test_requests_are_remembered_with_their_answers(sandbox: Sandbox, client: Client, quiet: Object) -> None:
    client.send("PATCH", WEB, {"spec": {"replicas": 2}}, MERGE, fieldManager="me")
    last = sandbox.requests[-1]
    where = "/apis/apps/v1/namespaces/default/deployments/web?fieldManager=me"
    assert (last.method, last.path, last.status) == ("PATCH", where, 200)
    assert (last.content_type, last.body) == (MERGE, b'{"spec": {"replicas": 2}}')
    remembered: Any = client.get("/sandbox/requests")
    assert remembered[-1]["method"] == "PATCH"


WORDS = (
    "replicas paused selector strategy template metadata spec containers name image labels annotations type "
    "rollingUpdate maxSurge matchLabels ownerReferences env ports $patch $retainKeys $setElementOrder/containers"
)
FIELDS = st.sampled_from(WORDS.split())
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 9) | st.sampled_from(["", "x", "25%", "delete", "Recreate", "\ud800"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(FIELDS, inner, max_size=4),
    max_leaves=12,
)


@pytest.fixture(scope="module")
def tough() -> Any:
    with Sandbox() as running:
        client = Client(running.kubeconfig)
        yield client
        client.close()


@given(spec=ANYTHING, metadata=ANYTHING, content_type=st.sampled_from([MERGE, STRATEGIC]))
@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_is_sent_there_is_an_answer(tough: Client, spec: Any, metadata: Any, content_type: str) -> None:
    if tough.send("GET", WEB)[0] == 404:
        tough.create("deployments", deployment())
    before = tough.get(WEB)
    status, answer = tough.send("PATCH", WEB, {"metadata": metadata, "spec": spec}, content_type)
    assert status in (200, 400, 422) or (status, content_type) == (500, STRATEGIC)
    if status != 200:
        assert answer["kind"] == "Status"
        assert tough.get(WEB)["spec"] == before["spec"]
    else:
        restored = copy.deepcopy(before)
        del restored["metadata"]["resourceVersion"]
        assert tough.send("PUT", WEB, restored)[0] in (200, 422)
