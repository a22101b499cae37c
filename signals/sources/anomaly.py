"""Request body of `POST /v1/signals/anomaly`."""

from typing import Literal

from pydantic import Field, ValidationInfo, field_validator

from signals.names import SubjectName
from signals.sources.body import Fraction, NamedKind, SignalBody, require_target
from signals.types import Observation, Source, Target


class AnomalySignal(SignalBody):
    service: SubjectName | None = Field(
        None,
        validate_default=True,
        description="Name of the workload, or the name that the detector uses for it. Required if no label names it.",
    )
    workload_kind: NamedKind = None
    is_anomaly: bool = Field(
        alias="isAnomaly",
        description="false: the anomaly has ended. Resolves the signal.",
    )
    score: Fraction
    type: Literal["resource", "latency", "error", "other"]

    @field_validator("service")
    @classmethod
    def _has_target(cls, service: str | None, info: ValidationInfo) -> str | None:
        require_target(service, info.data.get("labels"))
        return service

    def observation(self, default: Target) -> Observation:
        """`default`: the cluster and namespace of a body that names none."""
        return Observation(
            source=Source.ANOMALY,
            symptom=self.type,
            window_id=self.window_id,
            firing=self.is_anomaly,
            score=self.score,
            payload=self.payload(),
            **self.named(self.service, self.workload_kind, default),
        )
