"""Request body of `POST /v1/signals/anomaly`."""

from typing import Literal

from pydantic import Field

from signals.names import WorkloadName
from signals.sources.body import Fraction, NamedKind, SignalBody
from signals.types import Observation, Source, Target


class AnomalySignal(SignalBody):
    service: WorkloadName = Field(description="Name of the workload.")
    workload_kind: NamedKind = None
    is_anomaly: bool = Field(
        alias="isAnomaly",
        description="false: the anomaly has ended. Resolves the signal.",
    )
    score: Fraction
    type: Literal["resource", "latency", "error", "other"]

    def observation(self, default: Target) -> Observation:
        """`default`: the cluster and namespace of a body that names none."""
        return Observation(
            source=Source.ANOMALY,
            target=self.target(self.service, self.workload_kind, default),
            symptom=self.type,
            window_id=self.window_id,
            firing=self.is_anomaly,
            score=self.score,
            payload=self.payload(),
        )
