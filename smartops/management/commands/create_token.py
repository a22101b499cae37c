"""`manage.py create_token`: prints the token on stdout, everything else on stderr."""

from argparse import ArgumentParser
from datetime import timedelta
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import IntegrityError, transaction
from django.utils import timezone
from pydantic import TypeAdapter, ValidationError

from signals.names import Namespace
from smartops.tokens import Scope, issue


class Command(BaseCommand):
    help = "Create an API token and print it. It cannot be read again."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("name", help="name of the caller, as shown in the audit")
        parser.add_argument(
            "--scope",
            action="append",
            required=True,
            choices=[scope.value for scope in Scope],
            help="scope of the token; repeat it for several",
        )
        parser.add_argument(
            "--namespace",
            action="append",
            default=[],
            help="namespace it covers; repeat it for several (default: all)",
        )
        parser.add_argument("--expires-in", type=int, metavar="DAYS", help="default: never")

    def handle(self, *args: Any, **options: Any) -> None:  # noqa: ARG002
        name, days = options["name"].strip(), options["expires_in"]
        if not 1 <= len(name) <= 64 or not name.isprintable():
            raise CommandError("The name must have 1 to 64 printable characters.")
        if days is not None and not 1 <= days <= 36_500:
            raise CommandError("--expires-in must be 1 to 36500 days.")
        try:
            namespaces = TypeAdapter(list[Namespace]).validate_python(options["namespace"])
        except ValidationError as error:
            raise CommandError(f"Not the name of a namespace: {error.errors()[0]['input']}") from None
        try:
            with transaction.atomic():
                expires_at = None if days is None else timezone.now() + timedelta(days=days)
                token = issue(name, map(Scope, options["scope"]), namespaces, expires_at)
        except IntegrityError:
            raise CommandError(f"A token “{name}” exists already.") from None
        where = ", ".join(namespaces) or "all namespaces"
        ends = f"until {expires_at:%Y-%m-%d}" if expires_at else "until it is revoked"
        self.stderr.write(f"{name}: {', '.join(options['scope'])}; {where}; {ends}. It cannot be read again.")
        self.stdout.write(token)
