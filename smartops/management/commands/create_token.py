"""`manage.py create_token`: prints the token on stdout, everything else on stderr."""

from argparse import ArgumentParser
from datetime import timedelta
from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError
from django.db import IntegrityError, transaction
from django.utils import timezone

from smartops.models import LONGEST_LIFE
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
        name, days, namespaces = options["name"].strip(), options["expires_in"], options["namespace"]
        if days is not None and not 1 <= days <= LONGEST_LIFE.days:
            raise CommandError(f"--expires-in must be 1 to {LONGEST_LIFE.days} days.")
        try:
            with transaction.atomic():
                expires_at = None if days is None else timezone.now() + timedelta(days=days)
                token = issue(name, map(Scope, options["scope"]), namespaces, expires_at)
        except ValidationError as error:
            raise CommandError(" ".join(error.messages)) from None
        except IntegrityError:
            raise CommandError(f"A token “{name}” exists already.") from None
        where = ", ".join(namespaces) or "all namespaces"
        ends = f"until {expires_at:%Y-%m-%d}" if expires_at else "until it is revoked"
        self.stderr.write(f"{name}: {', '.join(options['scope'])}; {where}; {ends}. It cannot be read again.")
        self.stdout.write(token)
