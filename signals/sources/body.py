"""The fields that the bodies of all sources share."""

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from signals.names import ClusterName, Namespace, Text
from signals.types import Target

Fraction = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
WindowId = Annotated[Text, Field(min_length=1, max_length=256)]


class SignalBody(BaseModel):
    """Unknown fields are refused, so that a misspelled one is not lost."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    window_id: WindowId = Field(
        alias="windowId", description="An id that the detector chooses. An equal report is stored once."
    )
    namespace: Namespace | None = Field(None, description="Default: the installation's namespace.")
    cluster: ClusterName | None = Field(None, description="Default: the installation's cluster.")
    metadata: dict[str, Any] | None = Field(
        None, description="Any other data. It is stored, shown, and sent to a policy engine; no rule reads it."
    )

    def target(self, service: str, default: Target) -> Target:
        """The Deployment `service`, in the cluster and namespace of the body, else of `default`."""
        return Target(self.cluster or default.cluster, self.namespace or default.namespace, service)

    def payload(self) -> dict[str, Any]:
        """The body as the agent sent it, ready for JSON."""
        return self.model_dump(mode="json", by_alias=True, exclude_unset=True)
