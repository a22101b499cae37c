"""`manage.py reconcile`: drains signals into verified changes of one cluster."""

import signal
from argparse import ArgumentParser
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from django.db import connection

from orchestrator.k8s.client import KubernetesCluster
from orchestrator.process.health_server import serve
from orchestrator.process.permissions import PermissionCheck
from orchestrator.reconciler.loop import Reconciler
from signals.lib import tracing
from signals.lib.migrations import unapplied_migrations


class Command(BaseCommand):
    help = "Admit signals, execute actions, verify rollouts. Run as many of them side by side as you like."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--cluster", default=settings.SMARTOPS_CLUSTER, help="whose signals and actions")
        parser.add_argument("--drain", action="store_true", help="process what is due, then exit")
        parser.add_argument("--workers", type=int, default=8, help="steps at a time")
        parser.add_argument("--metrics-port", type=int, default=0, help="/metrics, /healthz and /readyz; 0: off")
        parser.add_argument("--metrics-host", default="0.0.0.0")

    def handle(self, *_args: Any, **options: Any) -> None:
        workers, pool = options["workers"], settings.SMARTOPS_DATABASE_POOL
        if not 0 < workers <= pool - 2:
            raise CommandError(f"--workers {workers}: 1 to {pool - 2}, or raise SMARTOPS_DATABASE_POOL ({pool}).")
        if missing := unapplied_migrations():  # what it cannot read it would give up
            raise CommandError(f"The database lacks migrations: {', '.join(missing)}. Run `manage.py migrate` first.")
        connection.close()
        tracing.start("reconciler")
        cluster = KubernetesCluster(settings.SMARTOPS_KUBECONFIG or None, connections=workers + 4)
        reconciler = Reconciler(cluster, options["cluster"], settings.SMARTOPS_NAMESPACES, workers)
        rights = PermissionCheck(cluster, settings.SMARTOPS_NAMESPACES)
        rights.start()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: reconciler.stop())
        if options["metrics_port"]:
            serve(reconciler, rights, options["metrics_host"], options["metrics_port"])
        try:
            reconciler.run(drain=options["drain"])
        finally:
            rights.stop()
