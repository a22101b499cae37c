"""What a page knows of its age, and of the reconcilers that change what it shows."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from django.conf import settings

from orchestrator.models import Heartbeat
from orchestrator.models.heartbeat import FORGOTTEN_AFTER
from signals.lib.clock import database_now
from smartops.people.access import Access, Right

STOPPED_AFTER = timedelta(seconds=12)  # without a pass: two heartbeats, and a slow pass
REPLACED_AFTER = timedelta(minutes=15)  # of a stopped reconciler, while others of its cluster go on


class Reconcilers(StrEnum):
    RUNNING = "running"
    STOPPED = "stopped"
    NONE = "none"  # there has never been one


@dataclass(frozen=True, slots=True)
class Beat:
    """The last pass of a reconciler; without a name and a time, there has never been one for the cluster."""

    cluster: str
    reconciler: str = ""
    last_pass: datetime | None = None
    runs: bool = False


@dataclass(frozen=True, slots=True)
class Freshness:
    """`at`: when the page was made, by the clock of the database. `beats`: of each reconciler, by cluster."""

    at: datetime
    beats: tuple[Beat, ...] = ()

    @property
    def stopped(self) -> tuple[Beat, ...]:
        """The last pass in each cluster that nobody reconciles."""
        running = {one.cluster for one in self.beats if one.runs}
        silent = {one.cluster: one for one in self.beats if one.cluster not in running}
        return tuple(silent.values())

    @property
    def reconcilers(self) -> Reconcilers:
        if not self.stopped:
            return Reconcilers.RUNNING
        return Reconcilers.NONE if all(one.last_pass is None for one in self.stopped) else Reconcilers.STOPPED

    @property
    def since(self) -> datetime:
        """Until when what the page shows was kept up to date: its own time, or the last pass in a cluster where none
        follows."""
        return min([self.at, *(one.last_pass for one in self.stopped if one.last_pass)])


def freshness() -> Freshness:
    """Two queries."""
    rows = Heartbeat.objects.values_list("cluster", "reconciler", "passed_at")
    return judge(rows, settings.SMARTOPS_CLUSTER, database_now())


def judge(heartbeats: Iterable[tuple[str, str, datetime]], own: str, now: datetime) -> Freshness:
    """`own`: the cluster that must have a reconciler. Others count while their last pass is not long ago."""
    beats = [Beat(cluster, name, at, at > now - STOPPED_AFTER) for cluster, name, at in heartbeats]
    running = {one.cluster for one in beats if one.runs}
    kept = [one for one in beats if _is_expected(one, own, running, now)]
    if all(one.cluster != own for one in kept):
        kept.append(Beat(own))
    return Freshness(now, tuple(sorted(kept, key=lambda one: (one.cluster, one.last_pass or now, one.reconciler))))


def _is_expected(one: Beat, own: str, running: set[str], now: datetime) -> bool:
    assert one.last_pass is not None
    if one.cluster in running:
        return one.last_pass > now - REPLACED_AFTER
    return one.cluster == own or one.last_pass > now - FORGOTTEN_AFTER


def visible_to(access: Access, found: Freshness) -> Freshness:
    """Of the clusters in which the person may read something. `dataclasses.replace` refuses the lazy object that a page
    has."""
    places = access.places.get(Right.READ, ())
    clusters = {place.cluster for place in places}
    return Freshness(found.at, tuple(one for one in found.beats if "" in clusters or one.cluster in clusters))
