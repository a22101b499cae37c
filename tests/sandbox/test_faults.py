import time
from contextlib import closing, suppress
from typing import Any

import pytest
import urllib3

from smartops.dev.sandbox import Sandbox
from smartops.dev.sandbox.faults import Delay, Forbid, Hang, LoseAnswer, Refuse, RequestReason
from tests.kit.client import MERGE, Client, Object
from tests.kit.patience import PATIENCE, eventually

MAP = "configmaps/map"
MAPS = MAP.removesuffix("/map")
CHANGE = {"data": {"changed": "yes"}}


@pytest.fixture
def stored(client: Client) -> Object:
    return client.create(MAPS, {"metadata": {"name": "map"}})


@pytest.fixture
def impatient(sandbox: Sandbox) -> Any:
    with closing(Client(sandbox.kubeconfig, timeout=0.2)) as impatient:
        yield impatient


def came(sandbox: Sandbox) -> bool:
    """Whether the sandbox has read a PATCH: its client may have left before."""
    return any(request.method == "PATCH" for request in sandbox.requests)


def changed(client: Client) -> bool:
    return "data" in client.get(MAP)


@pytest.mark.parametrize(
    ("status", "reason"),
    [(403, "Forbidden"), (409, "Conflict"), (410, "Expired"), (500, "InternalError"), (503, "ServiceUnavailable")],
)
def test_a_refused_request_is_answered_and_not_applied(
    sandbox: Sandbox, client: Client, stored: Object, status: int, reason: str
) -> None:
    sandbox.fault(Refuse(method="PATCH", path="/configmaps/", status=status))
    answered, refusal = client.send("PATCH", MAP, CHANGE, MERGE)
    assert (answered, refusal["kind"], refusal["reason"], refusal["code"]) == (status, "Status", reason, status)
    assert not changed(client)
    client.patch(MAP, CHANGE)


def test_too_many_requests_come_with_retry_after(sandbox: Sandbox, client: Client, stored: Object) -> None:
    sandbox.fault(Refuse(method="PATCH", status=429, retry_after=7))
    response = client.raw("PATCH", MAP, b"{}", MERGE)
    assert (response.status, response.headers["Retry-After"]) == (429, "7")
    assert response.json()["details"]["retryAfterSeconds"] == 7


def test_a_fault_strikes_where_it_matches_as_often_as_it_says(sandbox: Sandbox, client: Client, stored: Object) -> None:
    sandbox.fault(Refuse(method="PATCH", path="/configmaps/map$", status=503, count=2))
    assert client.send("GET", MAP)[0] == 200
    assert client.send("PATCH", "deployments/none", {}, MERGE)[0] == 404
    assert [client.send("PATCH", MAP, {}, MERGE)[0] for _ in range(3)] == [503, 503, 200]


def test_faults_can_be_cleared(sandbox: Sandbox, client: Client, stored: Object) -> None:
    sandbox.fault(Refuse(status=500, count=9))
    assert client.send("GET", MAP)[0] == 500
    sandbox.clear_faults()
    assert client.send("GET", MAP)[0] == 200


def test_a_lost_answer_is_an_applied_change_on_a_cut_connection(
    sandbox: Sandbox, client: Client, stored: Object
) -> None:
    sandbox.fault(LoseAnswer(method="PATCH"))
    with pytest.raises(urllib3.exceptions.ProtocolError):
        client.send("PATCH", MAP, CHANGE, MERGE)
    assert changed(client)
    assert sandbox.requests[-2].status == 0


def test_a_lost_answer_can_also_be_silence(sandbox: Sandbox, client: Client, impatient: Client, stored: Object) -> None:
    sandbox.fault(LoseAnswer(method="PATCH", hang=True))
    with pytest.raises(urllib3.exceptions.ReadTimeoutError):
        impatient.send("PATCH", MAP, CHANGE, MERGE)
    eventually(lambda: changed(client))  # the client may have left before the sandbox read it


def test_a_hanging_request_is_never_applied(
    sandbox: Sandbox, client: Client, impatient: Client, stored: Object
) -> None:
    sandbox.fault(Hang(method="PATCH"))
    with pytest.raises(urllib3.exceptions.ReadTimeoutError):
        impatient.send("PATCH", MAP, CHANGE, MERGE)
    eventually(lambda: came(sandbox))
    assert not changed(client)


def test_a_delayed_request_is_applied_even_after_its_client_left(
    sandbox: Sandbox, client: Client, impatient: Client, stored: Object
) -> None:
    sandbox.fault(Delay(method="PATCH", seconds=0.5))
    before = time.monotonic()
    with suppress(urllib3.exceptions.ReadTimeoutError):  # on a busy machine it may still be there
        impatient.send("PATCH", MAP, CHANGE, MERGE)
    client.wait(MAPS, lambda found: "data" in found)
    assert time.monotonic() - before >= 0.5


