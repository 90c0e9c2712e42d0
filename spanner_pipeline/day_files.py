"""Files of one UTC day of events as the lake keeps them: sorted by (subject, timestamp), zstd.

Sorted so, files are 15 % smaller and the usage of one customer stands in few row groups.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection
from datetime import UTC, date, datetime, time
from itertools import accumulate
from pathlib import Path

import polars as pl

ROWS_PER_FILE = 250_000
"""What is held in memory to be sorted; a day has a file for every so many events."""

SORT_ON_DISK = 8 * ROWS_PER_FILE
"""From here on a day is sorted as a whole, on disk, so that its files do not overlap."""

_ROWS_HELD = 2 * ROWS_PER_FILE
_BYTES_HELD = 256 << 20
_MOST_DAYS = 100
_DAY_BITS = 37  # microseconds of a day


def write_day_file(events: pl.DataFrame, day: date, file: Path) -> None:
    """Write events of one day; the frame is empty afterwards, to save memory."""
    write_sorted(_sorted(events, day), file)


def write_sorted(events: pl.DataFrame, file: Path) -> None:
    """Write events that are sorted."""
    events.write_parquet(file, compression="zstd", compression_level=3)


class Gathering:
    """Events on their way to disk, gathered by day.

    Deliveries in order of time, as nearly all are, come to files that the lake can take over as
    they are. Where days come so mixed that none gathers enough, their events stay mixed; so do
    those of a day that will be sorted on disk.
    """

    def __init__(
        self, write_day: Callable[[pl.DataFrame, date], None], write: Callable[[pl.DataFrame], None]
    ) -> None:
        """Nothing is held yet.

        Args:
            write_day: Given events of one day, at most `ROWS_PER_FILE`.
            write: Given events of any days, as they came.
        """
        self._write_day, self._write = write_day, write
        self._held: dict[date, list[pl.DataFrame]] = {}
        self._came: Counter[date] = Counter()
        self._bytes = 0

    def add(self, events: pl.DataFrame) -> None:
        """Take more events."""
        came = _by_day(events)
        self._bytes += int(events.estimated_size())
        for day, rows in came.items():
            self._came[day] += rows.height
            if self._came[day] > SORT_ON_DISK:
                self._write(rows)
                continue
            frames = [*self._held.pop(day, []), rows]
            while _height(frames) >= ROWS_PER_FILE:
                gathered = pl.concat(frames)
                self._write_day(gathered.head(ROWS_PER_FILE), day)
                frames = [gathered.slice(ROWS_PER_FILE)]
            if _height(frames):
                self._held[day] = frames
        if self._rows > self._most_rows:
            self._give(self._held.keys() - set(came))  # of which no more is likely to come
        if self._rows > self._most_rows:
            self._give_mixed()

    def close(self) -> None:
        """Give away what is still held."""
        self._give(set(self._held))
        if self._held:
            self._give_mixed()

    @property
    def _rows(self) -> int:
        return sum(map(_height, self._held.values()))

    @property
    def _most_rows(self) -> int:
        """How many rows are held at most, as wide as they are."""
        return min(_ROWS_HELD, _BYTES_HELD * self._came.total() // max(1, self._bytes))

    def _give(self, days: Collection[date]) -> None:
        """Write days alone, unless they are so many that each would have a few rows only."""
        if len(days) <= _MOST_DAYS:
            for day in sorted(days):
                self._write_day(pl.concat(self._held.pop(day)), day)

    def _give_mixed(self) -> None:
        frames = [frame for held in self._held.values() for frame in held]
        self._held.clear()
        self._write(pl.concat(frames))


def _height(frames: list[pl.DataFrame]) -> int:
    return sum(frame.height for frame in frames)


def _by_day(events: pl.DataFrame) -> dict[date, pl.DataFrame]:
    days = events["timestamp"].dt.date()
    if days.is_sorted():  # cut, not copied
        runs = days.rle().struct.unnest().rows()
        starts = accumulate((rows for rows, _ in runs), initial=0)
        return {
            day: events.slice(start, rows) for (rows, day), start in zip(runs, starts, strict=False)
        }
    parts = events.with_columns(days.alias("_day")).partition_by("_day", include_key=True)
    return {part["_day"][0]: part.drop("_day") for part in parts}


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
    if column.dtype != pl.String or column[0] != column[-1]:  # or all of it would be compared
        return False
    return bool((column == column[0]).all())
