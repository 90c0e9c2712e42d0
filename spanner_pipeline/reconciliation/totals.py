"""What the old system says: billing totals, read from its export as declared.

A total that cannot be read is kept with its line and why; it is never left out in silence.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from functools import cache

import polars as pl

from spanner_pipeline.configuration.source import WHOLE, BillingTotal, Period, Source
from spanner_pipeline.configuration.values import known_zone
from spanner_pipeline.control import EXACT
from spanner_pipeline.meters import MAX_PRECISION, Meter
from spanner_pipeline.root import DataRoot
from spanner_pipeline.sources.files import SourceFile, find_files
from spanner_pipeline.sources.mapping import passes, text_of, with_quantity
from spanner_pipeline.sources.rows import raw, read_rows
from spanner_pipeline.sources.texts import MICROSECONDS_UTC
from spanner_pipeline.usage.aggregations import exact_series
from spanner_pipeline.usage.calendar import first_instant

AMOUNT_DECIMALS = 9
CELL = ("subject", "period", "zone")
"""One number on the old bill: whose, when (a local date) and on which clock. Subject is empty where
totals are of all subjects."""

_OFFSETS = {"day": "1d", "month": "1mo", "year": "1y"}


@dataclass(frozen=True)
class OldTotals:
    """The old side of one comparison.

    Attributes:
        files: Where it was read.
        cells: A row for each cell: `subject`, `period`, `zone`, `start` and `end` (UTC), `days`,
            `old`, `amount`, `lines` (where it stands).
        unreadable: Rows with `source_file`, `line`, `original` and `why`.
        rows: How many rows the files hold.
        not_compared: How many of them the declaration leaves out.
    """

    files: tuple[SourceFile, ...]
    cells: pl.DataFrame
    unreadable: pl.DataFrame
    rows: int
    not_compared: int


def read_old_totals(root: DataRoot, source: Source, total: BillingTotal, meter: Meter) -> OldTotals:
    """Read the billing totals of one comparison.

    Raises:
        SourceFileError: When the export cannot be read as declared.
    """
    files = find_files(root, source, WHOLE)
    batches = [_map(batch, total, meter) for batch in read_rows(source, files)]
    rows = pl.concat(batches)
    wanted = rows.filter("_wanted").with_columns(_why_unreadable(total).alias("why"))
    clocks = pl.col("zone").filter(pl.col("why").is_null()).n_unique().over("subject", "period")
    clash = pl.lit("this period is billed on two clocks, so its usage would count in both")
    wanted = wanted.with_columns(pl.coalesce("why", pl.when(clocks > 1).then(clash)).alias("why"))
    unreadable = wanted.filter(pl.col("why").is_not_null())
    readable = wanted.filter(pl.col("why").is_null())
    lines = pl.concat_str("source_file", pl.lit(":"), "line").str.join(", ")
    summed = (
        with_bounds(readable, total.period)
        .group_by(*CELL, maintain_order=True)
        .agg(pl.col("days").first(), "old", "amount", lines.alias("lines"))
    )
    days = summed["days"].to_list()
    old = _sums(summed["old"], days if total.quantity.per == "day" else None)
    amount = _sums(summed["amount"], days if total.amount and total.amount.per == "day" else None)
    cells = summed.with_columns(
        exact_series("old", old, meter.decimals, f"comparison {total.name}"),
        exact_series("amount", amount, AMOUNT_DECIMALS, f"comparison {total.name}"),
    ).select(*CELL, "old", "amount", "lines")
    return OldTotals(
        tuple(files),
        cells,
        unreadable.select("source_file", "line", "original", "why"),
        rows.height,
        rows.height - wanted.height,
    )


def _sums(numbers: pl.Series, days: list[int] | None) -> Iterable[Decimal | None]:
    """The exact sum of each list, times the days of its period if given; None where one lacks."""
    for index, parts in enumerate(numbers.to_list()):
        total = Decimal(0)
        for part in parts:
            total = EXACT.add(total, part or Decimal(0))
        factor = Decimal(1) if days is None else Decimal(days[index])
        yield None if None in parts else EXACT.multiply(total, factor)


def belongs(events: str, cells: str, *, whole: bool) -> str:
    """SQL: whether an event belongs to a cell; of all subjects where cells are `whole`."""
    time = f'{events}."timestamp" >= {cells}."start" AND {events}."timestamp" < {cells}."end"'
    return time if whole else f"{cells}.subject = {events}.subject AND {time}"


def with_bounds(cells: pl.DataFrame, period: Period) -> pl.DataFrame:
    """Add `start` and `end` in UTC, and `days` of the period on the calendar, to cells."""
    ending = pl.col("period").dt.offset_by(_OFFSETS[period.grain])
    cells = cells.with_columns((ending - pl.col("period")).dt.total_days().alias("days"))
    parts = [
        part.with_columns(
            first_instant(pl.col("period"), str(zone)).alias("start"),
            first_instant(ending, str(zone)).alias("end"),
        )
        for (zone,), part in cells.partition_by("zone", as_dict=True, maintain_order=True).items()
    ]
    bounds = {"start": MICROSECONDS_UTC, "end": MICROSECONDS_UTC}
    empty = cells.clear().with_columns(pl.lit(None, dtype=t).alias(n) for n, t in bounds.items())
    return pl.concat([empty, *parts])


def _map(batch: pl.DataFrame, total: BillingTotal, meter: Meter) -> pl.DataFrame:
    columns = {"quantity": "old", "text.quantity": "text.old"}
    batch = with_quantity(batch, total.quantity, meter.decimals).rename(columns)
    amount = pl.lit(None, dtype=pl.Decimal(MAX_PRECISION, AMOUNT_DECIMALS)).alias("amount")
    if total.amount is not None:
        priced = with_quantity(batch, total.amount, AMOUNT_DECIMALS)
        batch = priced.rename({"quantity": "amount", "text.quantity": "text.amount"})
        amount = pl.col("amount")
    period = pl.col(raw(total.period.column))
    begins = period if "%d" in total.period.format else period + "-01"
    pattern = total.period.format if "%d" in total.period.format else total.period.format + "-%d"
    starts = begins.str.to_date(pattern, strict=False)
    inside = pl.lit(value=True)
    if total.period.from_ is not None:
        inside &= (starts >= total.period.from_).fill_null(value=True)
    if total.period.to is not None:
        inside &= (starts < total.period.to).fill_null(value=True)
    subject = text_of(total.subject) if total.subject is not None else pl.lit("")
    return batch.select(
        "source_file",
        "line",
        "original",
        "malformed",
        subject.alias("subject"),
        starts.alias("period"),
        text_of(total.period.zone).alias("zone"),
        "old",
        "text.old",
        amount,
        (pl.col("malformed") | (passes(total.where) & inside)).alias("_wanted"),
    )


def _why_unreadable(total: BillingTotal) -> pl.Expr:
    zones = pl.col("zone").map_elements(_is_zone, return_dtype=pl.Boolean)
    return (
        pl.when(pl.col("malformed"))
        .then(pl.lit("the row does not have the declared layout"))
        .when(
            pl.col("subject").is_null() | ((pl.col("subject") == "") & (total.subject is not None))
        )
        .then(pl.lit("the subject is empty"))
        .when(pl.col("period").is_null())
        .then(pl.lit(f"the period in `{total.period.column}` is not {total.period.format}"))
        .when(pl.col("zone").is_null() | ~zones)
        .then(pl.lit("the time zone is empty or unknown"))
        .when(pl.col("text.old").is_null())
        .then(pl.lit("the quantity is empty"))
        .when(pl.col("old").is_null())
        .then(pl.lit("the quantity is no number that the meter can hold"))
    )


@cache
def _is_zone(name: str) -> bool:
    try:
        return known_zone(name) is not None
    except ValueError:
        return False
