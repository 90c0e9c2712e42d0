"""The rows of one number: those that the lake counts in it, and those that it does not, and why.

Belongs here: selecting them. Not here: which number is meant, or what the old bill says (`trace`).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

import duckdb
import polars as pl

from spanner_pipeline.control import Total
from spanner_pipeline.engine import open_duckdb
from spanner_pipeline.lake.quarantine import Kind, quarantine_files
from spanner_pipeline.lake.records import ImportRecord
from spanner_pipeline.lake.sums import literal, totals_by
from spanner_pipeline.lake.table import EventTable
from spanner_pipeline.meters import MAX_PRECISION, Meter
from spanner_pipeline.reconciliation.causes import CONFLICTS, LEFT_OUT, REJECTED, REPEATED
from spanner_pipeline.reconciliation.spelling import disarmed, exact_text
from spanner_pipeline.root import DataRoot
from spanner_pipeline.usage.filters import group_sql

COUNTED = "counted"
SHOWN = 10
"""Rows that are shown of each kind; all of them are in the CSV."""

_BATCH_ROWS = 100_000
_KINDS: dict[Kind, str] = {
    "rejected": REJECTED,
    "conflicts": CONFLICTS,
    "left_out": LEFT_OUT,
    "repeated": REPEATED,
}
_PLACE = "{0}source_file || ':' || {0}source_line"
_SAYS = "{0}quantity::VARCHAR || ' of ' || {0}subject || ' at ' || {0}timestamp::VARCHAR"
_REASON = {
    "rejected": "reason_code",
    "conflicts": "'another ' || array_to_string(fields_that_differ, ', ') || ' under a known key'",
    "left_out": "why",
    "repeated": "'delivered once more under a key that is counted already'",
}
_HINT = {
    "rejected": "concat_ws(' ', field, coalesce('`' || value || '`:', ':'), hint)",
    "conflicts": f"{_PLACE.format('kept_')} || ' is kept: ' || {_SAYS.format('kept_')}",
    "left_out": "''",
    "repeated": f"'counted from ' || {_PLACE.format('first_')}",
}
_ORIGINAL = {"rejected": "original"}
_NO_KEY = ("left_out",)
_GROUP = ("record", "reason")
_Found = dict[tuple[str, str], list[tuple[Total, pl.DataFrame]]]


@dataclass(frozen=True)
class Slice:
    """Which usage a number means.

    Attributes:
        meter: The meter.
        zone: The clock of its period.
        start: Its first instant, UTC.
        end: The first instant after it, UTC.
        subject: Whose; None where it is of all.
        dimensions: The dimensions that it is for.
        only: The values of dimensions that count at all.
    """

    meter: Meter
    zone: str
    start: datetime
    end: datetime
    subject: str | None = None
    dimensions: Mapping[str, str | None] = field(default_factory=dict)
    only: Mapping[str, Sequence[str]] = field(default_factory=dict)

    @property
    def columns(self) -> list[str]:
        """The columns of the dimensions that it asks for."""
        return [f"dim_{name}" for name in (*self.dimensions, *self.only)]

    def during(self, prefix: str = "") -> str:
        """SQL that is true for rows of its time."""
        time, start, end = f'"{prefix}timestamp"', self.start.isoformat(), self.end.isoformat()
        return f"({time} >= TIMESTAMPTZ '{start}' AND {time} < TIMESTAMPTZ '{end}')"

    def where(self, prefix: str = "") -> str:
        """SQL that is true for its rows, in columns with this prefix."""
        conditions = [self.during(prefix)]
        if self.subject is not None:
            conditions.append(f'"{prefix}subject" = {literal(self.subject)}')
        for name, value in self.dimensions.items():
            said = "NULL" if value is None else literal(value)
            conditions.append(f"{self._group(name, prefix)} IS NOT DISTINCT FROM {said}")
        for name, values in self.only.items():
            listed = ", ".join(map(literal, values))
            conditions.append(f"{self._group(name, prefix)} IN ({listed})")
        return " AND ".join(conditions)

    def _group(self, name: str, prefix: str) -> str:
        return group_sql(self.meter, name).replace('"dim_', f'"{prefix}dim_')


@dataclass(frozen=True)
class Aside:
    """Rows of one kind that a number does not count.

    Attributes:
        record: Which of `CAUSES` they may be.
        reason: Why they are not counted.
        total: How many they are, and what they add up to.
        rows: The first of them: `source_file`, `source_line`, `timestamp`, `subject`, `quantity`
            (text), `hint`, `original`.
    """

    record: str
    reason: str
    total: Total
    rows: pl.DataFrame


def lake_rows(root: DataRoot, part: Slice) -> str:
    """SQL that selects the events of a number."""
    table = EventTable(root, part.meter)
    first, last = part.start.date(), part.end.date()
    files = [file for file in table.files() if first <= file.day <= last]
    return table.select(part.where(), files)


def asides(
    connection: duckdb.DuckDBPyConnection,
    root: DataRoot,
    part: Slice,
    imports: Sequence[ImportRecord],
) -> list[Aside]:
    """What a number does not count, by kind and reason."""
    found: _Found = defaultdict(list)
    for rows, scale in _beside(root, part, imports):
        for place, part_of_it in _summed(connection, rows, scale).items():
            found[place].append(part_of_it)
    return _gathered(found)


def unplaced(
    connection: duckdb.DuckDBPyConnection,
    root: DataRoot,
    part: Slice,
    imports: Sequence[ImportRecord],
) -> list[Aside]:
    """Rejected rows that may be the number's, but whose subject or time nobody can read."""
    maybe = f"coalesce({part.during()}, true)"
    lacking, named = '"timestamp" IS NULL', "''"
    if part.subject is not None:
        maybe += f" AND coalesce(subject = {literal(part.subject)}, true)"
        lacking += " OR subject IS NULL"
        mine = literal(part.subject)
        named = (
            f"CASE WHEN contains(original, {mine}) THEN ', its line names ' || {mine} ELSE '' END"
        )
    found: _Found = defaultdict(list)
    for files, scale, _ in _alike(quarantine_files(root, imports, "rejected"), "", ()):
        rows = f"""SELECT {literal(REJECTED)} AS record, reason_code || {named} AS reason,
            "timestamp", subject, quantity, source_file, source_line,
            {_HINT["rejected"]} AS hint, original
            FROM {_read(files)} WHERE ({lacking}) AND {maybe}"""
        for place, part_of_it in _summed(connection, rows, scale).items():
            found[place].append(part_of_it)
    return _gathered(found)


