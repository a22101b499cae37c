"""Which fields that an action may change only some kinds of workloads have. Pure."""

from collections.abc import Mapping

from signals.proposals.paths import REPLICAS
from signals.proposals.types import Params, ProposalType
from signals.types import Kind

ONLY: Mapping[str, frozenset[Kind]] = {
    REPLICAS: frozenset({Kind.DEPLOYMENT, Kind.STATEFUL_SET}),
    "spec.paused": frozenset({Kind.DEPLOYMENT}),
    "spec.progressDeadlineSeconds": frozenset({Kind.DEPLOYMENT}),
    "spec.strategy": frozenset({Kind.DEPLOYMENT}),
    "spec.updateStrategy": frozenset({Kind.STATEFUL_SET, Kind.DAEMON_SET}),
    "spec.updateStrategy.rollingUpdate.partition": frozenset({Kind.STATEFUL_SET}),
    "spec.updateStrategy.rollingUpdate.maxSurge": frozenset({Kind.DAEMON_SET}),
}


def missing_field(proposal_type: ProposalType, params: Params, kind: Kind) -> str:
    """The first field of the change that no workload of the kind has, as `spec.replicas`; empty if it has all."""
    for path in proposal_type.fields(params):
        for field, kinds in ONLY.items():
            if kind not in kinds and (path == field or path.startswith(f"{field}.")):
                return field
    return ""


def why_missing(kind: Kind, field: str) -> str:
    if kind is Kind.DAEMON_SET and field == REPLICAS:
        return f"a DaemonSet has no {field}, it runs one pod on each node that it selects."
    return f"a {kind} has no {field}."
