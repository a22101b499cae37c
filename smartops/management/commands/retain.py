"""`manage.py retain`: exports the partitions that are older than their retention, and drops them."""

from argparse import ArgumentParser
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from django.apps import apps
from django.core.management.base import BaseCommand, CommandError
from django.db import IntegrityError, OperationalError, ProgrammingError, connection
from django.db.models import Model
from django.utils import timezone

from signals.lib import partitions, sequences
from signals.lib.migrations import unapplied_migrations
from signals.lib.privileges import owns_history
from smartops.retention import drop, expired, export, kept, months
from smartops.retention.months import Partition

LOCK = "SELECT pg_try_advisory_lock(hashtext('smartops retain'))"
UNLOCK = "SELECT pg_advisory_unlock(hashtext('smartops retain'))"
STRAY = "SELECT count(*) FROM {}_default"


class Command(BaseCommand):
    help = "Export the partitions that are older than their retention, and drop them. Create those of the next months."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("directory", type=Path, help="where the files are written: a volume that is kept")
        parser.add_argument("--dry-run", action="store_true", help="show what would be exported and dropped")
        parser.add_argument("--allow-gap", action="store_true", help="create the missing months without rows")

    def handle(self, *_args: Any, directory: Path, dry_run: bool, allow_gap: bool, **_options: Any) -> None:
        self._require(directory)
        try:
            self._run(directory, dry_run=dry_run, allow_gap=allow_gap)
        finally:
            with connection.cursor() as cursor:
                cursor.execute(UNLOCK)

    def _run(self, directory: Path, *, dry_run: bool, allow_gap: bool) -> None:
        problems = []
        if not dry_run and (created := partitions.create_ahead()):
            self.stdout.write(f"Created {', '.join(created)}.")
        try:
            for behind in () if dry_run else sequences.advance():
                self.stdout.write(f"Advanced {behind}.")
        except OperationalError as error:  # another session holds a lock
            problems.append(f"A sequence is behind its table: run `manage.py retain` again: {error}".strip())
        for label in months.TABLES:
            model = apps.get_model(label)
            try:
                problems += self._retain(model, directory, dry_run=dry_run, allow_gap=allow_gap)
            except (export.ExportError, months.WrongPartitionError, OSError) as error:
                problems.append(str(error))
            except OperationalError as error:  # another session holds a lock
                problems.append(f"{model._meta.db_table}: run `manage.py retain` again: {error}".strip())
        with suppress(months.WrongPartitionError):  # it is among the problems
            for deleted in () if dry_run else expired.delete():
                self.stdout.write(f"Deleted {deleted}.")
        if problems:
            raise CommandError("\n".join(problems))

    def _require(self, directory: Path) -> None:
        if not directory.is_dir():
            raise CommandError(f"{directory} is not a directory. Create it on a volume that is kept.")
        if missing := unapplied_migrations():
            raise CommandError(f"The database has unapplied migrations: {', '.join(missing)}. Run migrate first.")
        if not owns_history():
            raise CommandError("The login of DATABASE_URL does not own the tables. Use that of `manage.py migrate`.")
        with connection.cursor() as cursor:
            cursor.execute(LOCK)
            if not cursor.fetchone()[0]:
                raise CommandError("Another `manage.py retain` runs on this database. Wait for its end.")

    def _retain(self, model: type[Model], directory: Path, *, dry_run: bool, allow_gap: bool) -> list[str]:
        """Returns what is wrong with single months. They stay, and keep no other month."""
        problems: list[str] = []
        if not dry_run:
            export.remove_unfinished(directory, model._meta.db_table)
            problems += self._attach_detached(model)
        exported = export.manifests(directory, model._meta.db_table)
        detached = {one.month for one in drop.detached(model)}
        gap = export.gap([one.month for one in months.stored(model)], exported)
        missing = [month for month in gap if month not in detached]
        if missing and not allow_gap:
            names = ", ".join(f"{month:%Y-%m}" for month in missing)
            raise export.ExportError(
                f"{model._meta.db_table}: the months {names} are neither in the database nor in {directory}. Copy "
                f"their exports there, or restore them. If they are lost, run again with --allow-gap, which "
                f"creates them without rows."
            )
        for one in () if dry_run else [Partition(model, month) for month in missing]:
            drop.create(one)
            self.stdout.write(f"Created {one} without rows: it was missing.")
        for one in months.due(months.stored(model), months.retention(model._meta.label), timezone.now()):
            if reason := kept.kept_by(one):
                self.stdout.write(f"Kept {one}: {reason}.")
            elif dry_run:
                self.stdout.write(f"Would export and drop {one}.")
            else:
                try:
                    self._end(one, directory)
                except (export.ExportError, drop.DetachedError) as error:
                    problems.append(str(error))
        self._report_stray(model)
        return problems

    def _end(self, partition: Partition, directory: Path) -> None:
        before = drop.versions(partition)
        manifest = export.export(partition, directory)
        try:
            drop.drop(partition, manifest, before)
        except drop.Changed as change:
            if manifest.file:
                export.discard(partition, directory)
            self.stdout.write(f"Kept {partition}: {change} The next run exports it again.")
        except OperationalError as error:
            cause = str(error).splitlines()[0]
            self.stdout.write(f"Exported {partition}, not dropped: {cause}. The next run drops it.")
        else:
            done = f"Exported {manifest.rows} rows of {partition} to {manifest.file}, and dropped them."
            again = f"Dropped {partition}: it was exported before, and has no rows now."
            self.stdout.write(done if manifest.file else again)

    def _attach_detached(self, model: type[Model]) -> Iterator[str]:
        """What an interrupted run has detached. Yields what is wrong with a table that has the name of a partition."""
        for one in drop.detached(model):
            try:
                drop.attach(one)
            except (IntegrityError, ProgrammingError) as error:
                cause = str(error).splitlines()[0]
                yield (
                    f"{one.name} has the name of a partition, and cannot be one of {one.table}: {cause}. Nothing of it "
                    f"is exported or dropped. Rename the table, and run again."
                )

    def _report_stray(self, model: type[Model]) -> None:
        with connection.cursor() as cursor:
            cursor.execute(STRAY.format(model._meta.db_table))
            if count := cursor.fetchone()[0]:
                self.stderr.write(
                    f"{count} rows of {model._meta.db_table} have ids of no known month. They stay in the default "
                    f"partition and are never dropped: check the clocks of the processes."
                )
