"""Metrics whose labels have closed lists of values."""

from collections.abc import Iterable
from itertools import product
from typing import TypeVar

from prometheus_client import disable_created_metrics
from prometheus_client.metrics import MetricWrapperBase

disable_created_metrics()  # a series more for each of them, and Prometheus knows a restart without it

M = TypeVar("M", bound=MetricWrapperBase)


def initialized(metric: M, *values: Iterable[str]) -> M:
    """With a series for each combination of its labels' values. One that appears with its first event hides that event
    from `rate` and `increase`."""
    for combination in product(*values):
        metric.labels(*combination)
    return metric
