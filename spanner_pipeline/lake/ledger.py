"""The ledger of imports: which delivery was imported, and what became of its rows.

One JSON file an import, written whole and at once, below `lake/imports/`. Its name is made of the
digests of the files and of the configuration, so a delivery that is known is found by name.
"""

from __future__ import annotations

import hashlib
import json
import os
import uuid
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

from spanner_pipeline.configuration.source import Source, Usage
from spanner_pipeline.control import ControlTotals, Total
from spanner_pipeline.lake.names import file_name
from spanner_pipeline.meters import Meter
from spanner_pipeline.root import DataRoot
from spanner_pipeline.sources.files import SourceFile

MAPPING_VERSION = 1
"""Raise it when the code maps the same rows to other events, so that known files are read again."""


def batch_name(source: Source, partition: str, files: Sequence[SourceFile]) -> str:
    """Name a delivery by its content: the same files give the same import batch, anywhere.

    Where the names of files mean something, they are part of the content.
    """
    known = (f"{f.digest} {f.name}" if source.reads_file_names else f.digest for f in files)
    digest = hashlib.sha256("".join(sorted(known)).encode()).hexdigest()
    return f"{source.source}/{partition}/{digest[:16]}"


def configuration_digest(source: Source, usage: Usage, meter: Meter) -> str:
    """Digest all that decides how rows become events."""
    declared = source.model_dump(mode="json", exclude={"description", "owner", "usage", "files"})
    described = [
        MAPPING_VERSION,
        declared,
        usage.model_dump(mode="json"),
        meter.model_dump(mode="json", include={"name", "dimensions", "decimals"}),
    ]
    text = json.dumps(described, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


@dataclass(frozen=True)
class FileTotals:
    """One file of an import: what it was, and what became of its rows."""

    name: str
    digest: str
    size: int
    totals: ControlTotals


@dataclass(frozen=True)
class ImportRecord:
    """One import of one partition for one usage.

    Attributes:
        source: The source.
        usage: Which usage of it.
        meter: The meter.
        partition: The partition.
        batch: The import batch.
        configuration: Digest of the configuration that mapped it.
        files: The files with their control totals.
        out_of_scope: Rows and quantity by why they were left out.
        rejected: Rows by reason code.
        ambiguous_times: Rows whose hour existed twice, resolved or rejected as declared.
        table: Identity of the meter's table after the import, None when there was none.
        version_before: Delta version before the import, None when there was no table.
        version_after: Delta version after; the same where nothing changed.
        imported_at: When, ISO 8601 in UTC.
    """

    source: str
    usage: str
    meter: str
    partition: str
    batch: str
    configuration: str
    files: tuple[FileTotals, ...]
    out_of_scope: dict[str, Total]
    rejected: dict[str, int]
    ambiguous_times: int
    table: str | None
    version_before: int | None
    version_after: int | None
    imported_at: str

    @property
    def totals(self) -> ControlTotals:
        """The control totals of all files."""
        total = ControlTotals()
        for file in self.files:
            total += file.totals
        return total


class Ledger:
    """The imports of a data root."""

    def __init__(self, root: DataRoot) -> None:
        """Nothing is read before it is asked for."""
        self._folder = root.lake / "imports"

    def find(self, name: str, usage: str, configuration: str) -> ImportRecord | None:
        """The import of this delivery under this configuration, if there was one."""
        path = self._path(name, usage, configuration)
        return _read(path) if path.is_file() else None

    def add(self, record: ImportRecord) -> None:
        """Write one import down.

        Where two processes import one delivery at once, the record stays that says what was new.
        """
        path = self._path(record.batch, record.usage, record.configuration)
        path.parent.mkdir(parents=True, exist_ok=True)
        work = path.with_suffix(f".{uuid.uuid4().hex}.tmp")
        work.write_text(json.dumps(asdict(record), indent=1, default=str) + "\n", encoding="utf-8")
        if record.version_after != record.version_before:
            os.replace(work, path)
            return
        with suppress(FileExistsError):
            path.hardlink_to(work)
        work.unlink()

    def current(self, source: str | None = None) -> Iterator[ImportRecord]:
        """The latest import of each partition and usage, in that order."""
        latest: dict[tuple[str, str, str], ImportRecord] = {}
        for path in sorted(self._folder.glob(f"{source or '*'}/*/*.json")):
            record = _read(path)
            key = (record.source, record.usage, record.partition)
            if key not in latest or latest[key].imported_at < record.imported_at:
                latest[key] = record
        for key in sorted(latest):
            yield latest[key]

    def _path(self, batch: str, usage: str, configuration: str) -> Path:
        source, partition, digest = batch.split("/")
        name = f"{file_name(usage)}.{digest}.{configuration[:16]}.json"
        return self._folder / source / partition / name


def _read(path: Path) -> ImportRecord:
    stored: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    stored["files"] = tuple(
        FileTotals(
            name=file["name"],
            digest=file["digest"],
            size=file["size"],
            totals=ControlTotals(**{k: _total(v) for k, v in file["totals"].items()}),
        )
        for file in stored["files"]
    )
    stored["out_of_scope"] = {why: _total(total) for why, total in stored["out_of_scope"].items()}
    return ImportRecord(**stored)


def _total(stored: dict[str, Any]) -> Total:
    return Total(stored["rows"], Decimal(stored["quantity"]))
