"""The rules that migration 0002 installs; an installation changes or disables them in the admin.

Nothing is added here: a later default is a migration of its own.
"""

from typing import Any

_ANOMALY = {"source": "anomaly", "min_score": 0.8}
_RCA = {"source": "rca", "min_probability": 0.7, "min_confidence": 0.7}
_SCALE_UP: dict[str, Any] = {"action_type": "SCALE", "params": {"delta": 1}}
_RESTART: dict[str, Any] = {"action_type": "RESTART", "params": {}}

DEFAULT_RULES: list[dict[str, Any]] = [
    {"name": "resource-scale-up", "subject": "resource", **_ANOMALY, **_SCALE_UP},
    {"name": "memory-leak-restart", "subject": "memory_leak", **_RCA, **_RESTART},
    {"name": "latency-scale-up", "subject": "latency", **_ANOMALY, **_SCALE_UP},
    {"name": "error-restart", "subject": "error", **_ANOMALY, **_RESTART},
    {"name": "cpu-saturation-scale-up", "subject": "cpu_saturation", **_RCA, **_SCALE_UP},
    {"name": "traffic-surge-scale-up", "subject": "traffic_surge", **_RCA, **_SCALE_UP},
    {"name": "latency-cause-scale-up", "subject": "latency", **_RCA, **_SCALE_UP},
    {"name": "deadlock-restart", "subject": "deadlock", **_RCA, **_RESTART},
    {"name": "errors-restart", "subject": "errors", **_RCA, **_RESTART},
]
