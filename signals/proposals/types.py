"""What the pure half of an action type answers: values in, values out."""

from collections.abc import Mapping
from typing import Any, Protocol

from signals.proposals.images import Images, Irreversible

Params = Mapping[str, Any]  # of a Proposal; the shape is the action type's own
Change = Mapping[str, Any]  # the planned absolute change, as the acting half in orchestrator/actions makes it
Before = Mapping[str, Any]  # {"replicas": n, "available": n}: the target when the change was planned


class ProposalType(Protocol):
    """Implemented by a module of signals/proposals. All functions are pure. Except `problem` and `refusal`, which take
    any JSON, they expect parameters without a problem."""

    event: str
    """The reason of the Kubernetes Event that reports the applied change, for instance `Scaled`."""

    nouns: tuple[str, str]
    """One action and several, as limits count them: “restart” and “restarts”."""

    def problem(self, params: Any) -> str:
        """What is wrong with the parameters; empty if nothing is."""
        ...

    def refusal(self, params: Any, prefixes: tuple[str, ...] = (), containers: tuple[str, ...] | None = None) -> str:
        """Why this change may never be made, as `path: why`; empty if it may. `prefixes` are those of names that the
        installation allows in addition. `containers` are the names of the target's containers in their order; None if
        they are unknown."""
        ...

    def fields(self, params: Params) -> tuple[str, ...]:
        """The paths of the fields that the change sets or removes, as signals/proposals/paths.py spells them."""
        ...

    def replicas(self, params: Params, current: int | None) -> int | None:
        """The number of replicas that the change leads to. None if it leaves `spec.replicas` alone, or if it is
        relative and `current` is unknown (None)."""
        ...

    def waits_for_pods(self, params: Params) -> bool:
        """Whether the change takes effect by a rollout of the pod template: a paused Deployment starts none."""
        ...

    def describe(self, params: Params) -> str:
        """What the change does, in the imperative: “Scale by +1”."""
        ...

    def done(self, before: Before, change: Change) -> str:
        """What the applied change did, in the past tense: “Scaled from 2 to 3 replicas”."""
        ...

    def patch(self, change: Change) -> Mapping[str, Any]:
        """The change as a strategic merge patch."""
        ...

    def repeated(self, params: Params, change: Change) -> Params:
        """The parameters of a direct request for the same change, in the absolute terms of its plan: a relative one
        would be added again. `change` is empty if it was not planned."""
        ...

    def inverse(self, change: Change, images: Images) -> Params | Irreversible:
        """The parameters of a change of the same type that puts the fields back, as `images` has them."""
        ...
