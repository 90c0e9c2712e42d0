"""Whose clock times without an offset were read from: what the hours of a file rule out.

In spring a clock with summer time skips an hour, in which it can show no usage. Hours can only rule
zones out; which of the others is meant, a person must say.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import polars as pl

from spanner_pipeline.profiling.columns import Column
from spanner_pipeline.profiling.stored import Stored
from spanner_pipeline.sources import texts

ZONES = (
    "America/New_York",
    "America/Chicago",
    "America/Denver",
    "America/Los_Angeles",
    "America/Sao_Paulo",
    "Europe/London",
    "Europe/Berlin",
    "Europe/Helsinki",
    "Asia/Jerusalem",
    "Australia/Sydney",
    "Pacific/Auckland",
)
"""Zones of many customers whose clocks change, or changed, twice a year."""

_HOUR = timedelta(hours=1)


@dataclass(frozen=True)
class SkippedHours:
    """The hours of a file that a zone's clock skipped.

    Attributes:
        zone: The zone.
        first: The first skipped hour that the file's time covers.
        rows: Rows in skipped hours: such a clock cannot have shown them.
        beside: Rows in the hours just before and after; many, where none are skipped, hint at it.
    """

    zone: str
    first: datetime
    rows: int
    beside: int

    @property
    def ruled_out(self) -> bool:
        """Whether the file has times that this clock never showed."""
        return self.rows > 0


def skipped_hours(
    stored: Stored, column: Column, zones: Sequence[str] = ZONES
) -> list[SkippedHours]:
    """Look at the hours that clocks skipped within a file's time.

    Zones whose clock did not change then, or beside whose change the file has no rows, are left
    out: nothing can be said of them.

    Args:
        stored: The rows.
        column: A column of times without an offset.
        zones: The zones to look at.
    """
    hours = _rows_by_hour(stored, column)
    found = []
    for zone in zones:
        skipped = _skipped(zone, min(hours), max(hours))
        rows = sum(hours.get(hour, 0) for hour in skipped)
        beside = sum(hours.get(h + step, 0) for h in skipped for step in (-_HOUR, _HOUR))
        if rows + beside:
            found.append(SkippedHours(zone, skipped[0], rows, beside))
    return found


def _rows_by_hour(stored: Stored, column: Column) -> dict[datetime, int]:
    rows: dict[datetime, int] = {}
    for part in stored.parts:
        text = pl.read_parquet(part, columns=[column.sql])
        hour = column.kind.moment(pl.col(column.sql)).dt.truncate("1h")
        for moment, count in text.group_by(hour.alias("hour")).len().iter_rows():
            if moment is not None:
                rows[moment] = rows.get(moment, 0) + count
    return rows


def _skipped(zone: str, first: datetime, last: datetime) -> list[datetime]:
    """The whole hours between two times that a zone's clock never showed."""
    hours = (
        pl.datetime_range(first, last, "1h", time_unit="us", eager=True).alias("hour").to_frame()
    )
    return hours.filter(texts.localized(pl.col("hour"), zone, "earliest").is_null())[
        "hour"
    ].to_list()
