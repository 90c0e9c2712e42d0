"""Deliveries of a legacy system, the same on every machine: arithmetic on row numbers, no chance.

They are staged as an import stages them: Parquet parts in the order of the delivery.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path

import duckdb
import polars as pl

from spanner_pipeline.control import Total
from spanner_pipeline.events import event_columns
from spanner_pipeline.meters import Dimension, Meter

METER = Meter(
    name="api_requests",
    unit="request",
    dimensions=(
        Dimension(name="region", type="string", required=False),
        Dimension(name="plan", type="string", required=False),
    ),
)
COLUMNS = tuple(event_columns(METER))
PART_ROWS = 200_000
SUBJECTS = 10_000

_FIRST_DAY = date(2024, 1, 1)
_DAYS, _DAY_ROWS = 10, 1_000_000
_ROWS = """
    SELECT 'legacy:org_' || subject || ':api_requests:row_' || i AS idempotency_key,
        'org_' || subject AS subject,
        make_timestamptz(epoch_us(TIMESTAMP '{day}') + (i - {first}) * 86400000000 // {rows})
            AS "timestamp",
        CAST(mixed % 1000000 + 1 AS DECIMAL(38, 9)) / 1000 AS quantity,
        ['eu', 'us', 'ap', 'sa'][1 + mixed // 7 % 4] AS dim_region,
        ['free', 'pro', 'team'][1 + mixed // 13 % 3] AS dim_plan,
        CAST(1 AS BIGINT) AS revision, 'legacy' AS source,
        'legacy/{day}/0123456789abcdef' AS import_batch,
        'legacy/export-{day}.csv' AS source_file, i - {first} + 2 AS source_line, i, mixed
    FROM (SELECT i, mixed, mixed // 3 % {subjects} AS subject
        FROM (SELECT i, i * 2654435761 % 4294967296 AS mixed
            FROM range({first}::BIGINT, ({first} + {rows})::BIGINT) AS rows(i)))"""

_QUANTITY = "CAST(quantity AS DECIMAL(38, 9)) AS quantity"
DELIVERIES = {
    "initial": f"SELECT * REPLACE ({_QUANTITY}) FROM ({{rows}})",
    "again": f"""SELECT * REPLACE ({_QUANTITY}, 'legacy/again.csv.gz' AS source_file,
        'legacy/again/0123456789abcdef' AS import_batch) FROM ({{rows}}) ORDER BY mixed""",
    "corrections": """SELECT * REPLACE (CAST(quantity + 1 AS DECIMAL(38, 9)) AS quantity,
        CAST(2 AS BIGINT) AS revision, 'legacy/corrections.csv' AS source_file,
        'legacy/corrections/0123456789abcdef' AS import_batch) FROM ({rows}) WHERE i % 10 = 3""",
    "late": f"""SELECT * REPLACE ({_QUANTITY}, 'legacy/late.csv' AS source_file,
        replace(idempotency_key, ':row_', ':late_') AS idempotency_key,
        'legacy/late/0123456789abcdef' AS import_batch) FROM ({{rows}}) WHERE i % 20 = 7""",
    "moved": f"""SELECT * REPLACE ({_QUANTITY}, CAST(3 AS BIGINT) AS revision,
        "timestamp" + INTERVAL 1 DAY AS "timestamp", 'legacy/moved.csv' AS source_file,
        'legacy/moved/0123456789abcdef' AS import_batch) FROM ({{rows}}) WHERE i % 100 = 9""",
}
"""What each delivery holds of a day's rows."""


@dataclass(frozen=True)
class Delivery:
    """One staged delivery."""

    folder: Path

    @property
    def parts(self) -> str:
        """A pattern for its Parquet parts."""
        return str(self.folder / "*.parquet")

    @property
    def totals(self) -> dict[str, Total]:
        """What it holds, by source file."""
        stored = json.loads((self.folder / "totals.json").read_text(encoding="utf-8"))
        return {file: Total(rows, Decimal(text)) for file, (rows, text) in stored.items()}

    @property
    def total(self) -> Total:
        """What it holds."""
        return sum(self.totals.values(), Total())


def days_of(events: int) -> Iterator[tuple[date, int, int]]:
    """The days of so many events: each with its first row number and how many it has."""
    rows = min(_DAY_ROWS, max(1, events // _DAYS))
    for number in range(max(1, events // rows)):
        yield _FIRST_DAY + timedelta(days=number), number * rows, rows


def generate(folder: Path, events: int, names: Sequence[str] = tuple(DELIVERIES)) -> None:
    """Write deliveries, day by day."""
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'; SET memory_limit = '1GB'")
        for name in names:
            rows, target = DELIVERIES[name], folder / name
            target.mkdir(parents=True, exist_ok=True)
            for number, (day, first, count) in enumerate(days_of(events)):
                generated = _ROWS.format(day=day, first=first, rows=count, subjects=SUBJECTS)
                chosen = connection.sql(rows.format(rows=generated))
                _write(chosen.pl().select(COLUMNS), target, number, other=name == "again")
            found = connection.execute(f"""
                SELECT source_file, count(*), sum(quantity)::VARCHAR
                FROM read_parquet('{target}/*.parquet') GROUP BY ALL""").fetchall()
            totals = {file: (count, quantity) for file, count, quantity in found}
            (target / "totals.json").write_text(json.dumps(totals), encoding="utf-8")


def _write(rows: pl.DataFrame, folder: Path, day: int, *, other: bool) -> None:
    """Write a day's rows in parts; `other` makes other files of the same rows."""
    size = PART_ROWS * 2 // 3 if other else PART_ROWS
    for index, part in enumerate(rows.iter_slices(size)):
        file = folder / f"accepted-{day:05}{index:03}.parquet"
        part.write_parquet(file, compression="snappy" if other else "zstd")
