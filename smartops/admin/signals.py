"""Signals and observations are read-only."""

from collections.abc import Mapping

from django.contrib import admin
from django.db.models import Q

from signals.models import Observation, Signal
from smartops.admin.placed import PlacedHistoryAdmin


def signals_of(scope: Mapping[str, str]) -> Q:
    return Q(**{"workload" if name == "name" else name: value for name, value in scope.items()})


@admin.register(Signal)
class SignalAdmin(PlacedHistoryAdmin[Signal]):
    list_display = ["first_seen_at", "source", "symptom", "kind", "namespace", "workload", "state", "reason", "count"]
    list_filter = ["state"]
    large = ("payload",)
    ordering = ["-id"]

    def of_workload(self, scope: Mapping[str, str]) -> Q:
        return signals_of(scope)


@admin.register(Observation)
class ObservationAdmin(PlacedHistoryAdmin[Observation]):
    list_display = ["received_at", "signal", "window_id", "firing", "late", "posted_by"]
    list_select_related = ["signal"]
    large, large_related = ("payload",), ("signal__payload",)
    ids = ("pk", "signal_id")
    ordering = ["-id"]

    def of_workload(self, scope: Mapping[str, str]) -> Q:
        return Q(signal__in=Signal.objects.filter(signals_of(scope)).values("pk"))
