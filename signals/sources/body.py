"""The fields that the bodies of all sources share."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError

from signals import identity
from signals.invisible import invisible_problem
from signals.names import MAX_SUBJECT, VISIBLE, ClusterName, Namespace, Text, WorkloadKind, is_namespace
from signals.types import Kind, Target

Fraction = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
WindowId = Annotated[Text, Field(min_length=1, max_length=256)]
NamedKind = Annotated[WorkloadKind | None, Field(alias="workloadKind", description="Default: `Deployment`.")]

EMPTY: Any = {"default": {}}  # as the schema has it; pydantic would make a deep copy of a real default for each body
NO_TARGET = f"Field required, unless one of these labels names the target: {', '.join(identity.LABELS)}"
UNNAMED = ("", "", Kind.DEPLOYMENT)  # of no body that is valid
EARLIEST, LATEST = datetime(2000, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC)
MAX_LABELS = 64
MAX_NAME, MAX_VALUE = 128, 1024  # characters
MAX_LABELS_BYTES, MAX_ANNOTATIONS_BYTES = 8 * 1024, 16 * 1024  # of all names and values together, in UTF-8
# By the labels: the names of Prometheus, and those of Kubernetes.
LABEL_NAME = "^[A-Za-z_][-A-Za-z0-9_./]*$"
LabelName = Annotated[str, Field(max_length=MAX_NAME, pattern=LABEL_NAME)]
LabelValue = Annotated[Text, Field(max_length=MAX_VALUE)]


def _bounded(limit: int) -> AfterValidator:
    def check(values: Mapping[str, str]) -> Mapping[str, str]:
        size = sum(len(name.encode()) + len(value.encode()) for name, value in values.items())
        if size > limit:
            message = f"The names and values have {size} bytes together; the limit is {limit}"
            raise PydanticCustomError("too_large", "{message}", {"message": message})
        return values

    return AfterValidator(check)


def _text(value: Any) -> Any:
    if value is not None and not isinstance(value, str):
        raise PydanticCustomError("string_type", "Input should be a text in ISO 8601")
    if isinstance(value, str) and re.fullmatch(r"\s*[-+]?[\d._]+(e[-+]?\d+)?\s*", value, re.IGNORECASE):
        raise PydanticCustomError("number", "Input should be no number, but a time as 2026-11-28T17:00:00Z")
    return value


def _moment(moment: datetime) -> datetime:
    if moment.tzinfo is None:
        raise PydanticCustomError("no_zone", "Input should have a time zone, as 2026-11-28T17:00:00Z")
    if not EARLIEST <= moment <= LATEST:
        raise PydanticCustomError("out_of_range", "Input should be a time from 2000 to 2100")
    return moment


Labels = Annotated[dict[LabelName, LabelValue], Field(max_length=MAX_LABELS), _bounded(MAX_LABELS_BYTES)]
Annotations = Annotated[
    dict[LabelName, Annotated[str, Field(max_length=MAX_ANNOTATIONS_BYTES)]],
    Field(max_length=MAX_LABELS),
    _bounded(MAX_ANNOTATIONS_BYTES),
]
# A strict model would accept no text, and a lenient one a number.
Moment = Annotated[datetime, Field(strict=False), BeforeValidator(_text), AfterValidator(_moment)]


class SignalBody(BaseModel):
    """Unknown fields are refused, so that a misspelled one is not lost."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    window_id: WindowId = Field(alias="windowId", description="The detector's window. Equal posts are stored once.")
    namespace: Namespace | None = Field(
        None, description="Default: the label `namespace`, otherwise `SMARTOPS_NAMESPACE`."
    )
    cluster: ClusterName | None = Field(None, description="Default: `SMARTOPS_CLUSTER`.")
    labels: Labels = Field(
        default_factory=dict,
        json_schema_extra=EMPTY,
        description=f"Without another name, the first of these names the target: {', '.join(identity.LABELS)}.",
    )
    annotations: Annotations = Field(default_factory=dict, json_schema_extra=EMPTY, description="Stored and shown.")
    severity: Annotated[str, Field(max_length=32), VISIBLE] = Field("", examples=["critical"])
    started_at: Moment | None = Field(None, alias="startedAt", description="When the problem began.")
    metadata: dict[str, Any] | None = Field(
        None, description="Any further data. It is stored, shown, and sent to the policy engine; rules ignore it."
    )

    @field_validator("labels")
    @classmethod
    def _name_a_target(cls, labels: dict[str, str], info: ValidationInfo) -> dict[str, str]:
        namespace = identity.of_target(labels, "namespace")
        if namespace and info.data.get("namespace") is None and not is_namespace(namespace):
            message = "The label namespace has no name of a namespace: correct it, or set the field namespace"
            raise PydanticCustomError("label_namespace", "{message}", {"message": message})
        _, name, _ = identity.named_by(labels) or UNNAMED
        message = (
            f"At most {MAX_SUBJECT} characters are allowed." if len(name) > MAX_SUBJECT else invisible_problem(name)
        )
        if message:
            raise PydanticCustomError("label_target", "The name of the target: {message}", {"message": message})
        return labels

    def named(self, name: str | None, kind: Kind | None, default: Target) -> dict[str, Any]:
        """The fields of an observation that say what it is about, and what it carries along. The target has this name,
        or the one of a label; it is in the cluster and namespace of the body, else of `default`."""
        by, value, found = ("", name, Kind.DEPLOYMENT) if name else identity.named_by(self.labels) or UNNAMED
        namespace = self.namespace or identity.of_target(self.labels, "namespace") or default.namespace
        return {
            "target": Target(self.cluster or default.cluster, namespace, value, kind or found),
            "named_by": by,
            "labels": self.labels,
            "annotations": self.annotations,
            "severity": self.severity,
            "started_at": self.started_at,
        }

    def payload(self) -> dict[str, Any]:
        """The body as the detector sent it, ready for JSON."""
        return self.model_dump(mode="json", by_alias=True, exclude_unset=True)


def require_target(name: str | None, labels: Mapping[str, str] | None) -> None:
    """Raises an error for a body that names no target. `labels` is None if they have an error of their own."""
    if name is None and labels is not None and identity.named_by(labels) is None:
        raise PydanticCustomError("no_target", "{message}", {"message": NO_TARGET})
