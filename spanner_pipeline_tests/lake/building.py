"""A tiny data root: one meter, one source, deliveries written as CSV, the lake read back."""

from __future__ import annotations

import csv
import gzip
import io
import json
import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from decimal import Context, Decimal, localcontext
from pathlib import Path
from typing import Any

import duckdb
import polars as pl
from deltalake import DeltaTable

from spanner_pipeline.configuration.source import WHOLE
from spanner_pipeline.importing import UsageImport, import_partition
from spanner_pipeline.lake.ledger import Ledger
from spanner_pipeline.lake.records import ImportRecord
from spanner_pipeline.lake.table import EventTable
from spanner_pipeline.meters import Meter
from spanner_pipeline.root import Catalog, DataRoot, load_catalog

REGION: dict[str, Any] = {"name": "region", "type": "string", "required": False}


@dataclass(frozen=True)
class Row:
    """One row of a legacy export."""

    id: str = "1"
    subject: str = "org_1"
    quantity: str = "1"
    time: str = "2024-01-01T00:00:00Z"
    region: str = ""
    rev: str = "1"

    @property
    def payload(self) -> tuple[str, datetime, Decimal, str | None]:
        """What the lake must hold for it."""
        moment = datetime.fromisoformat(self.time).astimezone(UTC)
        return self.subject, moment, Decimal(self.quantity), self.region or None

    def but(self, **changes: str) -> Row:
        """The same row with other fields."""
        return replace(self, **changes)


FIELDS = ("id", "subject", "quantity", "time", "region", "rev")


