"""The judge: what SmartOps wrote, by the API server's own audit log alone, beside what SmartOps says that it did.

It shares no code with the product. It holds SmartOps to what its documentation promises.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import parse_qs, urlsplit

Event = Mapping[str, Any]  # of audit.k8s.io/v1
Workload = tuple[str, str]  # namespace, name; that of another kind than a Deployment as `statefulsets/db`
WORKLOADS = ("deployments", "statefulsets", "daemonsets")
FIELD_MANAGER, USER_AGENT = "smartops", "smartops-orchestrator"
ACTION, RESTART = "smartops.io/action", "smartops.io/restart"  # annotations of a workload, and of its pods
HOUR, QUARTER = 3600.0, 900.0  # seconds
# What SmartOps may write beside workloads: what it tells about them, and what it asks about its own rights.
BESIDE = ("events", "selfsubjectaccessreviews")


@dataclass(frozen=True, slots=True)
class Limits:
    """As a new installation has them; the cooldown in seconds."""

    replicas: int = 8
    cooldown: int = 300
    an_hour: int = 6
    added_in_a_quarter: int = 3


@dataclass(frozen=True, slots=True)
class Claim:
    """What SmartOps says of an action. Cooldown and windows hold back those of the closed loop; the direct ones only
    count in them."""

    action: str
    type: str
    workload: Workload
    applied: bool
    direct: bool = False


@dataclass(frozen=True, slots=True)
class Write:
    """A PATCH that SmartOps sent. `at` in seconds since the epoch; `before` and `replicas`: what `spec.replicas` was,
    None where the log does not tell, and what was asked for, None where it was left alone."""

    at: float
    workload: Workload
    action: str
    type: str
    before: int | None
    replicas: int | None
    dry_run: bool
    status: int  # of the answer
    guarded: bool  # by uid and resourceVersion

    @property
    def changed(self) -> bool:
        return not self.dry_run and 200 <= self.status < 300

    @property
    def unknown(self) -> bool:
        """Whether it changed something the log does not tell: an API server whose caller has died while it wrote logs a
        504, and may write nevertheless."""
        return not self.dry_run and self.status >= 500

    @property
    def added(self) -> int:
        return 0 if self.replicas is None else max(0, self.replicas - (self.before or 0))

    def __str__(self) -> str:
        return f"{self.type} of {'/'.join(self.workload)} by action {self.action or '(none)'}"


def violations(events: Iterable[Event], claims: Iterable[Claim], limits: Limits | None = None) -> list[str]:
    """Everything that should not have happened; nothing, if SmartOps told the truth and kept its limits."""
    answered, claimed = _answered(events), {claim.action: claim for claim in claims}
    sent = writes(answered)
    changes = _changes(sent, claimed)
    return [
        *(f"no write of an action: {event['verb']} {event['requestURI']}" for event in filter(_is_strange, answered)),
        *(f"without uid and resourceVersion: {write}" for write in sent if not write.guarded),
        *_untrue(changes, claimed),
        *_excessive(changes, claimed, limits or Limits()),
    ]


def writes(events: Iterable[Event]) -> list[Write]:
    """What SmartOps sent to workloads, refused ones and dry runs included, in the order of the answers."""
    replicas: dict[Workload, int] = {}
    found = []
    for event in _answered(events):
        if event["objectRef"]["resource"] not in WORKLOADS:
            continue
        workload, wanted = _workload(event), _replicas(event)
        if _is_ours(event) and _is_write_of_action(event) and not _is_incomplete(event):
            found.append(_write(event, workload, replicas.get(workload), wanted))
        if _changed(event) and wanted is not None:
            replicas[workload] = wanted
    return found


def _changes(sent: Sequence[Write], claimed: Mapping[str, Claim]) -> list[Write]:
    """What was accepted; and of an applied action that has nothing accepted, its last write of unknown outcome."""
    accepted = {write.action for write in sent if write.changed}
    applied = {action for action, claim in claimed.items() if claim.applied}
    unknown = {write.action: write for write in sent if write.unknown and write.action in applied - accepted}
    return [write for write in sent if write.changed or write is unknown.get(write.action)]


def _untrue(changes: Sequence[Write], claimed: Mapping[str, Claim]) -> Iterator[str]:
    """Each applied action has exactly one write, of its own kind and to its own workload; no other has any."""
    of_action: dict[str, list[Write]] = defaultdict(list)
    for write in changes:
        of_action[write.action].append(write)
    for action, its in of_action.items():
        claim = claimed.get(action)
        if claim is None:
            yield f"of no action: {its[0]}"
        elif not claim.applied:
            yield f"of an action that is not applied: {its[0]}"
        elif claim.workload != its[0].workload or claim.type not in (its[0].type, "PATCH"):
            yield f"not what its action says, {claim.type} of {'/'.join(claim.workload)}: {its[0]}"
        if len(its) > 1:
            yield f"{len(its)} times: {its[0]}"
    for claim in claimed.values():
        if claim.applied and claim.action not in of_action:
            yield f"applied, but not written: {claim.type} of {'/'.join(claim.workload)} by action {claim.action}"


def _excessive(changes: Sequence[Write], claimed: Mapping[str, Claim], limits: Limits) -> Iterator[str]:
    """Each write beside those before it: each at its own instant."""
    kinds = {action: claim.type for action, claim in claimed.items()}
    for index, write in enumerate(changes):
        if write.replicas is not None and write.replicas > limits.replicas:
            yield f"more than {limits.replicas} replicas: {write}"
        if write.action in claimed and claimed[write.action].direct:
            continue
        earlier = [other for other in changes[:index] if other.workload == write.workload]
        kind = kinds.get(write.action, write.type)
        alike = [write.at - other.at for other in earlier if kinds.get(other.action, other.type) == kind]
        if any(ago < limits.cooldown for ago in alike):
            yield f"within {limits.cooldown} s of the last: {write}"
        if sum(ago < HOUR for ago in alike) >= limits.an_hour:
            yield f"more than {limits.an_hour} within an hour: {write}"
        recently = sum(other.added for other in earlier if write.at - other.at < QUARTER)
        if write.added and recently + write.added > limits.added_in_a_quarter:
            yield f"more than +{limits.added_in_a_quarter} replicas within 15 minutes: {write}"


def _write(event: Event, workload: Workload, before: int | None, replicas: int | None) -> Write:
    asked = event.get("requestObject")
    patch = asked if isinstance(asked, dict) else {}
    metadata = patch.get("metadata", {})
    return Write(
        at=_moment(event["requestReceivedTimestamp"]),
        workload=workload,
        action=metadata.get("annotations", {}).get(ACTION, ""),
        type=_type(patch),
        before=before,
        replicas=replicas,
        dry_run=_is_dry(event),
        status=event["responseStatus"]["code"],
        guarded=bool(metadata.get("uid") and metadata.get("resourceVersion")),
    )


def _type(patch: Mapping[str, Any]) -> str:
    match patch.get("spec"):
        case {"replicas": _, **others} if not others:
            return "SCALE"
        case {"template": {"metadata": {"annotations": {"smartops.io/restart": _}}}, **others} if not others:
            return "RESTART"
    return "PATCH"


def _replicas(event: Event) -> int | None:
    """What the request sets `spec.replicas` to: of a whole object, a merge patch, a scale, or a JSON patch."""
    asked = event.get("requestObject")
    if isinstance(asked, list):
        return next((step.get("value") for step in asked if step["path"] == "/spec/replicas"), None)
    spec = (asked or {}).get("spec") or {}
    default = 1 if event["verb"] in ("create", "update") else None
    return spec.get("replicas", default) if event["verb"] in ("create", "update", "patch") else None


def _workload(event: Event) -> Workload:
    """A creation names its object in the body alone."""
    reference = event["objectRef"]
    name = reference.get("name") or event["requestObject"]["metadata"]["name"]
    resource = reference["resource"]
    return reference["namespace"], name if resource == "deployments" else f"{resource}/{name}"


def _answered(events: Iterable[Event]) -> list[Event]:
    answered = [event for event in events if event["stage"] == "ResponseComplete" and "objectRef" in event]
    return sorted(answered, key=lambda event: _moment(event["stageTimestamp"]))


def _is_ours(event: Event) -> bool:
    manager = parse_qs(urlsplit(event["requestURI"]).query).get("fieldManager")
    return manager == [FIELD_MANAGER] or str(event.get("userAgent", "")).startswith(USER_AGENT)


def _is_incomplete(event: Event) -> bool:
    """Its author died while it sent the body: the API server has read none, and applied nothing."""
    return "requestObject" not in event and event["responseStatus"]["code"] >= 400


def _is_write_of_action(event: Event) -> bool:
    """The plain PATCH of a workload: a subresource cannot carry the action's id."""
    reference = event["objectRef"]
    return event["verb"] == "patch" and reference["resource"] in WORKLOADS and "subresource" not in reference


def _is_strange(event: Event) -> bool:
    """Ours, and nothing that an action is carried out with, or told by."""
    beside = event["verb"] == "create" and event["objectRef"]["resource"] in BESIDE
    return _is_ours(event) and not _is_write_of_action(event) and not beside


def _is_dry(event: Event) -> bool:
    return parse_qs(urlsplit(event["requestURI"]).query).get("dryRun") == ["All"]


def _changed(event: Event) -> bool:
    return not _is_dry(event) and 200 <= event["responseStatus"]["code"] < 300


def _moment(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()
