"""Rows of each source of the audit, at chosen times: as the owner of the tables writes them."""

from datetime import UTC, datetime, timedelta
from typing import Any

import uuid_utils.compat as uuids

from orchestrator.models import Action, Approval, AuditEvent, DecisionRecord, RefusedRequest, Workload
from signals.lib.partitions import first_id
from signals.models import SettingChange
from signals.types import Origin, Target
from smartops.audit.merge import page
from smartops.audit.search import Search
from smartops.models import AuditExport, SignIn
from smartops.people.access import EVERYWHERE, Access, Place, Right

NOON = datetime(2026, 11, 1, 12, 0, tzinfo=UTC)
MILLISECOND = timedelta(milliseconds=1)
ADMIN = Access(dict.fromkeys(Right, (EVERYWHERE,)))
VIEWER = Access({Right.READ: (EVERYWHERE,)})
NOBODY = Access()


def reader_of(namespace: str, cluster: str = "default") -> Access:
    return Access({Right.READ: (Place(cluster, namespace),)})


def an_action(
    namespace: str = "erp", name: str = "web", at: datetime = NOON, cluster: str = "default", type_: str = "RESTART"
) -> Action:  # fmt: skip
    """Finished, so that a workload may have many. Its row of the timeline has the time of the test."""
    target = Target(cluster, namespace, name)
    return Action.objects.create(
        id=_id(at),
        workload=Workload.lock([target])[target],
        cluster=cluster,
        origin=Origin.DIRECT,
        type=type_,
        params={"replicas": 3} if type_ == "SCALE" else {},
        state="cancelled",
        finished_at=at,
        requested_by="token:ana",
        moved_by="token:ana",
    )


def decided(at: datetime, namespace: str = "erp", **columns: Any) -> DecisionRecord:
    given = {"phase": "admit", "requested_by": "token:ana", "outcome": "allow", "inputs": {}, "verdicts": []}
    place = {"cluster": "default", "kind": "Deployment", "namespace": namespace, "workload": "web"}
    return DecisionRecord.objects.create(id=_id(at), **given | place | columns)


def moved(action: Action, at: datetime, **columns: Any) -> AuditEvent:
    given = {"from_state": "pending", "to_state": "applying", "epoch": 1, "actor": "reconciler:r"}
    return AuditEvent.objects.create(action=action, at=at, **given | columns)


def voted(action: Action, at: datetime, **columns: Any) -> Approval:
    given = {"by": "user:bo", "decision": "approve", "digest": "d"}
    return Approval.objects.create(id=_id(at), action=action, at=at, **given | columns)


def set_to(at: datetime, table: str = "guardrails_guardrailsetting", **columns: Any) -> SettingChange:
    given: dict[str, Any] = {
        "operation": "insert",
        "key": "7",
        "actor": "user:bo",
        "login": "smartops_web",
        "address": "192.0.2.1",
        "reason": "The shop is slow.",
        "after": {"cluster": "", "kind": "", "namespace": "erp", "workload": "web", "max_replicas": 9},
        "transaction_id": 1,
    }
    return SettingChange.objects.create(at=at, table_name=table, **given | columns)


def refused(at: datetime, namespace: str = "erp", **columns: Any) -> RefusedRequest:
    given = {"requested_by": "token:ana", "reason": "NamespaceForbidden", "message": "No.", "count": 1}
    given |= {"cluster": "default", "kind": "Deployment", "namespace": namespace, "name": uuids.uuid7().hex}
    hour = at.replace(minute=0, second=0, microsecond=0)
    return RefusedRequest.objects.create(hour=hour, first_at=at, **{"last_at": at} | given | columns)


def signed_in(at: datetime, **columns: Any) -> SignIn:
    return SignIn.objects.create(at=at, **{"event": "sign-in", "actor": "user:bo", "address": "192.0.2.1"} | columns)


def exported(at: datetime, **columns: Any) -> AuditExport:
    return AuditExport.objects.create(at=at, **{"actor": "user:bo", "format": "csv", "search": {}} | columns)


def one_of_each(at: datetime, namespace: str = "erp") -> None:
    decided(at, namespace)
    action = an_action(namespace, at=at)
    moved(action, at)
    voted(action, at)
    set_to(at, after={"cluster": "", "kind": "", "namespace": namespace, "workload": "web", "max_replicas": 9})
    refused(at, namespace)
    signed_in(at)
    exported(at)


def listed(access: Access = ADMIN, **search: Any) -> list[str]:
    """What the first page shows of a time: the kinds, newest first."""
    bounds = {"since": NOON - timedelta(hours=1), "until": NOON + timedelta(hours=1)}
    return [entry.kind.value for entry in page(access, Search(**bounds | search)).entries]


def _id(at: datetime) -> Any:
    """Of that millisecond, and no other."""
    return type(first_id(at))(int=first_id(at).int | (uuids.uuid7().int & (1 << 80) - 1))
