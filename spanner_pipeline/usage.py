"""Usage queries over the lake, with Open Spanner's meaning of buckets and aggregations.

Windows are half-open; buckets are calendar hours, days or months; only buckets with events appear;
`count` and `rate` ignore quantities, `rate` divides by the full length of the bucket. Beyond the
service: any range, no limit of rows, exact decimals, and a zone for the calendar, whose days have
23 or 25 hours where its clock changes.
Ties of `first` and `last` (equal times) go to the smallest and largest key, always the same.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from decimal import ROUND_HALF_EVEN, Decimal
from pathlib import Path
from typing import Literal

import duckdb
import polars as pl

from spanner_pipeline.control import EXACT
from spanner_pipeline.engine import open_duckdb
from spanner_pipeline.errors import PipelineError
from spanner_pipeline.lake.names import file_name
from spanner_pipeline.lake.table import EventTable
from spanner_pipeline.meters import MAX_PRECISION, Meter
from spanner_pipeline.root import DataRoot
from spanner_pipeline.sources.texts import localized
from spanner_pipeline.whole import written_whole

Bucket = Literal["hour", "day", "month"]

MISSING_GROUP = "<nil>"
"""What Open Spanner says for an event that lacks the dimension it is grouped by."""

RATE_DECIMALS = 18
"""Digits of an average or a rate, which need not be finite."""

ROUNDING = EXACT.copy()
ROUNDING.clear_traps()
"""For what may be rounded: averages, rates, tolerances and shares. Quantities never are."""

_OWN_COLUMNS = ("bucket_start", "quantity", "events")


class UnknownFieldError(PipelineError):
    """A query names a field that the meter does not have."""


class TotalTooLargeError(PipelineError):
    """A total has more digits than a quantity can have. It is refused, never cut."""

    def __init__(self, what: str) -> None:
        """Say whose total."""
        super().__init__(
            f"{what}: a total has more than {MAX_PRECISION} digits, so it cannot be held exactly. "
            "Remedy: look for absurd quantities, lower the meter's `decimals`, or choose a larger "
            "unit."
        )


@contextmanager
def no_overflow(meter: Meter) -> Iterator[None]:
    """Refuse a total of a meter that DuckDB cannot hold, in words of our own."""
    try:
        yield
    except duckdb.OutOfRangeException as error:
        raise TotalTooLargeError(f"meter {meter.name}") from error


def exact_series(
    name: str, values: Iterable[Decimal | None], decimals: int, what: str = ""
) -> pl.Series:
    """A decimal column of exactly these values, which Polars would cut without a word.

    Raises:
        TotalTooLargeError: When one of them does not fit.
    """
    kept = list(values)
    limit, step = Decimal(10) ** (MAX_PRECISION - decimals), Decimal(1).scaleb(-decimals)
    for value in kept:
        if value is not None and (value.copy_abs() >= limit or ROUNDING.remainder(value, step)):
            raise TotalTooLargeError(what or name)
    return pl.Series(name, kept, dtype=pl.Decimal(MAX_PRECISION, decimals))


def first_instant(day: pl.Expr, zone: str) -> pl.Expr:
    """The first instant of a local day, in UTC.

    An hour later where a clock change skips midnight, the next day where it skips the whole day.
    """
    midnight = day.cast(pl.Datetime("us"))
    tried = [pl.duration(), pl.duration(hours=1), pl.duration(days=1)]
    return pl.coalesce(localized(midnight + later, zone, "earliest") for later in tried)


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
        A row for each bucket and group that has events: `bucket_start` (in `zone`), the groups by
        name (`dim_<name>` for a dimension called like another of these columns), `quantity` (the
        aggregate, an exact decimal in the meter's unit; averages and rates rounded half even at 18
        digits, fewer where the whole part needs the room) and `events`.

    Raises:
        UnknownFieldError: When a field is neither `subject` nor a dimension.
        TotalTooLargeError: When a total has more digits than a quantity can have.
    """
    if start.tzinfo is None or end.tzinfo is None:
        raise ValueError("the window needs times with an offset from UTC")
    groups = {name: _field(meter, name) for name in group_by}
    conditions = ['"timestamp" >= $start', '"timestamp" < $end']
    parameters: dict[str, object] = {"start": start, "end": end, "zone": zone}
    for index, (name, texts) in enumerate((where or {}).items()):
        conditions.append(f"{_field(meter, name)} IN (SELECT unnest($texts{index}::VARCHAR[]))")
        parameters[f"texts{index}"] = list(texts)
    selected = "".join(f", {sql} AS group_{index}" for index, sql in enumerate(groups.values()))
    by = ", ".join(str(index + 1) for index in range(len(groups) + 1))
    with open_duckdb() as connection, no_overflow(meter):
        sql = f"""
            SELECT {_BUCKETS[bucket]} AS bucket{selected},
                {aggregate_sql(meter)} AS quantity, count(*) AS events
            FROM ({EventTable(root, meter).select()}) WHERE {" AND ".join(conditions)}
            GROUP BY {by} ORDER BY {by}"""
        frame = pl.DataFrame(connection.sql(sql, params=parameters).to_arrow_table())
    starts, ends = _bounds(bucket, zone)
    frame = frame.with_columns(starts.alias("start"), ends.alias("end"))
    names = [name if name not in _OWN_COLUMNS else f"dim_{name}" for name in groups]
    return frame.select(
        pl.col("start").dt.convert_time_zone(zone).alias("bucket_start"),
        *(pl.col(f"group_{index}").alias(name) for index, name in enumerate(names)),
        aggregated(meter, frame, RATE_DECIMALS),
        "events",
    )


