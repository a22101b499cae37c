"""`manage.py serve`: runs the web process."""

import socket
from argparse import ArgumentParser
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from signals.lib.sockets import listen
from smartops.edge.proxies import Proxies
from smartops.edge.server import Server


class Command(BaseCommand):
    help = "Run the web process: the API, the console, the admin, probes and metrics."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--host", default="", help="address to listen on; by default all addresses, of IPv4 and IPv6"
        )
        parser.add_argument("--port", type=int, default=8000, help="port to listen on; 0: any free port")
        parser.add_argument("--fd", type=int, help="descriptor of a listening socket, in place of a host and a port")

    def handle(self, *_args: Any, **options: Any) -> None:
        from smartops.asgi import application

        host, port, descriptor = options["host"], options["port"], options["fd"]
        try:
            listener = listen(host, port) if descriptor is None else socket.socket(fileno=descriptor)
        except OSError as error:
            where = f"{host or 'all addresses'}, port {port}" if descriptor is None else f"the descriptor {descriptor}"
            raise CommandError(f"The web process cannot listen on {where}: {error.strerror}.") from None
        proxies = Proxies.of(settings.SMARTOPS_TRUSTED_PROXIES)
        Server(application, listener, proxies, settings.FORCE_SCRIPT_NAME or "").run()
