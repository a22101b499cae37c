"""Signals and observations are read-only."""

from django.contrib import admin
from django.db.models import Q

from signals.lib.history_admin import HistoryAdmin
from signals.models import Observation, Signal
from signals.types import Target


def signals_of(target: Target, prefix: str = "") -> Q:
    named = {"cluster": target.cluster, "namespace": target.namespace} | (
        {"workload": target.name} if target.name else {}
    )
    return Q(**{prefix + name: value for name, value in named.items()})


@admin.register(Signal)
class SignalAdmin(HistoryAdmin[Signal]):
    list_display = ["first_seen_at", "source", "symptom", "namespace", "workload", "state", "reason", "count"]
    list_filter = ["state"]
    large = ("payload",)
    ordering = ["-id"]

    def of_workload(self, target: Target) -> Q:
        return signals_of(target)


@admin.register(Observation)
class ObservationAdmin(HistoryAdmin[Observation]):
    list_display = ["received_at", "signal", "window_id", "firing", "late", "posted_by"]
    list_select_related = ["signal"]
    large, large_related = ("payload",), ("signal__payload",)
    ids = ("pk", "signal_id")
    ordering = ["-id"]

    def of_workload(self, target: Target) -> Q:
        return Q(signal__in=Signal.objects.filter(signals_of(target)).values("pk"))
