"""Files that a partition is exported to: `TABLE_YYYY_MM.jsonl.gz`, one row a line as JSON, ordered by id, and its
manifest `TABLE_YYYY_MM.json`, which is written last."""

import gzip
import hashlib
import json
import os
from collections.abc import Collection, Iterable, Iterator
from dataclasses import asdict, dataclass, replace
from datetime import date
from pathlib import Path

from django.db import connection

from smartops.retention.months import Partition, following

CHUNK = 1 << 20


class ExportError(Exception):
    """The message says which file, what is wrong with it, and what to do."""


@dataclass(frozen=True, slots=True)
class Manifest:
    """`sha256` is the digest of the uncompressed lines, `file_sha256` of the file. `first` and `last` bound the
    partition key."""

    table: str
    month: str
    first: str
    last: str
    rows: int
    bytes: int
    sha256: str
    file: str
    file_sha256: str

    @property
    def content(self) -> tuple[int, str]:
        return self.rows, self.sha256


def export(partition: Partition, directory: Path) -> Manifest:
    """Writes the rows of the partition, and reads the file again. An earlier export stays as it is. If the partition
    has other rows, that is an ExportError. If it has none, it was created again: the manifest names no file."""
    path = directory / f"{partition.name}.jsonl.gz"
    fresh = path.with_suffix(".part")
    rows, size, digest = _write(fresh, _lines(partition))
    if _read(fresh) != (rows, size, digest):
        raise ExportError(f"{fresh} does not have what was written to it. Check the volume.")
    manifest = Manifest(
        table=partition.table,
        month=f"{partition.month:%Y-%m}",
        first=str(partition.first),
        last=str(partition.last),
        rows=rows,
        bytes=size,
        sha256=digest,
        file=path.name,
        file_sha256=_file_digest(fresh),
    )
    earlier = manifests(directory, partition.table).get(partition.month)
    if earlier is not None:
        if rows:
            _compare(partition, path, earlier, manifest)
        fresh.unlink()
        return earlier if rows else replace(manifest, file="")
    fresh.replace(path)
    _write_manifest(directory, partition.name, manifest)
    return manifest


def discard(partition: Partition, directory: Path) -> None:
    """Of rows that have changed since. The manifest first: a file without one is written again."""
    (directory / f"{partition.name}.json").unlink(missing_ok=True)
    (directory / f"{partition.name}.jsonl.gz").unlink(missing_ok=True)


def remove_unfinished(directory: Path, table: str) -> None:
    """What an interrupted or refused export of the table has left. No other run writes to the directory now."""
    for path in directory.glob(f"{table}_[0-9][0-9][0-9][0-9]_[0-9][0-9].json*.part"):
        path.unlink()


def manifests(directory: Path, table: str) -> dict[date, Manifest]:
    """The complete exports of the table, by month."""
    found = {}
    for path in sorted(directory.glob(f"{table}_[0-9][0-9][0-9][0-9]_[0-9][0-9].json")):
        try:
            manifest = Manifest(**json.loads(path.read_text()))
            found[date.fromisoformat(f"{manifest.month}-01")] = manifest
        except (ValueError, TypeError, OSError) as error:
            raise ExportError(
                f"{path} is not a manifest of an export ({error}). Move it out of {directory}, and run again."
            ) from None
    return found


def gap(stored: Collection[date], exported: Collection[date]) -> list[date]:
    """The months that are neither exported nor stored: after the newest export, or between two partitions. A restored
    backup may lack them."""
    known, present = {*stored, *exported}, sorted(stored)
    if not present:
        return []
    missing, month = [], present[0]
    if newest := max(exported, default=None):
        month = min(month, following(newest))
    while month < present[-1]:
        if month not in known:
            missing.append(month)
        month = following(month)
    return missing


def _compare(partition: Partition, path: Path, earlier: Manifest, now: Manifest) -> None:
    if _file_digest(path) != earlier.file_sha256:
        raise ExportError(
            f"{path} does not have the digest of its manifest. The rows of {partition} are still in the database. "
            f"Move the file and its manifest out of {path.parent}, and run again."
        )
    if earlier.content != now.content:
        raise ExportError(
            f"{partition} was exported with {earlier.rows} rows, and has {now.rows} rows now with other content: the "
            f"database may have been restored from a backup, or the clock of a process was behind. Nothing is dropped. "
            f"Compare {path} with the table; then move the file and its manifest out of {path.parent}, and run again."
        )


def _lines(partition: Partition) -> Iterator[bytes]:
    pk = partition.model._meta.pk.column
    statement = (
        f"COPY (SELECT row_to_json(row)::text FROM {partition.name} row "  # noqa: S608 - our names
        f"ORDER BY {partition.key}, {pk}) TO STDOUT"
    )
    with connection.cursor() as cursor, cursor.copy(statement) as copy:
        for [line] in copy.rows():
            yield line.encode() + b"\n"


def _write(path: Path, lines: Iterable[bytes]) -> tuple[int, int, str]:
    """Rows, bytes and digest of the lines. The file is on the disk when it returns."""
    rows, size, digest = 0, 0, hashlib.sha256()
    with path.open("wb") as raw:
        with gzip.GzipFile(filename="", fileobj=raw, mode="wb", compresslevel=6, mtime=0) as file:
            for line in lines:
                file.write(line)
                digest.update(line)
                rows, size = rows + 1, size + len(line)
        raw.flush()
        os.fsync(raw.fileno())
    return rows, size, digest.hexdigest()


def _read(path: Path) -> tuple[int, int, str]:
    """The same of a file."""
    rows, size, digest = 0, 0, hashlib.sha256()
    with gzip.open(path, "rb") as file:
        while chunk := file.read(CHUNK):
            digest.update(chunk)
            rows, size = rows + chunk.count(b"\n"), size + len(chunk)
    return rows, size, digest.hexdigest()


def _file_digest(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except FileNotFoundError:
        return ""


def _write_manifest(directory: Path, name: str, manifest: Manifest) -> None:
    fresh = directory / f"{name}.json.part"
    with fresh.open("w") as file:
        json.dump(asdict(manifest), file, indent=2)
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(directory / f"{name}.json")
    entry = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(entry)
    finally:
        os.close(entry)
