"""Calendar hours, days and months on a clock, and the instants at which they begin."""

from __future__ import annotations

from typing import Literal

import polars as pl

from spanner_pipeline.sources.texts import localized

Bucket = Literal["hour", "day", "month"]

_LOCAL = """timezone($zone, "timestamp")"""
BUCKET_SQL: dict[Bucket, str] = {
    # An hour that a clock change repeats is two hours: what has passed of it is taken off.
    "hour": f"""("timestamp" - ({_LOCAL} - date_trunc('hour', {_LOCAL})))""",
    "day": f"{_LOCAL}::DATE",
    "month": f"date_trunc('month', {_LOCAL})::DATE",
}
"""SQL for the bucket of a `timestamp`, with the parameter `$zone`."""


def first_instant(day: pl.Expr, zone: str) -> pl.Expr:
    """The first instant of a local day, in UTC.

    An hour later where a clock change skips midnight, the next day where it skips the whole day.
    """
    midnight = day.cast(pl.Datetime("us"))
    tried = [pl.duration(), pl.duration(hours=1), pl.duration(days=1)]
    return pl.coalesce(localized(midnight + later, zone, "earliest") for later in tried)


def bounds(bucket: Bucket, zone: str) -> tuple[pl.Expr, pl.Expr]:
    """The first instant of each `bucket` and of the next, in UTC."""
    begins = pl.col("bucket")
    if bucket == "hour":
        return begins, begins + pl.duration(hours=1)
    following = begins.dt.offset_by("1d" if bucket == "day" else "1mo")
    return first_instant(begins, zone), first_instant(following, zone)


def buckets_sql(bucket: Bucket) -> str:
    """SQL for every `bucket` of a window, with the parameters `$start`, `$end` and `$zone`.

    No clock has a bucket of less than a quarter of an hour.
    """
    first, last = "$start::TIMESTAMPTZ", "($end::TIMESTAMPTZ - INTERVAL 1 MICROSECOND)"
    return f"""SELECT DISTINCT {BUCKET_SQL[bucket]} AS bucket FROM (
        SELECT unnest(generate_series({first}, {last}, INTERVAL 15 MINUTE)) AS "timestamp"
        UNION ALL SELECT {last} WHERE {last} >= {first})"""
