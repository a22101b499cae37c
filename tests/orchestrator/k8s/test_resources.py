"""Paths of the Kubernetes API."""

import pytest

from orchestrator.k8s.errors import Invalid
from orchestrator.k8s.resources import ACCESS_REVIEWS, AUTOSCALERS, DEPLOYMENTS, EVENTS, PODS


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        (DEPLOYMENTS.path(), "/apis/apps/v1/deployments"),
        (DEPLOYMENTS.path("dev"), "/apis/apps/v1/namespaces/dev/deployments"),
        (DEPLOYMENTS.path("dev", "erp"), "/apis/apps/v1/namespaces/dev/deployments/erp"),
        (AUTOSCALERS.path("dev"), "/apis/autoscaling/v2/namespaces/dev/horizontalpodautoscalers"),
        (PODS.path("dev", "erp-1", "eviction"), "/api/v1/namespaces/dev/pods/erp-1/eviction"),
        (EVENTS.path("dev"), "/api/v1/namespaces/dev/events"),
        (ACCESS_REVIEWS.path(), "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"),
    ],
)
def test_a_path_names_the_group_the_namespace_and_the_object(path: str, expected: str) -> None:
    assert path == expected


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "a?b", "A", "a" * 254, "a\n"])
def test_a_path_with_something_else_than_a_name_is_invalid(name: str) -> None:
    for place in ((name,), (name, "erp"), ("dev", name)):
        with pytest.raises(Invalid):
            DEPLOYMENTS.path(*place)
