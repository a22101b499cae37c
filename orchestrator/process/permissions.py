"""The permission check: at the start, the reconciler checks each permission that it uses at the API server."""

import logging
from collections.abc import Iterable
from dataclasses import dataclass
from threading import Event, Thread

from orchestrator.k8s.cluster import Cluster
from orchestrator.k8s.errors import ClusterError
from orchestrator.k8s.permissions import PERMISSIONS, Permission

log = logging.getLogger(__name__)

RECHECK_AFTER = 60.0  # seconds


@dataclass(frozen=True, slots=True)
class MissingPermission:
    verb: str
    permission: Permission
    namespace: str  # "*": all namespaces

    def __str__(self) -> str:
        """One line for an operator."""
        optional = "" if self.permission.required else " (optional)"
        where = "in all namespaces" if self.namespace == "*" else f"in namespace {self.namespace}"
        return (
            f"missing permission{optional}: {self.verb} {self.permission.group_resource} {where}: "
            f"{self.permission.purpose}. Grant it to the ServiceAccount of the reconciler."
        )


class PermissionCheck:
    """`missing` holds the permissions that the API server denied in the last check. Each namespace is checked by
    itself. A check that the API server did not answer changes nothing: an API server that is unavailable does not make
    a permission missing. The check is repeated every `recheck_after` seconds until no permission is missing."""

    def __init__(self, cluster: Cluster, namespaces: Iterable[str], recheck_after: float = RECHECK_AFTER) -> None:
        self.missing: tuple[MissingPermission, ...] = ()
        named = set(namespaces)
        self._namespaces = ["*"] if "*" in named else sorted(named)
        self._cluster, self._recheck_after = cluster, recheck_after
        self._pending = True
        self._stop = Event()
        self._thread = Thread(target=self._run, name="permission-check", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        self._thread.join(timeout=5)

    @property
    def passed(self) -> bool:
        """The first check has ended, and in at least one namespace no required permission is missing."""
        lacking = {one.namespace for one in self.missing if one.permission.required}
        return not self._pending and (not lacking or len(lacking) < len(self._namespaces))

    def _run(self) -> None:
        while not (self._check() or self._stop.wait(self._recheck_after)):
            pass

    def _check(self) -> bool:
        """Whether every permission is granted."""
        before, found, failure = self.missing, list[MissingPermission](), ""
        for namespace in self._namespaces:
            try:
                found += self._denied(namespace)
            except ClusterError as error:
                found += [one for one in before if one.namespace == namespace]
                failure = error.message
        self.missing, self._pending = tuple(found), False
        if failure:
            log.warning("permission check failed: %s. It is repeated in %.0f s.", failure, self._recheck_after)
        for one in self.missing:
            if one not in before:
                log.error("%s", one) if one.permission.required else log.warning("%s", one)
        if before and not self.missing:
            log.info("permission check passed: no permission is missing any more")
        return not (self.missing or failure)

    def _denied(self, namespace: str) -> list[MissingPermission]:
        scope = "" if namespace == "*" else namespace
        return [
            MissingPermission(verb, permission, namespace)
            for permission in PERMISSIONS
            for verb in permission.verbs
            if not self._cluster.can_i(verb, permission.group, permission.resource, scope)
        ]
