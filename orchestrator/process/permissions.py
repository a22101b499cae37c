"""Whether we have the rights that the loop needs: asked at the start, and again only while an answer is not yes."""

import logging
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from threading import Event, Thread

from orchestrator.k8s.cluster import Cluster
from orchestrator.k8s.errors import ClusterError
from orchestrator.k8s.permissions import PERMISSIONS, Permission

log = logging.getLogger(__name__)

AGAIN_AFTER = 60.0  # seconds


@dataclass(frozen=True, slots=True)
class Missing:
    verb: str
    right: Permission
    namespace: str  # "*": all of them

    def __str__(self) -> str:
        where = "all namespaces" if self.namespace == "*" else self.namespace
        optional = "" if self.right.essential else " (optional)"
        return f"missing: {self.verb} {self.right.qualified} in {where} — {self.right.purpose}{optional}"


class PermissionCheck:
    """`missing` is what the API server denied when it was asked last. What could not be asked is not missing: the loop
    will meet the same trouble itself."""

    def __init__(self, cluster: Cluster, namespaces: Iterable[str], again_after: float = AGAIN_AFTER) -> None:
        self.missing: tuple[Missing, ...] = ()
        self._cluster, self._namespaces, self._again_after = cluster, sorted(namespaces), again_after
        self._asked = False
        self._stop = Event()
        self._thread = Thread(target=self._follow, name="self-check", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        self._thread.join(timeout=5)

    @property
    def passed(self) -> bool:
        """It was asked, and nothing is missing that the loop cannot do without."""
        return self._asked and not any(one.right.essential for one in self.missing)

    def _follow(self) -> None:
        while not (self._ask() or self._stop.wait(self._again_after)):
            pass

    def _ask(self) -> bool:
        """Whether all rights are there."""
        before = self.missing
        try:
            self.missing = tuple(self._denied())
        except ClusterError as error:
            log.warning("the API server does not say what we may do: %s", error.message)
            return False
        finally:
            self._asked = True
        for one in self.missing:
            if one not in before:
                log.error("%s", one) if one.right.essential else log.warning("%s", one)
        if before and not self.missing:
            log.info("no right is missing any more")
        return not self.missing

    def _denied(self) -> Iterator[Missing]:
        for namespace in self._namespaces:
            for right in PERMISSIONS:
                for verb in right.verbs:
                    if not self._cluster.can_i(
                        verb, right.group, right.resource, "" if namespace == "*" else namespace
                    ):
                        yield Missing(verb, right, namespace)
