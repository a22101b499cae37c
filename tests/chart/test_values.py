"""The values of the chart: each is described, and Helm rejects invalid ones before it installs anything."""

import helm_python as helm
import pytest

from tests.chart.rendering import CHART, VALUES, Values, render
from tests.chart.values_table import page, sections


def test_the_table_of_values_matches_the_schema() -> None:
    assert (CHART.parents[1] / "docs/values.md").read_text() == page()


def test_every_value_is_described_once() -> None:
    paths = [one.path for _, _, values in sections() for one in values]

    assert len(paths) == len(set(paths)) > 50
    assert all(len(one.meaning) > 5 and not one.meaning.endswith(".") for _, _, values in sections() for one in values)


@pytest.mark.parametrize("name", VALUES)
def test_valid_values_are_accepted(name: str) -> None:
    assert render(VALUES[name])


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ({"replicas": 3}, "replicas"),
        ({"web": {"replica": 3}}, "replica"),
        ({"web": {"replicas": "3"}}, "/web/replicas"),
        ({"web": {"replicas": -1}}, "/web/replicas"),
        ({"global": {"smartops": {"namespace": "Smart_Ops"}}}, "/global/smartops/namespace"),
        ({"targets": {"namespaces": ["shop", "shop"]}}, "/targets/namespaces"),
        ({"targets": {"namespaces": ["*"]}}, "/targets/namespaces/0"),
        ({"image": {"pullPolicy": "Sometimes"}}, "/image/pullPolicy"),
        ({"image": {"repository": ""}}, "/image/repository"),
        ({"database": {"secret": ""}}, "/database/secret"),
        ({"database": {"url": "postgresql://smartops:secret@db/smartops"}}, "url"),
        ({"secrets": {"secretKey": "s3cret"}}, "secretKey"),
        ({"env": {"smartops-debug": "1"}}, "smartops-debug"),
        ({"env": {"SMARTOPS_DEBUG": 1}}, "/env/SMARTOPS_DEBUG"),
        ({"policy": {"url": "opa:8181"}}, "/policy/url"),
        ({"ingress": {"enabled": True}}, "/ingress/host"),
        ({"networkPolicy": {"agents": [{}]}}, "/networkPolicy/agents/0"),
        ({"networkPolicy": {"agents": [{"podselector": {}}]}}, "podselector"),
        ({"networkPolicy": {"database": {"port": 0}}}, "/networkPolicy/database/port"),
        ({"serviceMonitor": {"interval": "often"}}, "/serviceMonitor/interval"),
    ],
    ids=lambda value: str(value)[:50],
)
def test_an_invalid_value_is_rejected_by_name(values: Values, named: str) -> None:
    with pytest.raises(helm.HelmValuesError, match=named):
        render(values)
