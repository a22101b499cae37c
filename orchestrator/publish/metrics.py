"""What publishers report to Prometheus."""

from prometheus_client import Gauge

LAG = Gauge(
    "smartops_publisher_lag_seconds",
    "Age of the oldest entry of the timeline that the publisher has not read; 0: there is none.",
    ["publisher"],
)
