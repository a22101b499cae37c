"""What the bodies of all sources have in common."""

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from signals.names import ClusterName, Namespace, Text
from signals.types import Target

Fraction = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
WindowId = Annotated[Text, Field(min_length=1, max_length=256)]


class SignalBody(BaseModel):
    """Fields are named as agents write them; one that is not known is refused, so that a misspelt one is not lost."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    window_id: WindowId = Field(alias="windowId", description="The detector's own id: an equal post is stored once.")
    namespace: Namespace | None = Field(None, description="Default: the installation's namespace.")
    cluster: ClusterName | None = Field(None, description="Default: the installation's cluster.")
    metadata: dict[str, Any] | None = Field(
        None, description="Anything else: stored, shown, and told to a policy engine; no rule reads it."
    )

    def target(self, service: str, default: Target) -> Target:
        return Target(self.cluster or default.cluster, self.namespace or default.namespace, service)

    def payload(self) -> dict[str, Any]:
        return self.model_dump(mode="json", by_alias=True, exclude_unset=True)