def csv_bytes(rows: Iterable[Row], columns: Sequence[str] = FIELDS, end: str = "\n") -> bytes:
    """Spell rows as CSV."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator=end)
    writer.writerow(columns)
    writer.writerows([getattr(row, name) for name in columns] for row in rows)
    return text.getvalue().encode()


@dataclass
class TinyRoot:
    """A data root with one meter and one source, of one partition or (`daily`) of one a day."""

    path: Path
    meter_name: str = "calls"
    dimensions: list[dict[str, Any]] = field(default_factory=lambda: [REGION])
    decimals: int = 9
    corrections: bool | dict[str, Any] = False
    identity: Any = "id"
    across_subjects: bool = False
    daily: bool = False
    usage: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Write the YAML."""
        (self.path / "legacy").mkdir(parents=True, exist_ok=True)
        self.declare()

    def declare(self) -> None:
        """Write the YAML as it is declared now."""
        kind = "composite" if isinstance(self.identity, list) else "native"
        whole = self.identity == "multiset" or "snapshot" in self.identity
        identity = self.identity if whole else {kind: self.identity}
        if self.across_subjects:
            identity |= {"across_subjects": "true"}
        source: dict[str, Any] = {
            "source": "legacy",
            "format": {"family": "delimited"},
            "files": "legacy/{year}-{month}-{day}*" if self.daily else "legacy/*",
            "partitions": (
                {"grain": "day", "from": "2024-01-01", "to": "2025-01-01"}
                if self.daily
                else {"grain": "whole"}
            ),
            "identity": identity,
            "usage": [
                {
                    "meter": self.meter_name,
                    "subject": "subject",
                    "quantity": "quantity",
                    "timestamp": "time",
                    "dimensions": {
                        d["name"]: d["name"].rsplit(".", 1)[-1] for d in self.dimensions
                    },
                    **self.usage,
                }
            ],
        }
        if self.corrections:
            by_column = {"revision": {"column": "rev", "type": "number"}}
            source["corrections"] = by_column if self.corrections is True else self.corrections
        meter = {
            "name": self.meter_name,
            "unit": "call",
            "decimals": self.decimals,
            "dimensions": self.dimensions,
        }
        for folder, document in (("meters", meter), ("sources", source)):
            (self.path / folder).mkdir(exist_ok=True)
            # JSON is YAML.
            text = json.dumps(document, ensure_ascii=False)
            (self.path / folder / "one.yaml").write_text(text, encoding="utf-8")

    @property
    def root(self) -> DataRoot:
        """The data root."""
        return DataRoot(self.path)

    @property
    def catalog(self) -> Catalog:
        """What it declares."""
        return load_catalog(self.root)

    @property
    def meter(self) -> Meter:
        """Its meter."""
        return self.catalog.meters[self.meter_name]

    def place(self, files: dict[str, bytes]) -> None:
        """Put a delivery's files in place of those of the last."""
        for old in (self.path / "legacy").iterdir():
            old.unlink()
        for name, data in files.items():
            packed = gzip.compress(data) if name.endswith(".gz") else data
            (self.path / "legacy" / name).write_bytes(packed)

    def run(self, partition: str = WHOLE) -> UsageImport:
        """Import what is in place."""
        catalog = self.catalog
        (done,) = import_partition(self.root, catalog, catalog.sources["legacy"], partition)
        return done

    def deliver(self, rows: Iterable[Row], name: str = "delivery.csv") -> UsageImport:
        """Place rows as one file and import it."""
        self.place({name: csv_bytes(rows)})
        return self.run()

    @property
    def table(self) -> EventTable:
        """The lake's table as it is now."""
        return EventTable(self.root, self.meter)

    @property
    def version(self) -> int | None:
        """Its Delta version."""
        return self.table.version

    @property
    def delta(self) -> DeltaTable:
        """The table through the library alone."""
        return DeltaTable(self.table.path)

    def events(self) -> pl.DataFrame:
        """All events of the lake, through the package's own SQL."""
        return stored_events(self.root, self.meter)

    def payloads(self) -> dict[str, tuple[str, datetime, Decimal, str | None]]:
        """The payload of each identity; every key must stand once, on the day of its timestamp."""
        events = self.events()
        assert events["idempotency_key"].n_unique() == events.height, "a key stands twice"
        assert (events["event_date"] == events["timestamp"].dt.date()).all()
        columns = events.select("idempotency_key", "subject", "timestamp", "quantity", "dim_region")
        return {key.rsplit(":", 1)[1]: tuple(payload) for key, *payload in columns.iter_rows()}

    def quantities(self) -> dict[str, Decimal]:
        """The quantity of each identity."""
        return {identity: payload[2] for identity, payload in self.payloads().items()}

    def conflicts(self) -> list[dict[str, Any]]:
        """All conflicts in quarantine, in order."""
        files = sorted((self.path / "quarantine").glob("*/*/*.conflicts.parquet"))
        return [row for file in files for row in pl.read_parquet(file).iter_rows(named=True)]

    def rejected(self) -> list[dict[str, Any]]:
        """All rejected rows in quarantine."""
        files = sorted((self.path / "quarantine").glob("*/*/*.rejected.parquet"))
        return [row for file in files for row in pl.read_parquet(file).iter_rows(named=True)]

    def repeated(self) -> list[dict[str, Any]]:
        """All repeated rows in quarantine."""
        files = sorted((self.path / "quarantine").glob("*/*/*.repeated.parquet"))
        return [row for file in files for row in pl.read_parquet(file).iter_rows(named=True)]

    def records(self) -> list[ImportRecord]:
        """The latest import of the source."""
        return list(Ledger(self.root).current("legacy"))

    def lake_files(self) -> dict[str, bytes]:
        """Every file of the lake's tables with its bytes."""
        folder = self.path / "lake" / "events"
        return {
            str(file.relative_to(folder)): file.read_bytes()
            for file in sorted(folder.rglob("*"))
            if file.is_file()
        }


def stored_events(root: DataRoot, meter: Meter) -> pl.DataFrame:
    """All events of a meter, through the package's own SQL."""
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        return connection.sql(EventTable(root, meter).select()).pl()


def shuffled(rows: Sequence[Row], seed: int = 1) -> list[Row]:
    """The same rows in another order, the same one each time."""
    return random.Random(seed).sample(rows, len(rows))  # noqa: S311


def exact_total(quantities: Iterable[Decimal]) -> Decimal:
    """Their sum with every digit; Python's own context rounds to 28."""
    with localcontext(Context(prec=100)):
        return sum(quantities, Decimal(0))


def balance(done: UsageImport) -> None:
    """Law 1, checked again from the outside: each file, in rows and quantity."""
    for file in done.record.files:
        t = file.totals
        parts = (t.new, t.present, t.corrected, t.conflicting, t.rejected, t.out_of_scope)
        assert sum(p.rows for p in parts) == t.read.rows
        assert exact_total(p.quantity for p in parts) == t.read.quantity
