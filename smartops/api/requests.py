"""Request bodies of direct actions, and the proposal that each makes."""

from typing import Annotated, Any

from django.conf import settings
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError

from signals.names import ClusterName, Namespace, Text, WorkloadKind, WorkloadName
from signals.proposals.patch_allowlist import MAX_REPLICAS, forbidden
from signals.reasons import Reason
from signals.types import ActionType, Kind, Origin, Proposal, Target
from smartops.api.problems import ProblemDetails

Replicas = Annotated[int, Field(ge=0, le=MAX_REPLICAS)]
Patch = Annotated[
    dict[str, Any],
    Field(description="A strategic merge patch. Only fields of the patch allowlist are accepted."),
]
IdempotencyKey = Annotated[str, StringConstraints(pattern="^[!-~]{1,256}$")]


def _action_type(value: Any) -> Any:
    if isinstance(value, str) and value.upper() in ActionType.__members__:
        return ActionType(value.upper())
    *first, last = ActionType
    message = f"Input should be {', '.join(first)} or {last}"
    raise PydanticCustomError("action_type", "{message}", {"message": message})


class _ActionBody(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    reason: Annotated[Text, Field(max_length=1024)] | None = Field(
        None, description="Justification; stored with the action."
    )
    dry_run: bool = Field(False, description="The API server validates the change and does not persist it.")
    verify: bool = Field(True, description="Wait for the end of the rollout; false: only for the write.")

    def _proposal(self, type_: ActionType, target: Target, params: dict[str, Any]) -> Proposal:
        reason = self.reason or ""
        return Proposal(type_, target, Origin.DIRECT, params, reason, dry_run=self.dry_run, verify=self.verify)


class RestartRequest(_ActionBody):
    deployment: WorkloadName = Field(description="The name of the workload. It may have any kind.")
    kind: WorkloadKind | None = Field(None, description="Default: `Deployment`.")
    namespace: Namespace | None = Field(None, description="Default: `SMARTOPS_NAMESPACE`.")
    cluster: ClusterName | None = Field(None, description="Default: `SMARTOPS_CLUSTER`.")

    @property
    def target(self) -> Target:
        return _target(self.cluster, self.kind, self.namespace, self.deployment)

    def proposal(self) -> Proposal:
        return self._proposal(ActionType.RESTART, self.target, {})


class ScaleRequest(RestartRequest):
    replicas: Replicas

    def proposal(self) -> Proposal:
        return self._proposal(ActionType.SCALE, self.target, {"replicas": self.replicas})


class PatchRequest(RestartRequest):
    patch: Patch

    def proposal(self) -> Proposal:
        return self._proposal(ActionType.PATCH, self.target, {"patch": self.patch})


class K8sTarget(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    kind: WorkloadKind | None = Field(None, description="Default: `Deployment`.")
    namespace: Namespace | None = Field(None, description="Default: `SMARTOPS_NAMESPACE`.")
    name: WorkloadName
    cluster: ClusterName | None = Field(None, description="Default: `SMARTOPS_CLUSTER`.")


class Scale(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    replicas: Replicas


class ActionRequest(_ActionBody):
    type: Annotated[ActionType, BeforeValidator(_action_type)]
    target: K8sTarget
    scale: Annotated[
        Scale | None, Field(validate_default=True, description="Required for SCALE, forbidden for other types.")
    ] = None
    patch: Annotated[
        Patch | None, Field(validate_default=True, description="Required for PATCH, forbidden for other types.")
    ] = None

    @field_validator("scale", "patch")
    @classmethod
    def _belongs_to_type(cls, value: Any, info: ValidationInfo) -> Any:
        wanted = info.data.get("type")
        if wanted is None:
            return value  # `type` has an error of its own
        if (info.field_name == wanted.lower()) != (value is not None):
            message = f"{wanted} {'requires' if value is None else 'does not accept'} {info.field_name}"
            raise PydanticCustomError("belongs_to_type", "{message}", {"message": message})
        return value

    def proposal(self) -> Proposal:
        params: dict[str, Any] = {}
        if self.scale is not None:
            params = {"replicas": self.scale.replicas}
        if self.patch is not None:
            params = {"patch": self.patch}
        of = self.target
        return self._proposal(self.type, _target(of.cluster, of.kind, of.namespace, of.name), params)


def require_allowed(proposal: Proposal) -> None:
    """Raises ProblemDetails (400) if the patch of the proposal, if it has one, is not on the allowlist."""
    patch = proposal.params.get("patch")
    refusal = None if patch is None else forbidden(patch, tuple(settings.SMARTOPS_ALLOWED_PATCH_PREFIXES))
    if refusal is None:
        return
    path, why = refusal
    field = path if path == "patch" else f"patch.{path}"
    raise ProblemDetails(400, Reason.PATCH_FORBIDDEN, f"{path}: {why}.", errors=[{"field": field, "message": why}])


def _target(cluster: str | None, kind: Kind | None, namespace: str | None, name: str) -> Target:
    cluster, namespace = cluster or settings.SMARTOPS_CLUSTER, namespace or settings.SMARTOPS_NAMESPACE
    return Target(cluster, namespace, name, kind or Kind.DEPLOYMENT)
