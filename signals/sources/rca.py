"""Request body of `POST /v1/signals/rca`."""

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator

from signals.names import Cause, SubjectName
from signals.sources.body import Fraction, NamedKind, SignalBody, require_target
from signals.types import Observation, Source, Target


class RankedCause(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    svc: SubjectName | None = Field(
        None,
        description="Name of the workload, or the name that the engine uses for it. Required if no label names it.",
    )
    workload_kind: NamedKind = None
    cause: Cause = Field(examples=["memory_leak"])
    probability: Fraction


class RcaSignal(SignalBody):
    ranked_causes: list[RankedCause] = Field(alias="rankedCauses", min_length=1)
    confidence: Fraction

    @field_validator("ranked_causes")
    @classmethod
    def _have_targets(cls, causes: list[RankedCause], info: ValidationInfo) -> list[RankedCause]:
        for cause in causes:
            require_target(cause.svc, info.data.get("labels"))
        return causes

    def observation(self, default: Target) -> Observation:
        """The observation of the most probable cause; of the first one among equals."""
        top = max(self.ranked_causes, key=lambda cause: cause.probability)
        return Observation(
            source=Source.RCA,
            symptom=top.cause,
            window_id=self.window_id,
            firing=True,
            probability=top.probability,
            confidence=self.confidence,
            payload=self.payload(),
            **self.named(top.svc, top.workload_kind, default),
        )
