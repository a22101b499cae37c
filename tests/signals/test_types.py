"""A target, and the scopes that cover it."""

import pytest

from signals.types import Kind, Target

WEB = Target("berlin", "shop", "web", Kind.STATEFUL_SET)


@pytest.mark.parametrize(
    ("scope", "covers"),
    [
        ({}, True),
        ({"cluster": "berlin", "kind": "StatefulSet", "namespace": "shop", "workload": "web"}, True),
        ({"namespace": "shop"}, True),
        ({"cluster": "oslo"}, False),
        ({"kind": "Deployment"}, False),
        ({"namespace": "shop", "workload": "api"}, False),
    ],
)
def test_an_empty_column_of_a_scope_covers_every_target(scope: dict[str, str], covers: bool) -> None:
    row = {**dict.fromkeys(WEB.scope, ""), **scope, "max_replicas": 3}
    assert WEB.is_in(row) is covers
