"""Candidate periods: on which clocks and with which ends an old system may have cut a number.

A candidate that is a number's own period, or none at all, has the bounds of its own: so it changes
nothing there.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta

import polars as pl

from spanner_pipeline.configuration.billing import Period
from spanner_pipeline.lake.sums import literal
from spanner_pipeline.reconciliation.totals import ONE_MICROSECOND, with_bounds

_SHIFT = {"[start, end)": "", "(start, end]": " - INTERVAL 1 MICROSECOND"}
_OTHER = {"[start, end)": "(start, end]", "(start, end]": "[start, end)"}


@dataclass(frozen=True)
class Clock:
    """One candidate.

    Attributes:
        name: What the old bill does, with a place for the number's own `zone`.
        bounds: `start` and `end` of each number.
        day: SQL for the day of a `{time}`, beside `broken`, the numbers with `begins` and
            `start_{index}`.
    """

    name: str
    bounds: pl.DataFrame
    day: str

    def day_of(self, time: str, index: int) -> str:
        """SQL for the day that a time is on, where this is the candidate of some index."""
        return self.day.format(time=time, index=index)


def candidates(numbers: pl.DataFrame, period: Period, zones: Sequence[str]) -> list[Clock]:
    """The candidates of some numbers, their own period first.

    Args:
        numbers: With `begins`, `ends`, `zone`, `start` and `end`.
        period: The declaration.
        zones: The clocks that the old system may have used.
    """
    bounds = period.bounds
    own = Clock("", numbers.select("start", "end"), _local("broken.zone", bounds))
    found = [own]
    for clock in _others(numbers, period, zones):
        differs = (clock.bounds["start"] != own.bounds["start"]) | (
            clock.bounds["end"] != own.bounds["end"]
        )
        if differs.any():
            cut = clock.bounds.select(clock.bounds[n].fill_null(own.bounds[n]) for n in _ENDS)
            found.append(Clock(clock.name, cut, clock.day))
    return found


_ENDS = ("start", "end")


def _others(numbers: pl.DataFrame, period: Period, zones: Sequence[str]) -> Iterator[Clock]:
    bounds, closed = period.bounds, period.bounds == "[start, end)"
    move = ONE_MICROSECOND if closed else -ONE_MICROSECOND
    takes = "its end, not its start" if closed else "its start only"
    moved = numbers.select(pl.col("start") + move, pl.col("end") + move)
    yield Clock(f"takes into each period {takes}", moved, _local("broken.zone", _OTHER[bounds]))
    if closed:
        both = numbers.select("start", pl.col("end") + ONE_MICROSECOND)
        told = "takes into each period both its start and its end"
        yield Clock(told, both, _local("broken.zone", bounds))
    if period.in_times:
        return
    for zone in zones:
        dates = numbers.select("begins", "ends", pl.lit(zone).alias("zone"))
        cut = with_bounds(dates, period).select(_ENDS)
        told = f"cuts this period in {zone}, not in {{zone}}"
        yield Clock(told, cut, _local(literal(zone), bounds))
    standard = "(broken.begins::TIMESTAMP + ({time} - broken.start_{index}))::DATE"
    told = "cuts this period in {zone} without summer time"
    yield Clock(told, _standard(numbers, period), standard)


def _local(zone: str, bounds: str) -> str:
    return f"timezone({zone}, {{time}}{_SHIFT[bounds]})::DATE"


def _standard(numbers: pl.DataFrame, period: Period) -> pl.DataFrame:
    """The period at the clock's standard time, all year."""
    parts = []
    for (zone,), part in numbers.with_row_index("_row").partition_by("zone", as_dict=True).items():
        local = pl.col("begins").cast(pl.Datetime("us"))
        offset = pl.col("start").dt.convert_time_zone(str(zone)).dt.base_utc_offset()
        until = pl.col("ends").cast(pl.Datetime("us"))
        parts.append(
            part.select(
                "_row",
                (local - offset).dt.replace_time_zone("UTC").alias("start"),
                (until - offset).dt.replace_time_zone("UTC").alias("end"),
            )
        )
    shift = ONE_MICROSECOND if period.bounds == "(start, end]" else pl.duration()
    found = pl.concat(parts).sort("_row").select(pl.col("start") + shift, pl.col("end") + shift)
    # A zone whose history changed its standard time is left alone.
    near = ((found["start"] - numbers["start"]).abs() <= timedelta(hours=2)) & (
        (found["end"] - numbers["end"]).abs() <= timedelta(hours=2)
    )
    return found.select(pl.when(near).then(n).alias(n) for n in found.columns)
