"""What the ledger knows of one import, or of one that was taken out, and how it is written down."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, fields
from decimal import Decimal
from typing import Any

from spanner_pipeline.control import ControlTotals, Replacement, Total

IMPORT, REVERT = "import_record", "revert_record"
"""Where a commit says what it did."""


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
        imported_by: Who ran it, and where.
        builds_on: The earlier import batches whose rows it met in the lake.
        replaced: The file with the events that it corrected or removed, as they were before.
        lookup: Digest of the lookup file of its customers; empty without one.
        replacement: What a snapshot did to its scopes; None for other imports.
        scopes: The file that says so of each scope.
        opening: Digest of the readings before, where the quantity is cumulative.
        closing: Digest of the readings after.
        readings: Rows and usage by what a reading of a counter was.
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
    imported_by: str = ""
    builds_on: tuple[str, ...] = ()
    replaced: str | None = None
    lookup: str = ""
    replacement: Replacement | None = None
    scopes: str | None = None
    opening: str | None = None
    closing: str | None = None
    readings: dict[str, Total] = field(default_factory=dict)

    @property
    def order(self) -> tuple[int, str]:
        """Its place among the imports into its table."""
        return self.version_after or 0, self.imported_at

    @property
    def totals(self) -> ControlTotals:
        """The control totals of all files."""
        total = ControlTotals()
        for file in self.files:
            total += file.totals
        return total

    def said_in_commit(self) -> dict[str, str]:
        """What the commit of this import says about itself."""
        return {"import_batch": self.batch, "usage": self.usage, IMPORT: spell(self, None)}


@dataclass(frozen=True)
class RevertRecord:
    """One import batch taken out of one meter's table.

    Attributes:
        batch: The import batch.
        meter: The meter.
        table: Identity of the meter's table.
        removed: Rows and quantity that went.
        restored: Rows and quantity of earlier imports that came back.
        forced: Whether later imports that build on it were left behind.
        version_before: Delta version before.
        version_after: Delta version after; the same where the batch had no rows.
        reverted_at: When, ISO 8601 in UTC.
        reverted_by: Who ran it, and where.
    """

    batch: str
    meter: str
    table: str
    removed: Total
    restored: Total
    forced: bool
    version_before: int
    version_after: int
    reverted_at: str
    reverted_by: str

    def said_in_commit(self) -> dict[str, str]:
        """What the commit of this revert says about itself."""
        return {"reverted_batch": self.batch, REVERT: spell(self, None)}

    def undid(self, record: ImportRecord) -> bool:
        """Whether it came after an import into its table, and took out its batch."""
        return self.batch == record.batch and self.came_after(record)

    def came_after(self, record: ImportRecord) -> bool:
        """Whether it came after an import into its table."""
        reverted = (self.version_after, self.reverted_at)
        return self.table == record.table and record.order < reverted


def spell(record: ImportRecord | RevertRecord, indent: int | None) -> str:
    """As JSON."""
    return json.dumps(asdict(record), indent=indent, default=str)


def read_import(text: str) -> ImportRecord:
    """Read what `spell` wrote of an import."""
    stored: dict[str, Any] = json.loads(text)
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
    readings = stored.get("readings", {})
    stored["readings"] = {kind: _total(total) for kind, total in readings.items()}
    stored["builds_on"] = tuple(stored.get("builds_on", ()))
    if replacement := stored.get("replacement"):
        totals = (_total(replacement[f.name]) for f in fields(Replacement)[2:])
        stored["replacement"] = Replacement(replacement["scopes"], replacement["stale"], *totals)
    return ImportRecord(**stored)


def read_revert(text: str) -> RevertRecord:
    """Read what `spell` wrote of a revert."""
    stored: dict[str, Any] = json.loads(text)
    totals = {name: _total(stored[name]) for name in ("removed", "restored")}
    return RevertRecord(**{**stored, **totals})


def _total(stored: dict[str, Any]) -> Total:
    return Total(stored["rows"], Decimal(stored["quantity"]))
