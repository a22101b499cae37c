"""What a reconciler does once a second or less often, beside the verbs.

It ends what is overdue, makes due what has waited for a time, another row or the cluster, shows changed plans to
persons again, and stores what the console shows. Each of these is a step of its own.
"""

from collections.abc import Collection
from functools import partial
from uuid import UUID

from orchestrator.k8s.cache import ClusterCache
from orchestrator.models import ActionState, Heartbeat, ObservedWorkload
from orchestrator.models.states import ACTIVE
from orchestrator.process import gauges
from orchestrator.reconciler import approvals, reclaim
from orchestrator.reconciler.batch import store_together
from orchestrator.reconciler.snapshot import Snapshot
from orchestrator.reconciler.steps import Steps
from orchestrator.reconciler.under_way import UnderWay
from orchestrator.reconciler.wake import Waker
from signals.ledger import Window
from signals.lib import partitions

OVERDUE = 10.0  # seconds between two checks of deadlines and of the lengths of queues
PARTITIONS = 3600.0  # seconds between two attempts to create the partitions of the next months
FORGET = 600.0  # seconds between two deletions of windows that recognize no repeat any more
BEAT = 5.0  # seconds between two heartbeats; the console calls a reconciler stopped after 12
SNAPSHOT = 1.0  # seconds between two batches of observed workloads


class Sweep:
    """The periodic steps of one cluster. `actor`: the reconciler."""

    def __init__(
        self, cluster_name: str, actor: str, steps: Steps, cache: ClusterCache, under_way: UnderWay, waker: Waker
    ) -> None:
        self.cluster_name, self.actor = cluster_name, actor
        self._steps, self._cache, self._under_way, self._waker = steps, cache, under_way, waker
        self.snapshot = Snapshot(cluster_name, actor, cache)
        self._asked_after: UUID | None = None  # the last waiting action that was compared with its target

    def active_states(self) -> Collection[str]:
        """The states of the active actions. A step for a state that none of them has is left out. All states, if they
        cannot be read."""
        return self._steps.run(reclaim.active_states, self.cluster_name, otherwise=ACTIVE)

    def run_reclaim(self, states: Collection[str]) -> None:
        """Once a second, before the other verbs: what verb 1 does beside the leases. `states`: of `active_states`."""
        run = self._steps.run
        run(self._waker.on_new_workloads)
        run(self._waker.on_new_lists)
        run(self._waker.on_new_settings)
        run(self._cancel_resolved, states)
        run(self._ask_again, states)
        run(reclaim.expire_actions, self.actor, every=OVERDUE)
        run(reclaim.expire_signals, every=OVERDUE)
        run(reclaim.report_unattended, self.cluster_name, every=OVERDUE)
        run(self._waker.on_ended_holds, every=OVERDUE)
        run(self._measure, every=OVERDUE)

    def run_periodic(self, now: float) -> None:
        """After the other verbs, in each pass; each step has an interval of its own. `now`: monotonic seconds."""
        run = self._steps.run
        run(Heartbeat.beat, self.cluster_name, self.actor, every=BEAT)
        run(self.snapshot.store, now, every=SNAPSHOT)
        run(partitions.create_ahead, every=PARTITIONS)
        run(Window.forget_some, every=FORGET)
        run(ObservedWorkload.forget_unobserved, every=FORGET)

    def record_rehearsals(self) -> None:
        """The dry runs that have ended."""
        rehearsals = self._under_way.inbox.rehearsals
        self._under_way.rehearsing.difference_update(one.action.pk for one in rehearsals)
        store_together(rehearsals, approvals.record, approvals.record_failure)

    def _cancel_resolved(self, states: Collection[str]) -> None:
        if ActionState.PENDING in states or ActionState.AWAITING_APPROVAL in states:
            reclaim.cancel_resolved(self.cluster_name, self.actor)

    def _ask_again(self, states: Collection[str]) -> None:
        """The next of the actions that wait for an approval; after the last one, the first ones again."""
        if ActionState.AWAITING_APPROVAL not in states:
            return
        rows = approvals.waiting(self.cluster_name, self._asked_after)
        self._asked_after = rows[-1].pk if len(rows) == approvals.BATCH else None
        for row in filter(approvals.is_requested, rows):
            self._under_way.rehearse(row)
        ask = partial(approvals.ask_again, observe_target=self._cache.observe, actor=self.actor)
        store_together(rows, ask, approvals.log_failure)

    def _measure(self) -> None:
        gauges.measure(self.cluster_name)
        gauges.UNREADABLE.set(len(self._cache.namespaces) - len(self._cache.readable))