def _summed(
    connection: duckdb.DuckDBPyConnection, rows: str, scale: int
) -> dict[tuple[str, str], tuple[Total, pl.DataFrame]]:
    """Rows by record and reason: their totals, and the first of them."""
    readable = f"SELECT record, reason, coalesce(quantity, 0) AS quantity FROM ({rows})"
    sums = totals_by(connection, readable, ("record", "reason"), scale)
    ranked = connection.sql(f"""
        SELECT record, reason, source_file, source_line, "timestamp", subject,
            quantity::VARCHAR AS quantity, hint, original FROM ({rows})
        QUALIFY row_number() OVER (
            PARTITION BY record, reason ORDER BY "timestamp", source_file, source_line
        ) <= {SHOWN}""")
    shown = pl.DataFrame(ranked.to_arrow_table())
    return {
        (record, reason): (total, shown.filter(record=record, reason=reason).drop(_GROUP))
        for (record, reason), total in sums.items()
    }


def _gathered(found: _Found) -> list[Aside]:
    return [
        Aside(
            record,
            reason,
            sum((total for total, _ in parts), Total()),
            pl.concat(rows for _, rows in parts)
            .sort("timestamp", "source_file", "source_line")
            .head(SHOWN),
        )
        for (record, reason), parts in sorted(found.items())
    ]


