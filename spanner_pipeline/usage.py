"""Usage queries over the lake, with Open Spanner's meaning of buckets and aggregations.

Windows are half-open; buckets are calendar hours, days or months; only buckets with events appear;
`count` and `rate` ignore quantities, `rate` divides by the full length of the bucket. Beyond the
service: any range, no limit of rows, exact decimals, and a zone for the calendar.
Ties of `first` and `last` (equal times) go to the smallest and largest key, always the same.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from decimal import ROUND_HALF_EVEN, Decimal
from pathlib import Path
from typing import Literal

import duckdb
import polars as pl

from spanner_pipeline.control import EXACT
from spanner_pipeline.errors import PipelineError
from spanner_pipeline.lake.table import EventTable
from spanner_pipeline.meters import MAX_PRECISION, Meter
from spanner_pipeline.root import DataRoot

Bucket = Literal["hour", "day", "month"]

MISSING_GROUP = "<nil>"
"""What Open Spanner says for an event that lacks the dimension it is grouped by."""

RATE_DECIMALS = 18
"""Digits of an average or a rate, which need not be finite."""


class UnknownFieldError(PipelineError):
    """A query names a field that the meter does not have."""


def aggregate_sql(meter: Meter) -> str:
    """SQL for a meter's aggregation of events; averages and rates come as their numerator."""
    order = 'row("timestamp", idempotency_key)'
    return {
        "sum": "sum(quantity)",
        "avg": "sum(quantity)",
        "min": "min(quantity)",
        "max": "max(quantity)",
        "first": f"arg_min(quantity, {order})",
        "last": f"arg_max(quantity, {order})",
        "count": f"count(*)::{meter.quantity_type}",
        "rate": f"count(*)::{meter.quantity_type}",
    }[meter.aggregation]


def query_usage(
    root: DataRoot,
    meter: Meter,
    start: datetime,
    end: datetime,
    bucket: Bucket = "day",
    group_by: Sequence[str] = (),
    where: Mapping[str, Sequence[str]] | None = None,
    zone: str = "UTC",
) -> pl.DataFrame:
    """Aggregate a meter's events into buckets.

    Args:
        root: The data root.
        meter: The meter.
        start: First instant of the window, with an offset.
        end: First instant after the window, with an offset.
        bucket: Size of the buckets.
        group_by: `subject` or dimensions of the meter.
        where: Texts that a field (`subject` or a dimension) may have.
        zone: Zone of the calendar for buckets; Open Spanner's is UTC.

    Returns:
        A row for each bucket and group that has events: `bucket_start` (in `zone`), the groups,
        `quantity` (the aggregate, an exact decimal in the meter's unit; averages and rates rounded
        half even at 18 digits) and `events`.

    Raises:
        UnknownFieldError: When a field is neither `subject` nor a dimension.
    """
    if start.tzinfo is None or end.tzinfo is None:
        raise ValueError("the window needs times with an offset from UTC")
    groups = {name: _field(meter, name) for name in group_by}
    conditions = ['"timestamp" >= $start', '"timestamp" < $end']
    parameters: dict[str, object] = {"start": start, "end": end}
    for index, (name, texts) in enumerate((where or {}).items()):
        conditions.append(f"{_field(meter, name)} IN (SELECT unnest($texts{index}))")
        parameters[f"texts{index}"] = list(texts)
    selected = "".join(f', {sql} AS "{name}"' for name, sql in groups.items())
    by = ", ".join(str(index + 1) for index in range(len(groups) + 1))
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = $zone", {"zone": zone})
        sql = f"""
            SELECT date_trunc('{bucket}', "timestamp") AS bucket_start{selected},
                {aggregate_sql(meter)} AS quantity, count(*) AS events,
                epoch(bucket_start + INTERVAL 1 {bucket})::BIGINT - epoch(bucket_start)::BIGINT
                    AS seconds
            FROM ({EventTable(root, meter).select()}) WHERE {" AND ".join(conditions)}
            GROUP BY {by} ORDER BY {by}"""
        frame = pl.DataFrame(connection.sql(sql, params=parameters).to_arrow_table())
    divisor = {"avg": "events", "rate": "seconds"}.get(meter.aggregation)
    if divisor is not None:
        frame = frame.with_columns(_divide(frame["quantity"], frame[divisor]))
    return frame.drop("seconds")


def _divide(numerators: pl.Series, divisors: pl.Series) -> pl.Series:
    step = Decimal(1).scaleb(-RATE_DECIMALS)
    context = EXACT.copy()
    context.clear_traps()
    quotients = [
        context.divide(numerator, divisor).quantize(step, ROUND_HALF_EVEN, context)
        for numerator, divisor in zip(numerators, divisors, strict=True)
    ]
    return pl.Series("quantity", quotients, dtype=pl.Decimal(MAX_PRECISION, RATE_DECIMALS))


def _field(meter: Meter, name: str) -> str:
    """SQL for a field as Open Spanner spells it in groups and filters."""
    if name == "subject":
        return "subject"
    for dimension in meter.dimensions:
        if dimension.name == name:
            text = f'"{dimension.column}"::VARCHAR'
            if dimension.type == "number":
                text = f"rtrim(rtrim({text}, '0'), '.')"
            return f"coalesce({text}, '{MISSING_GROUP}')"
    known = ", ".join(["subject", *(dimension.name for dimension in meter.dimensions)])
    raise UnknownFieldError(f"meter {meter.name} has no field `{name}`. It has: {known}.")


def daily_usage(root: DataRoot, meter: Meter) -> tuple[Path, pl.DataFrame]:
    """Write the daily usage of all subjects of a meter below `lake/daily/`.

    Returns:
        The Parquet file, and what it holds: `bucket_start`, `subject`, `quantity`, `events`.
    """
    ends = datetime(1, 1, 1, tzinfo=UTC), datetime(9999, 12, 31, tzinfo=UTC)
    daily = query_usage(root, meter, *ends, bucket="day", group_by=["subject"])
    path = root.lake / "daily" / f"{meter.folder}.parquet"
    path.parent.mkdir(parents=True, exist_ok=True)
    work = path.with_suffix(f".{uuid.uuid4().hex}.tmp")
    daily.write_parquet(work)
    os.replace(work, path)
    return path, daily
