"""Prometheus metrics with labels that have a fixed set of values."""

from collections.abc import Iterable
from itertools import product
from typing import TypeVar

from prometheus_client import disable_created_metrics
from prometheus_client.metrics import MetricWrapperBase

disable_created_metrics()  # `_created` doubles the series; Prometheus detects a counter reset without it

M = TypeVar("M", bound=MetricWrapperBase)


def initialized(metric: M, *values: Iterable[str]) -> M:
    """The metric with a series at 0 for each combination of label values, one iterable per label. `rate` and `increase`
    miss the first event of a series that appears with it."""
    for combination in product(*values):
        metric.labels(*combination)
    return metric
