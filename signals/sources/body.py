"""The fields that the bodies of all sources share."""

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from signals.names import ClusterName, Namespace, Text, WorkloadKind
from signals.types import Kind, Target

Fraction = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
WindowId = Annotated[Text, Field(min_length=1, max_length=256)]
NamedKind = Annotated[WorkloadKind | None, Field(alias="workloadKind", description="Default: `Deployment`.")]


class SignalBody(BaseModel):
    """Unknown fields are refused, so that a misspelled one is not lost."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    window_id: WindowId = Field(alias="windowId", description="The detector's window. Equal posts are stored once.")
    namespace: Namespace | None = Field(None, description="Default: `SMARTOPS_NAMESPACE`.")
    cluster: ClusterName | None = Field(None, description="Default: `SMARTOPS_CLUSTER`.")
    metadata: dict[str, Any] | None = Field(
        None, description="Any further data. It is stored, shown, and sent to the policy engine; rules ignore it."
    )

    def target(self, service: str, kind: Kind | None, default: Target) -> Target:
        """The workload `service`, in the cluster and namespace of the body, else of `default`."""
        cluster, namespace = self.cluster or default.cluster, self.namespace or default.namespace
        return Target(cluster, namespace, service, kind or Kind.DEPLOYMENT)

    def payload(self) -> dict[str, Any]:
        """The body as the agent sent it, ready for JSON."""
        return self.model_dump(mode="json", by_alias=True, exclude_unset=True)