def every_row(
    root: DataRoot, part: Slice, imports: Sequence[ImportRecord]
) -> Iterator[pl.DataFrame]:
    """All rows of a number, counted and not, in batches that are ready to be written as CSV."""
    dimensions = [dimension.column for dimension in part.meter.dimensions]
    listed = "".join(f', "{name}"::VARCHAR AS "{name}"' for name in dimensions)
    shared = f"""record, reason, "timestamp", subject{listed}, quantity::VARCHAR AS quantity,
        source_file, source_line, key, hint, original"""
    lake = f"""SELECT *, {literal(COUNTED)} AS record, '' AS reason, idempotency_key AS key,
        '' AS hint, '' AS original FROM ({lake_rows(root, part)})"""
    selects = [lake, *(rows for rows, _ in _beside(root, part, imports, dimensions))]
    union = " UNION ALL ".join(f"SELECT {shared} FROM ({rows})" for rows in selects)
    with open_duckdb() as connection:
        found = connection.sql(f"""
            SELECT * FROM ({union})
            ORDER BY record <> {literal(COUNTED)}, "timestamp", record, key, source_file,
                source_line""")
        for batch in found.to_arrow_reader(_BATCH_ROWS):
            yield _for_csv(pl.DataFrame(batch), part, dimensions)


def _for_csv(rows: pl.DataFrame, part: Slice, dimensions: Sequence[str]) -> pl.DataFrame:
    time = pl.col("timestamp")
    texts = ("subject", *dimensions, "source_file", "key", "reason", "hint", "original")
    return rows.with_columns(
        time.dt.strftime("%Y-%m-%dT%H:%M:%S%.6fZ").alias("time_utc"),
        time.dt.convert_time_zone(part.zone).dt.strftime("%Y-%m-%d %H:%M:%S%.6f %:z").alias("time"),
        exact_text("quantity"),
        *(disarmed(pl.col(name)).alias(name) for name in texts),
    ).select(
        "record",
        "time",
        "time_utc",
        "subject",
        *dimensions,
        "quantity",
        pl.lit(part.meter.unit).alias("unit"),
        *("source_file", "source_line", "key", "reason", "hint", "original"),
    )


def _beside(
    root: DataRoot,
    part: Slice,
    imports: Sequence[ImportRecord],
    dimensions: Sequence[str] = (),
) -> Iterator[tuple[str, int]]:
    """SQL for rows that a number does not count, with the digits of their quantities."""
    asked = list(dict.fromkeys([*part.columns, *dimensions]))
    for kind, record in _KINDS.items():
        side = "refused_" if kind == "conflicts" else ""
        for files, scale, lacking in _alike(quarantine_files(root, imports, kind), side, asked):
            sides = ("refused_", "kept_") if kind == "conflicts" else ("",)
            added = "".join(f', NULL AS "{s}{name}"' for s in sides for name in lacking)
            rows = f"SELECT *{added} FROM {_read(files)}"
            inside = " OR ".join(f"({part.where(s)})" for s in sides)
            key = "''" if kind in _NO_KEY else "idempotency_key"
            named = "".join(f', "{side}{name}" AS "{name}"' for name in asked)
            yield (
                f"""SELECT {literal(record)} AS record, {_REASON[kind]} AS reason,
                "{side}timestamp" AS "timestamp", {side}subject AS subject{named},
                {side}quantity::DECIMAL({MAX_PRECISION}, {scale}) AS quantity,
                {side}source_file AS source_file, {side}source_line AS source_line, {key} AS key,
                {_HINT[kind]} AS hint, {_ORIGINAL.get(kind, "''")} AS original
                FROM ({rows}) WHERE {inside}""",
                scale,
            )


def _alike(
    files: Sequence[Path], prefix: str, columns: Sequence[str]
) -> Iterator[tuple[list[Path], int, tuple[str, ...]]]:
    """Files by the digits of their quantities and the columns that they lack.

    DuckDB would cut all to the digits of the first; a meter may have got dimensions since.
    """
    found: dict[tuple[int, tuple[str, ...]], list[Path]] = defaultdict(list)
    for file in files:
        schema = pl.read_parquet_schema(file)
        quantity = schema[f"{prefix}quantity"]
        scale = quantity.scale if isinstance(quantity, pl.Decimal) else 0
        lacking = tuple(name for name in columns if prefix + name not in schema)
        found[scale, lacking].append(file)
    for (scale, lacking), alike in found.items():
        yield alike, scale, lacking


def _read(files: Sequence[Path]) -> str:
    listing = ", ".join(literal(file) for file in files)
    return f"read_parquet([{listing}], union_by_name = true, hive_partitioning = false)"
