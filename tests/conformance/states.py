"""The states of a rollout, as a watch reports them. Polling may miss a state that lasts for less than a second."""

from guardrails.types import RolloutState
from orchestrator.k8s.parse import parse_workload
from orchestrator.k8s.revision import rollout_state
from orchestrator.k8s.types import WorkloadObject
from signals.types import Kind
from tests.conformance.kinds import RESOURCES
from tests.kit.client import Client, Object
from tests.kit.patience import PATIENCE


def version(found: Object) -> str:
    return str(found["metadata"]["resourceVersion"])


def reached(http: Client, since: str, *states: RolloutState, kind: Kind = Kind.DEPLOYMENT) -> WorkloadObject:
    """The only workload of the kind as it was when it first came to one of these, after that version."""
    for event in http.watch(RESOURCES[kind], resourceVersion=since, timeoutSeconds=f"{PATIENCE:.0f}"):
        found = parse_workload(event["object"], kind)
        if rollout_state(found) in states:
            return found
    raise AssertionError(f"it did not become {' or '.join(states)}")
