"""Parquet files of one day of events, sorted by (subject, timestamp), zstd.

Sorted so, files are 15 % smaller and the usage of one customer stands in few row groups. DuckDB
selects the rows and Polars sorts and writes them: together less than half the CPU of DuckDB's own
ORDER BY and COPY, because only row numbers are sorted (`make bench`). Where nothing is to be
selected, Polars reads them too, which spares the way from one engine to the other.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from pathlib import Path
from typing import Any

import duckdb
import polars as pl

DAY = "event_date"
"""The partition column: the UTC day of the event's timestamp."""

ROWS_PER_FILE = 250_000
"""What is held in memory to be sorted; a day has a file for every so many events."""

SORT_ON_DISK = 8 * ROWS_PER_FILE
"""From here on DuckDB sorts the whole day, so that its files do not overlap."""

_BATCH_ROWS = 20_000
_DAY_BITS = 37  # microseconds of a day
_LONGEST_STATISTIC = 200
STATISTICS = ("subject", "timestamp")
"""The columns of which each file says the least and the greatest value."""


@dataclass(frozen=True)
class WrittenFile:
    """A Parquet file that stands below a table's folder and is not part of the table yet.

    Attributes:
        name: Its path below the folder.
        location: Where it is.
        day: The UTC day of its events.
        rows: How many it has.
        size: Its bytes.
        statistics: Delta's statistics of it, as JSON.
    """

    name: str
    location: Path
    day: date
    rows: int
    size: int
    statistics: str


def write_day(
    connection: duckdb.DuckDBPyConnection, events: str, rows: int, folder: Path, day: date
) -> Iterator[WrittenFile]:
    """Write events of one day below a table's folder.

    Args:
        connection: Where `events` can be selected.
        events: SQL that selects them, with the partition column.
        rows: How many there are, about.
        folder: The table's folder.
        day: Their UTC day.
    """
    order = " ORDER BY subject, timestamp" if rows > SORT_ON_DISK else ""
    relation = connection.sql(f"SELECT * EXCLUDE ({DAY}) FROM ({events}){order}")
    batches = relation.to_arrow_reader(_BATCH_ROWS)
    yield from write_frames((pl.DataFrame(batch) for batch in batches), folder, day)


def write_frames(frames: Iterator[pl.DataFrame], folder: Path, day: date) -> Iterator[WrittenFile]:
    """Write events of one day below a table's folder.

    Args:
        frames: The events, without the partition column.
        folder: The table's folder.
        day: Their UTC day.
    """
    for frame in _chunks(frames):
        yield _written(_sorted(frame, day), folder, day)


def write_without(
    file: Path, rows: pl.Series, folder: Path, day: date, take: Callable[[pl.DataFrame, date], None]
) -> Iterator[WrittenFile]:
    """Write a file of one day anew without some of its events, in the same order.

    Args:
        file: The file.
        rows: Numbers of the rows to leave out, from 0.
        folder: The table's folder.
        day: The UTC day of its events.
        take: Given what is left out.
    """
    events = pl.scan_parquet(file, hive_partitioning=False, glob=False)
    height = events.select(pl.len()).collect().item()
    for offset in range(0, height, ROWS_PER_FILE):
        frame = events.slice(offset, ROWS_PER_FILE).collect()
        numbers = pl.int_range(offset, offset + frame.height, dtype=pl.Int64, eager=True)
        left_out = numbers.is_in(rows.implode())
        take(frame.filter(left_out), day)
        frame = frame.filter(~left_out)  # by the same name, so that memory holds one
        if not frame.is_empty():
            yield _written(frame, folder, day)


def _written(events: pl.DataFrame, folder: Path, day: date) -> WrittenFile:
    name = f"{DAY}={day}/{uuid.uuid4().hex}.parquet"
    location = folder / name
    location.parent.mkdir(parents=True, exist_ok=True)
    events.write_parquet(location, compression="zstd", compression_level=3)
    size = location.stat().st_size
    return WrittenFile(name, location, day, events.height, size, _statistics(events))


def _chunks(frames: Iterator[pl.DataFrame]) -> Iterator[pl.DataFrame]:
    """The same rows in frames of `ROWS_PER_FILE`, the last with what is left."""
    held: list[pl.DataFrame] = []
    for frame in frames:
        held.append(frame)
        while sum(one.height for one in held) >= ROWS_PER_FILE:
            chunk = pl.concat(held)
            held = [chunk.slice(ROWS_PER_FILE)]
            yield chunk.head(ROWS_PER_FILE)
    if any(frame.height for frame in held):
        yield pl.concat(held)


def _sorted(frame: pl.DataFrame, day: date) -> pl.DataFrame:
    """The rows by (subject, timestamp); empties the frame that it is given, to save memory."""
    subject = frame["subject"]
    place = subject.cast(pl.Enum(subject.unique().sort())).to_physical().cast(pl.UInt64)
    midnight = datetime.combine(day, time(), UTC)
    of_day = (frame["timestamp"] - midnight).dt.total_microseconds().cast(pl.UInt64)
    order = ((place * (1 << _DAY_BITS)) + of_day).arg_sort()
    columns = [
        column if _constant(column) else column.rechunk().gather(order)
        for column in (frame.drop_in_place(name) for name in list(frame.columns))
    ]
    return pl.DataFrame(columns)


def _constant(column: pl.Series) -> bool:
    if column.null_count():
        return column.null_count() == len(column)
    return column.dtype == pl.String and bool((column == column[0]).all())


def _statistics(frame: pl.DataFrame) -> str:
    said: dict[str, dict[str, Any]] = {"minValues": {}, "maxValues": {}, "nullCount": {}}
    for name in STATISTICS:
        column = frame[name]
        least, most = (_text(value) for value in (column.min(), column.max()))
        if max(len(least), len(most)) <= _LONGEST_STATISTIC:
            said["minValues"][name], said["maxValues"][name] = least, most
            said["nullCount"][name] = column.null_count()
    return json.dumps({"numRecords": frame.height, **said})


def _text(value: Any) -> str:
    return value.isoformat(timespec="microseconds") if isinstance(value, datetime) else str(value)
