"""Parquet files of events below a table's folder, a day in each, as `day_files` says.

What was staged as such a file is taken over. Else DuckDB selects the rows and Polars sorts and
writes them: together less than half the CPU of DuckDB's own ORDER BY and COPY, because only row
numbers are sorted (`make bench`). Where nothing is to be selected, Polars reads them too, which
spares the way from one engine to the other.
"""

from __future__ import annotations

import json
import shutil
import uuid
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import Any

import duckdb
import polars as pl

from spanner_pipeline.day_files import (
    ROWS_PER_FILE,
    SORT_ON_DISK,
    write_day_file,
    write_sorted,
)

DAY = "event_date"
"""The partition column: the UTC day of the event's timestamp."""

_BATCH_ROWS = 20_000
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
        location = _new_place(folder, day)
        write_day_file(frame, day, location)
        yield _written(location, folder, day)


def take_over(files: Iterable[Path], folder: Path, day: date) -> Iterator[WrittenFile]:
    """Have staged files of one day stand below a table's folder, too."""
    for file in files:
        location = _new_place(folder, day)
        try:
            location.hardlink_to(file)
        except OSError:  # another file system, or one without links
            shutil.copyfile(file, location)
        yield _written(location, folder, day)


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
            location = _new_place(folder, day)
            write_sorted(frame, location)
            yield _written(location, folder, day)


def _new_place(folder: Path, day: date) -> Path:
    location = folder / f"{DAY}={day}" / f"{uuid.uuid4().hex}.parquet"
    location.parent.mkdir(parents=True, exist_ok=True)
    return location


def _written(location: Path, folder: Path, day: date) -> WrittenFile:
    """What a file holds, as it stands there."""
    told = pl.read_parquet(location, columns=list(STATISTICS), hive_partitioning=False, glob=False)
    name, size = str(location.relative_to(folder)), location.stat().st_size
    return WrittenFile(name, location, day, told.height, size, _statistics(told))


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
