"""The rules of a new installation, and room on the pages of signals."""

from typing import Any

from django.db import migrations

_ANOMALY = {"source": "anomaly", "min_score": 0.8}
_RCA = {"source": "rca", "min_probability": 0.7, "min_confidence": 0.7}
_SCALE_UP: dict[str, Any] = {"action_type": "SCALE", "params": {"delta": 1}}
_RESTART: dict[str, Any] = {"action_type": "RESTART", "params": {}}

DEFAULT_RULES: list[dict[str, Any]] = [
    {"name": "resource-scale-up", "symptom": "resource", **_ANOMALY, **_SCALE_UP},
    {"name": "memory-leak-restart", "symptom": "memory_leak", **_RCA, **_RESTART},
    {"name": "latency-scale-up", "symptom": "latency", **_ANOMALY, **_SCALE_UP},
    {"name": "error-restart", "symptom": "error", **_ANOMALY, **_RESTART},
    {"name": "cpu-saturation-scale-up", "symptom": "cpu_saturation", **_RCA, **_SCALE_UP},
    {"name": "traffic-surge-scale-up", "symptom": "traffic_surge", **_RCA, **_SCALE_UP},
    {"name": "latency-cause-scale-up", "symptom": "latency", **_RCA, **_SCALE_UP},
    {"name": "deadlock-restart", "symptom": "deadlock", **_RCA, **_RESTART},
    {"name": "errors-restart", "symptom": "errors", **_RCA, **_RESTART},
]
# Each partition that is created gets the parameters of the default one.
FILLFACTOR = "ALTER TABLE signals_signal_default SET (fillfactor = 60)"


def install(apps, _schema_editor):
    rule = apps.get_model("signals", "Rule")
    rule.objects.bulk_create([rule(**fields) for fields in DEFAULT_RULES], ignore_conflicts=True)


class Migration(migrations.Migration):
    """A repeat updates its open signal in place: with room left on the page, no index has to be touched (HOT)."""

    dependencies = [("signals", "0001_initial")]
    operations = [
        migrations.RunPython(install, migrations.RunPython.noop),
        migrations.RunSQL(FILLFACTOR, "ALTER TABLE signals_signal_default RESET (fillfactor)"),
    ]
