"""Usage queries over the lake, with Open Spanner's meaning of buckets and aggregations.

Windows are half-open; buckets are calendar hours, days or months; only buckets with events appear.
Beyond the service: any range, no limit of rows, exact decimals, empty buckets on request, and a
zone for the calendar, whose days have 23 or 25 hours where its clock changes.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import polars as pl

from spanner_pipeline.engine import open_duckdb
from spanner_pipeline.lake.table import EventTable
from spanner_pipeline.meters import Meter
from spanner_pipeline.root import DataRoot
from spanner_pipeline.usage.aggregations import (
    ADDITIVE,
    RATE_DECIMALS,
    aggregate_sql,
    aggregated,
    no_overflow,
)
from spanner_pipeline.usage.calendar import BUCKET_SQL, Bucket, bounds, buckets_sql
from spanner_pipeline.usage.filters import Rule, filter_sql, group_sql

_OWN_COLUMNS = ("bucket_start", "quantity", "events")


def query_usage(
    root: DataRoot,
    meter: Meter,
    start: datetime,
    end: datetime,
    bucket: Bucket = "day",
    group_by: Sequence[str] = (),
    where: Rule | None = None,
    zone: str = "UTC",
    *,
    empty: bool = False,
) -> pl.DataFrame:
    """Aggregate a meter's events into buckets.

    Args:
        root: The data root.
        meter: The meter.
        start: First instant of the window, with an offset.
        end: First instant after the window, with an offset.
        bucket: Size of the buckets.
        group_by: `subject` or dimensions of the meter.
        where: Which events count.
        zone: Zone of the calendar for buckets; Open Spanner's is UTC.
        empty: Whether buckets without events appear too, for each group that has any in the window:
            as 0 where 0 is the aggregate of nothing, else as null.

    Returns:
        A row for each bucket and group: `bucket_start` (in `zone`), the groups by name
        (`dim_<name>` for a dimension called like another of these columns), `quantity` (the
        aggregate, an exact decimal in the meter's unit; averages and rates rounded half even at 18
        digits, fewer where the whole part needs the room) and `events`.

    Raises:
        UnknownFieldError: When a field is not the meter's.
        FilterError: When a filter's value cannot be compared with its field.
        TotalTooLargeError: When a total has more digits than a quantity can have.
    """
    if start.tzinfo is None or end.tzinfo is None:
        raise ValueError("the window needs times with an offset from UTC")
    window: dict[str, object] = {"start": start, "end": end, "zone": zone}
    parameters = dict(window)
    condition = '"timestamp" >= $start AND "timestamp" < $end'
    if where is not None:
        condition += f" AND {filter_sql(meter, where, parameters)}"
    groups = [f"group_{index}" for index in range(len(group_by))]
    spelled = zip(groups, (group_sql(meter, name) for name in group_by), strict=True)
    selected = "".join(f", {sql} AS {name}" for name, sql in spelled)
    by = ["bucket", *groups]
    with open_duckdb() as connection, no_overflow(meter):
        found = connection.sql(
            f"""
            SELECT {BUCKET_SQL[bucket]} AS bucket{selected},
                {aggregate_sql(meter)} AS quantity, count(*) AS events
            FROM ({EventTable(root, meter).select()}) WHERE {condition}
            GROUP BY {", ".join(str(index + 1) for index in range(len(by)))}""",
            params=parameters,
        )
        frame = pl.DataFrame(found.to_arrow_table())
        if empty:
            every = connection.sql(buckets_sql(bucket), params=window).to_arrow_table()
            frame = _filled(frame, pl.DataFrame(every), groups, meter)
    starts, ends = bounds(bucket, zone)
    frame = frame.sort(by).with_columns(starts.alias("start"), ends.alias("end"))
    names = [name if name not in _OWN_COLUMNS else f"dim_{name}" for name in group_by]
    return frame.select(
        pl.col("start").dt.convert_time_zone(zone).alias("bucket_start"),
        *(pl.col(group).alias(name) for group, name in zip(groups, names, strict=True)),
        aggregated(meter, frame, RATE_DECIMALS),
        "events",
    )


def _filled(
    frame: pl.DataFrame, every: pl.DataFrame, groups: list[str], meter: Meter
) -> pl.DataFrame:
    """Add the buckets without events."""
    if groups:
        every = every.join(frame.select(groups).unique(), how="cross")
    filled = every.join(frame, on=["bucket", *groups], how="left", nulls_equal=True)
    filled = filled.with_columns(pl.col("events").fill_null(0))
    if meter.aggregation in (*ADDITIVE, "rate"):
        filled = filled.with_columns(pl.col("quantity").fill_null(0))
    return filled.select(frame.columns)
