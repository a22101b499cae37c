"""What the control loop has begun and not recorded yet: calls to the network with their answers, and the actions that
it holds."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from uuid import UUID

from orchestrator.k8s import identify
from orchestrator.k8s.cache import ClusterCache
from orchestrator.k8s.cluster import Cluster
from orchestrator.k8s.target import UNOBSERVED
from orchestrator.models import Action
from orchestrator.reconciler import calls
from orchestrator.reconciler.calls import Answer, Candidate, Confirmation, Reading, Rehearsal
from orchestrator.reconciler.claim import Claim
from orchestrator.reconciler.next_step import NextStep
from orchestrator.reconciler.pool import RESERVED, Pool
from orchestrator.reconciler.verify import Watched
from signals.types import Named, NamingFacts, Origin


@dataclass(slots=True)
class Inbox:
    """The answers of the pool that no verb has taken up yet."""

    candidates: list[Candidate] = field(default_factory=list)  # for admit
    readings: list[Reading] = field(default_factory=list)  # for plan
    answers: list[Answer] = field(default_factory=list)  # for record
    confirmations: list[Confirmation] = field(default_factory=list)  # for verify
    rehearsals: list[Rehearsal] = field(default_factory=list)  # of what waits for an approval


class UnderWay:
    """`claims` are of the held actions. `looking_up` are the signals whose decision waits for a look-up, `rehearsing`
    the waiting actions of which a dry run is under way. The answers are in `inbox` until a verb takes them up. Each
    call has one, so that none of these is held for ever: an error that it raises is part of the answer."""

    def __init__(self, pool: Pool, cluster: Cluster, cache: ClusterCache, workers: int) -> None:
        self._pool, self._cluster, self._cache, self._workers = pool, cluster, cache, workers
        self.inbox = Inbox()
        self.claims: set[Claim] = set()
        self.looking_up: set[UUID] = set()
        self.rehearsing: set[UUID] = set()

    def __bool__(self) -> bool:
        return bool(self.claims or self._pool.under_way)

    def collect(self) -> None:
        for one in self._pool.answers():
            match one:
                case Candidate():
                    self.inbox.candidates.append(one)
                case Reading():
                    self.inbox.readings.append(one)
                case Answer():
                    self.inbox.answers.append(one)
                case Confirmation():
                    self.inbox.confirmations.append(one)
                case Rehearsal():
                    self.inbox.rehearsals.append(one)

    def room(self) -> int:
        """How many more rows to take on: enough to keep every worker busy, few enough to leave work to others and to
        reach each within its lease. None before half of them are done, so that rows come in batches."""
        return self.room_to_reclaim() if self._pool.under_way <= self._workers else 0

    def room_to_reclaim(self) -> int:
        return max(0, 2 * self._workers - self._pool.under_way)

    def room_for_direct(self) -> int:
        """How many direct actions have threads of their own while there is no other room."""
        return RESERVED - sum(map(_is_direct, self.claims))

    def take_candidates(self) -> list[Candidate]:
        """The signals of which everything is known. They are looked up no longer."""
        taken, self.inbox.candidates = self.inbox.candidates, []
        self.looking_up -= {one.signal.pk for one in taken}
        return taken

    def take_unclear(self, is_unclear: Callable[[Answer], bool]) -> list[Answer]:
        """The answers that say too little to be recorded."""
        unclear = [one for one in self.inbox.answers if is_unclear(one)]
        self.inbox.answers = [one for one in self.inbox.answers if one not in unclear]
        return unclear

    def take_confirmations(self) -> list[Confirmation]:
        taken, self.inbox.confirmations = self.inbox.confirmations, []
        return taken

    def look_up(self, candidate: Candidate) -> None:
        self.looking_up.add(candidate.signal.pk)
        look_up = partial(calls.look_up, candidate, self._cache.observe_live, self._read_name)
        self._pool.submit(look_up, lambda error: replace(candidate, error=error))

    def read(self, claim: Claim) -> None:
        """A live read, before a write."""
        self.claims.add(claim)
        failed = partial(Reading, claim, NextStep.PLAN, UNOBSERVED, None)
        self._pool.submit(partial(self._read, claim), failed, reserved=_is_direct(claim))

    def write(self, claim: Claim) -> None:
        self.claims.add(claim)
        claim.writes += 1
        write, failed = partial(calls.write, claim, self._cluster), partial(Answer, claim)
        self._pool.submit(write, failed, reserved=_is_direct(claim))

    def let_go(self, claims: Iterable[Claim]) -> None:
        for claim in claims:
            self.claims.discard(claim)
            claim.span.end()

    @contextmanager
    def recording(self, answers: Sequence[Reading] | Sequence[Answer]) -> Iterator[set[Claim]]:
        """Yields the claims of these answers. At the end, lets go of each claim that is still in the set and whose
        answer is no longer on the list. After an error, the claims of unrecorded answers are kept."""
        ended = {one.claim for one in answers}
        try:
            yield ended
        finally:
            self.let_go(ended.difference(one.claim for one in answers))

    def rehearse(self, action: Action) -> None:
        if action.pk not in self.rehearsing:
            self.rehearsing.add(action.pk)
            self._pool.submit(partial(calls.rehearse, action, self._cluster), partial(Rehearsal, action))

    def confirm(self, one: Watched) -> None:
        confirm = partial(calls.confirm, one.key, one.action.pk, one.span, self._cluster)
        self._pool.submit(confirm, partial(Confirmation, one.key, one.action.pk))

    def _read(self, claim: Claim) -> Reading:
        return calls.read(claim, self._cluster, self._cache.observe(claim.action.workload.target))

    def _read_name(self, named: Named) -> NamingFacts:
        return identify.read(named, self._cluster, self._cache)


def _is_direct(claim: Claim) -> bool:
    return claim.action.origin == Origin.DIRECT
