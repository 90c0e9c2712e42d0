"""A staged delivery as the merge sees it: its events by UTC day.

A delivery may hold years in any order. Days are selected from the parts that have them; where that
would read each part many times, the parts are cut into days once, on disk.
"""

from __future__ import annotations

import shutil
from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path

import duckdb
import polars as pl

from spanner_pipeline.control import Total
from spanner_pipeline.day_files import ROWS_PER_FILE
from spanner_pipeline.events import event_columns
from spanner_pipeline.lake.sums import literal, totals_by
from spanner_pipeline.lake.table import EventTable
from spanner_pipeline.lake.writing import DAY
from spanner_pipeline.staging import Staged

_DAY_OF_EVENT = 'CAST(make_timestamp(epoch_us("timestamp")) AS DATE)'
"""The UTC day; a cast of the time itself asks a zone's calendar and takes ten times as long."""

_READS_PER_PART = 3


@dataclass(frozen=True)
class WholeDay:
    """All that is delivered of a day.

    Attributes:
        files: What was staged as the lake keeps it.
        frames: The rest, bit by bit, in the table's columns without the partition column.
    """

    files: list[Path]
    frames: Iterator[pl.DataFrame]


class Incoming:
    """The accepted events of one delivery."""

    def __init__(
        self,
        connection: duckdb.DuckDBPyConnection,
        staged: Staged,
        parts: Sequence[Path],
        table: EventTable,
    ) -> None:
        """Count them by day; cut them into days where they come mixed.

        Args:
            connection: Where they are counted.
            staged: The delivery.
            parts: Its parts with the rows that count.
            table: Where they shall enter.
        """
        self._columns = ", ".join(f'"{name}"' for name in event_columns(staged.meter))
        self._empty = f"SELECT {self._columns}, {DAY} FROM ({table.empty()})"
        self._no_events = pl.DataFrame(table.schema().empty_table()).drop(DAY)
        self.source, self.batch = staged.source, staged.batch
        name, batch = literal(staged.source.source), literal(staged.batch)
        self.constants = f"{name} AS source, {batch} AS import_batch"
        """The columns that are the same for all of its events."""
        self._day_files = {str(file) for file in staged.day_files}
        self._parts: dict[date, set[str]] = {}
        self._mixed: set[str] = set()
        self.totals: dict[tuple[date, str], Total] = {}
        """Rows and quantity by day and source file."""
        if not parts:
            return
        self._count(connection, parts, staged.meter.decimals)
        reads = sum(len(names) for names in self._parts.values())
        if reads > _READS_PER_PART * (len(parts) + len(self._parts)):
            folder = staged.folder / "by_day"
            shutil.rmtree(folder, ignore_errors=True)  # of an attempt that lost its commit
            connection.execute(f"""
                COPY ({self.select()}) TO {literal(folder)}
                (FORMAT parquet, PARTITION_BY ({DAY}))""")
            self._count(connection, sorted(folder.rglob("*.parquet")), staged.meter.decimals)

    def _count(
        self, connection: duckdb.DuckDBPyConnection, parts: Collection[Path], decimals: int
    ) -> None:
        found = totals_by(
            connection,
            f"SELECT filename, {_DAY_OF_EVENT} AS {DAY}, source_file, quantity FROM {_read(parts)}",
            ("filename", DAY, "source_file"),
            decimals,
        )
        names: dict[date, set[str]] = defaultdict(set)
        totals: dict[tuple[date, str], Total] = defaultdict(Total)
        for (part, day, file), total in found.items():
            names[day].add(part)
            totals[day, file] += total
        self._parts, self.totals = dict(names), dict(totals)
        seen = Counter(part for parts in names.values() for part in parts)
        self._mixed = {part for part, days in seen.items() if days > 1}

    @property
    def days(self) -> Mapping[date, int]:
        """How many events each day has."""
        rows: dict[date, int] = defaultdict(int)
        for (day, _), total in self.totals.items():
            rows[day] += total.rows
        return rows

    def select(self, days: Collection[date] | None = None) -> str:
        """SQL that selects the events of some days, or all, with the partition column."""
        chosen = self._parts if days is None else {day: self._parts[day] for day in days}
        if not chosen:
            return self._empty
        parts = sorted(set().union(*chosen.values()))
        others = len(chosen) < len(self._parts) and not self._mixed.isdisjoint(parts)
        where = f" WHERE {_DAY_OF_EVENT} IN ({_dates(chosen)})" if others else ""
        return f"SELECT {self._columns}, {_DAY_OF_EVENT} AS {DAY} FROM {_read(parts)}{where}"

    def whole(self, day: date) -> WholeDay:
        """All events of a day."""
        parts = self._parts[day]
        return WholeDay(sorted(map(Path, parts & self._day_files)), self._frames(day))

    def _frames(self, day: date) -> Iterator[pl.DataFrame]:
        midnight = datetime.combine(day, time(), UTC)
        of_day = pl.col("timestamp").is_between(midnight, midnight + timedelta(days=1), "left")
        for part in sorted(self._parts[day] - self._day_files):
            events = pl.scan_parquet(part, hive_partitioning=False, glob=False)
            height = events.select(pl.len()).collect().item()
            for offset in range(0, height, ROWS_PER_FILE):
                frame = events.slice(offset, ROWS_PER_FILE).collect()
                if part in self._mixed:
                    frame = frame.filter(of_day)
                # Columns that the meter had before are null; another type than the table's raises.
                yield pl.concat([self._no_events, frame], how="diagonal")


def _read(parts: Collection[object]) -> str:
    listing = ", ".join(literal(part) for part in parts)
    return f"read_parquet([{listing}], hive_partitioning = false, filename = true)"


def _dates(days: Collection[date]) -> str:
    return ", ".join(f"DATE '{day}'" for day in days)