_LOCAL = """timezone($zone, "timestamp")"""
_BUCKETS: dict[Bucket, str] = {
    # An hour that a clock change repeats is two hours: what has passed of it is taken off.
    "hour": f"""("timestamp" - ({_LOCAL} - date_trunc('hour', {_LOCAL})))""",
    "day": f"{_LOCAL}::DATE",
    "month": f"date_trunc('month', {_LOCAL})::DATE",
}


def _bounds(bucket: Bucket, zone: str) -> tuple[pl.Expr, pl.Expr]:
    """The first instant of each bucket and of the next, in UTC."""
    begins = pl.col("bucket")
    if bucket == "hour":
        return begins, begins + pl.duration(hours=1)
    following = begins.dt.offset_by("1d" if bucket == "day" else "1mo")
    return first_instant(begins, zone), first_instant(following, zone)


def aggregated(meter: Meter, totals: pl.DataFrame, decimals: int) -> pl.Series:
    """The aggregate of each row of totals; only averages and rates are not there already.

    Args:
        meter: The meter.
        totals: `quantity` as `aggregate_sql` gives it, `events`, and the bucket's `start` and
            `end`.
        decimals: Digits to which averages and rates are rounded, half even.
    """
    if meter.aggregation not in ("avg", "rate"):
        return totals["quantity"]
    seconds = (totals["end"] - totals["start"]).dt.total_seconds()
    divisors = totals["events"] if meter.aggregation == "avg" else seconds
    quotients = [
        None if numerator is None else ROUNDING.divide(numerator, divisor)
        for numerator, divisor in zip(totals["quantity"], divisors, strict=True)
    ]
    known = [quotient for quotient in quotients if quotient is not None]
    # One digit of room for a rounding that carries.
    whole = max((quotient.adjusted() + 2 for quotient in known), default=0)
    decimals = min(decimals, MAX_PRECISION - whole)
    step = Decimal(1).scaleb(-decimals)
    rounded = (q if q is None else q.quantize(step, ROUND_HALF_EVEN, ROUNDING) for q in quotients)
    return exact_series("quantity", rounded, decimals, f"meter {meter.name}")


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
    path = root.lake / "daily" / f"{file_name(meter.name)}.parquet"
    with written_whole(path) as work:
        daily.write_parquet(work)
    return path, daily
