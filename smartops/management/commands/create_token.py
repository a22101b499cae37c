"""Creates an API token: the token alone on stdout, all else on stderr."""

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
    help = "Creates an API token and prints it: it cannot be read again."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("name", help="who speaks: it stands in the audit")
        parser.add_argument(
            "--scope",
            action="append",
            required=True,
            choices=[scope.value for scope in Scope],
            help="what it may do; give one or more (there is no default)",
        )
        parser.add_argument(
            "--namespace", action="append", default=[], help="where it may act; give one or more (default: everywhere)"
        )
        parser.add_argument("--expires-in", type=int, metavar="DAYS", help="default: never")

    def handle(self, *args: Any, **options: Any) -> None:  # noqa: ARG002
        name, days = options["name"].strip(), options["expires_in"]
        if not 1 <= len(name) <= 64 or not name.isprintable():
            raise CommandError("A name has 1 to 64 printable characters.")
        if days is not None and not 1 <= days <= 36_500:
            raise CommandError("A token expires in 1 to 36500 days, or never.")
        try:
            namespaces = TypeAdapter(list[Namespace]).validate_python(options["namespace"])
        except ValidationError as error:
            raise CommandError(f"No namespace: {error.errors()[0]['input']}") from None
        try:
            with transaction.atomic():
                expires_at = None if days is None else timezone.now() + timedelta(days=days)
                token = issue(name, map(Scope, options["scope"]), namespaces, expires_at)
        except IntegrityError:
            raise CommandError(f"There is a token “{name}” already.") from None
        where = ", ".join(namespaces) or "everywhere"
        ends = f"until {expires_at:%Y-%m-%d}" if expires_at else "until it is revoked"
        self.stderr.write(f"{name}: {', '.join(options['scope'])}; {where}; {ends}. It cannot be read again.")
        self.stdout.write(token)
