"""What the audit can be searched for."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from uuid import UUID

from orchestrator.models import Action, Workload
from signals.actors import ActorKind
from signals.lib.history_admin import WORKLOAD
from signals.reasons import Reason
from smartops.audit.entries import Kind

SOFTWARE = (ActorKind.RULE, ActorKind.RECONCILER)


@dataclass(frozen=True)
class Search:
    """Empty fields match everything. `until` is exclusive. `actor`: `kind:name`, or the name of a caller. `about`: the
    id of a decision, action or signal; a workload as `[cluster:][kind ]namespace/name`, or `namespace/`; or a setting,
    as `table`, `key` or `table/key`. `reason`: one of the closed list, or a part of the sentence."""

    since: datetime | None = None
    until: datetime | None = None
    kinds: frozenset[Kind] = frozenset(Kind)
    actor: str = ""
    about: str = ""
    reason: str = ""

    def wants(self, kinds: Iterable[Kind]) -> bool:
        return not self.kinds.isdisjoint(kinds)

    @property
    def actors(self) -> list[str]:
        """All that it may mean. A name alone is that of a caller: a rule or a reconciler has its kind in front."""
        if self.actor.partition(":")[0] in set(ActorKind):
            return [self.actor]
        return [f"{kind}:{self.actor}" for kind in ActorKind if kind not in SOFTWARE]

    @property
    def is_of_caller(self) -> bool:
        """Of an actor that is neither a rule nor a reconciler."""
        return bool(self.actor) and self.actor.partition(":")[0] not in SOFTWARE

    @property
    def is_code(self) -> bool:
        """The reason is one of the closed list."""
        return self.reason in set(Reason)

    @cached_property
    def id(self) -> UUID | None:
        try:
            return UUID(self.about)
        except ValueError:
            return None

    @cached_property
    def workload(self) -> dict[str, str]:
        """Of `cluster`, `kind`, `namespace` and `workload` those that are given; empty if it is no workload."""
        return {"workload" if name == "name" else name: value for name, value in self.named.items()}

    @cached_property
    def named(self) -> dict[str, str]:
        """The same as the columns of a Workload: its last one is `name`."""
        found = WORKLOAD.fullmatch(self.about)
        if found is None or "_" in found["namespace"]:
            return {}
        return {name: value for name, value in found.groupdict().items() if value}

    @cached_property
    def workloads(self) -> list[int]:
        """The rows of the workload. One query. PostgreSQL plans with the number of their actions only if it knows them
        beforehand."""
        return list(Workload.objects.filter(**self.named).values_list("pk", flat=True)) if "name" in self.named else []

    @property
    def is_of_object(self) -> bool:
        """Not of all workloads of a namespace."""
        return bool(self.about) and (not self.workload or "workload" in self.workload)

    @cached_property
    def setting(self) -> tuple[str, str]:
        """The table and the key, of which one may be empty."""
        if self.id or self.workload:
            return "", str(self.id or "")
        table, _, key = self.about.partition("/")
        return (table, key) if "_" in table else ("", table)

    @cached_property
    def actions(self) -> list[UUID]:
        """With this id, or of the signal with this id. One query."""
        if self.id is None:
            return []
        return [self.id, *Action.objects.filter(signal=self.id).order_by("pk").values_list("pk", flat=True)[:100]]
