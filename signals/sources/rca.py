"""Request body of `POST /v1/signals/rca`."""

from pydantic import BaseModel, ConfigDict, Field

from signals.names import Cause, WorkloadName
from signals.sources.body import Fraction, NamedKind, SignalBody
from signals.types import Observation, Source, Target


class RankedCause(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    svc: WorkloadName = Field(description="Name of the workload.")
    workload_kind: NamedKind = None
    cause: Cause = Field(examples=["memory_leak"])
    probability: Fraction


class RcaSignal(SignalBody):
    ranked_causes: list[RankedCause] = Field(alias="rankedCauses", min_length=1)
    confidence: Fraction

    def observation(self, default: Target) -> Observation:
        """The observation of the most probable cause; of the first one among equals."""
        top = max(self.ranked_causes, key=lambda cause: cause.probability)
        return Observation(
            source=Source.RCA,
            target=self.target(top.svc, top.workload_kind, default),
            symptom=top.cause,
            window_id=self.window_id,
            firing=True,
            probability=top.probability,
            confidence=self.confidence,
            payload=self.payload(),
        )
