from typing import Any

import pytest

from smartops.dev.sandbox.resources import AUTOSCALER, BY_NAME, DEPLOYMENT, DISRUPTION_BUDGET, EVENT, KINDS, Kind
from smartops.dev.sandbox.schema import WrongTypeError, decoded


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_each_kind_has_a_type(kind: Kind) -> None:
    known, unknown = decoded(kind, {"metadata": {"name": "web"}, "nonsense": 1})
    assert (known, unknown) == ({"metadata": {"name": "web"}}, ["nonsense"])


def test_unknown_fields_are_named_by_their_paths_and_left_out() -> None:
    container = {"name": "app", "imag": "app:1", "livenessProbe": {"anything": "goes"}}
    template = {"metadata": {"labels": {"any": "key"}}, "spec": {"containers": [{"name": "first"}, container]}}
    known, unknown = decoded(DEPLOYMENT, {"spec": {"replica": 3, "template": template}, "extra": {"spec": 1}})
    assert unknown == [
        "extra",
        "spec.replica",
        "spec.template.spec.containers[1].imag",
        "spec.template.spec.containers[1].livenessProbe.anything",
    ]
    containers = [{"name": "first"}, {"name": "app", "livenessProbe": {}}]
    assert known == {"spec": {"template": {**template, "spec": {"containers": containers}}}}


@pytest.mark.parametrize(
    ("kind", "obj"),
    [
        (DEPLOYMENT, {"spec": {"replicas": "1"}}),
        (DEPLOYMENT, {"spec": {"replicas": True}}),
        (DEPLOYMENT, {"spec": {"replicas": 1.5}}),
        (DEPLOYMENT, {"spec": {"replicas": 2**31}}),
        (DEPLOYMENT, {"spec": {"paused": 1}}),
        (DEPLOYMENT, {"spec": []}),
        (DEPLOYMENT, {"spec": {"template": {"spec": {"containers": {"name": "app"}}}}}),
        (DEPLOYMENT, {"spec": {"strategy": {"rollingUpdate": {"maxSurge": False}}}}),
        (DEPLOYMENT, {"metadata": {"annotations": {"count": 1}}}),
        (DEPLOYMENT, {"metadata": {"finalizers": "one"}}),
        (AUTOSCALER, {"spec": {"maxReplicas": "3"}}),
        (DISRUPTION_BUDGET, {"spec": {"minAvailable": True}}),
        (EVENT, {"count": "many"}),
        (BY_NAME["v1", "ConfigMap"], {"data": {"n": 1}}),
        (BY_NAME["v1", "ConfigMap"], []),
    ],
)
def test_a_value_of_the_wrong_type_is_not_decoded(kind: Kind, obj: Any) -> None:
    with pytest.raises(WrongTypeError):
        decoded(kind, obj)


@pytest.mark.parametrize(
    ("kind", "spec"),
    [
        (DEPLOYMENT, {"replicas": None}),
        (DEPLOYMENT, {"strategy": {"rollingUpdate": {"maxSurge": 1, "maxUnavailable": "25%"}}}),
        (DEPLOYMENT, {"template": {"spec": {"containers": [{"resources": {"limits": {"cpu": 1, "memory": "1Gi"}}}]}}}),
        (AUTOSCALER, {"metrics": [{"resource": {"target": {"averageValue": 100}}}]}),
    ],
)
def test_a_null_fits_everywhere_and_a_number_where_an_amount_is_meant(kind: Kind, spec: Any) -> None:
    assert decoded(kind, {"spec": spec}) == ({"spec": spec}, [])
