"""Direct requests that are refused before a decision leave a row, and a flood of them leaves few."""

from functools import partial
from typing import Any

import pytest

from orchestrator.models import Action, DecisionRecord, RefusedRequest, refused_request
from signals import actors
from signals.types import Target
from smartops.tokens import Scope
from tests.kit.api import Api, bearer
from tests.kit.threads import at_once

WEB = Target("default", "smartops-dev", "web")
IMAGE = {"spec": {"template": {"spec": {"containers": [{"name": "main", "image": "x"}]}}}}


def rows() -> list[tuple[Any, ...]]:
    found = RefusedRequest.objects.order_by("id")
    return list(found.values_list("requested_by", "reason", "namespace", "name", "count"))


@pytest.mark.django_db
def test_a_refused_patch_and_a_foreign_namespace_are_recorded_with_their_target(api: Api) -> None:
    for _ in range(3):
        assert api.post("/v1/k8s/patch", {"deployment": "web", "patch": IMAGE}).status_code == 400
    narrow = bearer("narrow", [Scope.ACTIONS_WRITE], ["shop"])
    assert narrow.post("/v1/k8s/restart", {"deployment": "web", "namespace": "erp"}).status_code == 403

    assert rows() == [
        ("token:agent", "PatchForbidden", "smartops-dev", "web", 3),
        ("token:narrow", "NamespaceForbidden", "erp", "web", 1),
    ]
    assert "image" in RefusedRequest.objects.order_by("id")[0].message
    assert not Action.objects.exists()
    assert not DecisionRecord.objects.exists()


@pytest.mark.django_db
def test_a_missing_scope_is_recorded_without_a_target() -> None:
    api = bearer("reader", [Scope.READ])
    for path in ("/v1/k8s/restart", "/v1/k8s/scale"):
        assert api.post(path, {"deployment": "web"}).status_code == 403

    assert rows() == [("token:reader", "ScopeMissing", "", "", 2)]


@pytest.mark.django_db
def test_a_flood_of_targets_adds_a_bounded_number_of_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(refused_request, "MAX_TARGETS", 2)
    for number in range(5):
        RefusedRequest.record(actors.token("a"), Target("default", "erp", f"w{number}"), "NamespaceForbidden", "no")
    RefusedRequest.record(actors.token("b"), WEB, "NamespaceForbidden", "no")

    assert [(who, name, count) for who, _, _, name, count in rows()] == [
        ("token:a", "w0", 1),
        ("token:a", "w1", 1),
        ("token:a", "", 3),
        ("token:b", "web", 1),
    ]


@pytest.mark.django_db(transaction=True)
def test_refusals_at_once_are_all_counted() -> None:
    one = partial(RefusedRequest.record, actors.token("a"), WEB, "PatchForbidden", "no")

    at_once([partial(lambda: [one() for _ in range(5)])] * 4)

    assert rows() == [("token:a", "PatchForbidden", "smartops-dev", "web", 20)]
