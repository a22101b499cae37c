"""`manage.py reconcile`: runs the control loop of one cluster."""

import gc
import signal
import socket
import time
from argparse import ArgumentParser
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from django.db import Error, connection

from orchestrator.k8s.client import KubernetesCluster
from orchestrator.k8s.errors import ClusterError
from orchestrator.process.health_server import serve
from orchestrator.process.permissions import PermissionCheck
from orchestrator.reconciler.loop import Reconciler
from orchestrator.reconciler.steps import Outage
from signals.lib import tracing
from signals.lib.availability import is_unavailable
from signals.lib.migrations import unapplied_migrations
from signals.lib.sockets import listen

MAX_WORKERS = 256  # threads, and connections to the API server


class Command(BaseCommand):
    help = "Run the control loop of one cluster: admit signals, execute actions, verify rollouts."
    requires_system_checks = ["smartops"]  # of the settings: others would load the pages and the API of the web process

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--cluster", default=settings.SMARTOPS_CLUSTER, help="name of the cluster")
        parser.add_argument("--drain", action="store_true", help="process everything that is due, then exit")
        parser.add_argument("--workers", type=int, default=16, help="number of network calls at a time")
        parser.add_argument(
            "--metrics-port", type=int, default=0, help="port of /metrics and the probes; 0 disables them"
        )
        parser.add_argument(
            "--metrics-host", default="", help="address to listen on; by default all addresses, of IPv4 and IPv6"
        )

    def handle(self, *_args: Any, **options: Any) -> None:
        workers = options["workers"]
        if not 0 < workers <= MAX_WORKERS:
            raise CommandError(f"--workers must be 1 to {MAX_WORKERS}, not {workers}.")
        if missing := _missing_migrations():  # it would fail signals and actions that it cannot read
            names = ", ".join(missing)
            raise CommandError(f"The database has unapplied migrations: {names}. Run `manage.py migrate` first.")
        connection.close()
        tracing.start("reconciler")
        try:
            cluster = KubernetesCluster(settings.SMARTOPS_KUBECONFIG or None, connections=workers + 4)
        except ClusterError as error:  # a traceback would quote the address of the API server
            raise CommandError(f"The API server cannot be addressed: {error}") from None
        reconciler = Reconciler(cluster, options["cluster"], settings.SMARTOPS_NAMESPACES, workers)
        permissions = PermissionCheck(cluster, settings.SMARTOPS_NAMESPACES)
        permissions.start()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: reconciler.stop())
        if options["metrics_port"]:
            serve(reconciler.readiness, permissions, _listen(options["metrics_host"], options["metrics_port"]))
        gc.freeze()  # the modules stay: the garbage collector need not scan them again and again
        try:
            reconciler.run(drain=options["drain"])
        finally:
            permissions.stop()


def _missing_migrations() -> list[str]:
    """Waits for the database: the supervisor of a process that ends would start it again at ever longer intervals."""
    outage = Outage()
    while True:
        try:
            return unapplied_migrations()
        except Error as error:
            if not is_unavailable(error):
                raise
            outage.begin(error, time.monotonic())
        connection.close()
        time.sleep(1.0)


def _listen(host: str, port: int) -> socket.socket:
    try:
        return listen(host, port)
    except OSError as error:
        where = f"{host or 'all addresses'}, port {port}"
        raise CommandError(f"The metrics cannot be served on {where}: {error.strerror}.") from None
