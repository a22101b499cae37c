"""Request body of `POST /v1/signals/anomaly`."""

from typing import Literal

from pydantic import Field

from signals.names import WorkloadName
from signals.sources.body import Fraction, SignalBody
from signals.types import Observation, Source, Target


class AnomalySignal(SignalBody):
    service: WorkloadName = Field(description="Name of the Deployment.")
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
            target=self.target(self.service, default),
            symptom=self.type,
            window_id=self.window_id,
            firing=self.is_anomaly,
            score=self.score,
            payload=self.payload(),
        )