def test_a_patient_client_gets_the_delayed_answer(sandbox: Sandbox, client: Client, stored: Object) -> None:
    sandbox.fault(Delay(method="PATCH", seconds=0.1))
    before = time.monotonic()
    client.patch(MAP, CHANGE)
    assert time.monotonic() - before >= 0.1


def test_a_delayed_request_delays_no_other(sandbox: Sandbox, client: Client, impatient: Client, stored: Object) -> None:
    sandbox.fault(Delay(method="PATCH", seconds=3 * PATIENCE))
    with pytest.raises(urllib3.exceptions.ReadTimeoutError):
        impatient.send("PATCH", MAP, CHANGE, MERGE)
    eventually(lambda: came(sandbox))
    assert not changed(client)


def test_faults_can_be_asked_for_over_http(client: Client, stored: Object) -> None:
    fault = {"kind": "Refuse", "method": "GET", "path": "/configmaps/", "status": 503, "count": 2}
    assert client.raw("POST", "/sandbox/faults", fault).status == 204
    assert client.send("GET", MAP)[0] == 503
    assert client.raw("DELETE", "/sandbox/faults").status == 204
    assert client.send("GET", MAP)[0] == 200


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ({"kind": "Explode"}, "kind: one of Refuse, Delay, Hang, LoseAnswer, CutWatch, MuteWatch, CompactHistory"),
        ({"kind": "Refuse"}, "status"),
        ({"kind": "Refuse", "status": 418}, "status: one of"),
        ({"kind": "Hang", "seconds": 1}, "Hang has no seconds"),
        ({"kind": "Delay", "seconds": "long"}, "seconds"),
        ({"kind": "Delay", "seconds": 1, "count": 0}, "count"),
        ({"kind": "Delay", "seconds": -1}, "seconds"),
        ({"kind": "Hang", "path": "("}, "unterminated"),
        ([], "map"),
    ],
)
def test_an_unknown_fault_is_refused_with_what_is_known(client: Client, fault: Any, said: str) -> None:
    status, refusal = client.send("POST", "/sandbox/faults", fault)
    assert status == 400
    assert said in refusal["message"]


def test_faults_are_values() -> None:
    assert Refuse(status=503) == Refuse(status=503)
    assert isinstance(hash(Refuse(status=503)), int)
    assert isinstance(Hang(), RequestReason)


REVIEW = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"


def allowed(client: Client, **attributes: str) -> bool:
    review = {
        "spec": {"resourceAttributes": {"verb": "patch", "group": "apps", "resource": "deployments"} | attributes}
    }
    return bool(client.create(REVIEW, review)["status"]["allowed"])


def test_a_forbidden_request_is_refused_and_reviews_say_so(sandbox: Sandbox, client: Client) -> None:
    sandbox.fault(Forbid(verb="patch", group="apps", resource="deployments", namespace="default"))
    status, refusal = client.send("PATCH", "deployments/web", {}, MERGE)
    assert (status, refusal["reason"]) == (403, "Forbidden")
    assert refusal["details"] == {"name": "web", "group": "apps", "kind": "deployments"}
    said = 'cannot patch resource "deployments" in API group "apps" in the namespace "default"'
    assert refusal["message"].endswith(said)
    assert client.send("GET", "deployments/web")[0] == 404
    assert client.send("PATCH", "deployments/web/scale", {}, MERGE)[0] == 404
    assert not allowed(client, namespace="default")
    assert allowed(client, namespace="kube-system")
    assert allowed(client, namespace="default", verb="get")
    assert allowed(client, namespace="default", subresource="scale")
    sandbox.clear_faults()
    assert allowed(client, namespace="default")


@pytest.mark.parametrize(
    ("method", "path", "forbid"),
    [
        ("GET", "/api/v1/pods", Forbid(verb="list", resource="pods")),
        ("GET", "/api/v1/pods?watch=1", Forbid(verb="watch", resource="pods")),
        ("DELETE", "pods", Forbid(verb="deletecollection", resource="pods")),
        ("POST", "pods/x/eviction", Forbid(verb="create", resource="pods/eviction")),
        ("PUT", "deployments/web/scale", Forbid(group="apps", resource="deployments/scale")),
    ],
)
def test_each_request_needs_its_own_verb(
    sandbox: Sandbox, client: Client, method: str, path: str, forbid: Forbid
) -> None:
    sandbox.fault(forbid)
    assert client.send(method, path, {} if method in ("PUT", "POST") else None)[0] == 403


def test_an_access_review_asks_one_thing(client: Client) -> None:
    assert client.send("POST", REVIEW, {"spec": {}})[0] == 422
