"""What the old system says: billing totals, read from its export as declared.

A row that cannot be read is kept with its line and why; it is never left out in silence, and the
number that it belongs to is not compared.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import cache

import polars as pl

from spanner_pipeline.configuration.billing import BillingTotal, Period
from spanner_pipeline.configuration.quantity import Quantity
from spanner_pipeline.configuration.source import WHOLE, Source
from spanner_pipeline.configuration.values import Timestamp, known_zone
from spanner_pipeline.control import EXACT, exact_sum, sums_fit
from spanner_pipeline.meters import MAX_PRECISION, Meter
from spanner_pipeline.root import DataRoot
from spanner_pipeline.sources import texts
from spanner_pipeline.sources.copies import Copies
from spanner_pipeline.sources.files import SourceFile, find_files
from spanner_pipeline.sources.mapping import (
    CONDITION,
    account_of,
    passes,
    text_of,
    why_not_computed,
    with_condition,
    with_expressions,
    with_quantity,
)
from spanner_pipeline.sources.rows import raw, read_rows
from spanner_pipeline.usage.aggregations import exact_series
from spanner_pipeline.usage.calendar import first_instant

MONEY_DECIMALS = 12
OFFSETS = {"day": "1d", "month": "1mo", "year": "1y"}
ONE_MICROSECOND = pl.duration(microseconds=1)

_NUMBERS = ("old", "amount", "copies", "credits")
_LABELS = {"day": "%Y-%m-%d", "month": "%Y-%m", "year": "%Y"}


@dataclass(frozen=True)
class OldTotals:
    """The old side of one comparison.

    Attributes:
        files: Where it was read.
        cells: A row for each number: `subject` (empty where totals are of all), its dimensions as
            `dim_<name>`, `period` (its name), `zone`, `first` (its first day), `days`, `start` and
            `end` (UTC; half-open), `old`, `price`, `amount`, `copies` (what lines that stand twice
            add once too often), `credits` (its negative lines), `lines` (where it stands), `why`
            (it cannot be compared).
        unreadable: Rows with `source_file`, `line`, `original` and `why`.
        contradictions: Subtotals that are not the sum of their rows: `source_file`, `line`,
            `of`, `says`, `sum`.
        rows: How many rows the files hold.
        not_compared: How many of them the declaration leaves out.
        subtotals: How many of them repeat others.
        decimals: Digits after the point that the old numbers can have.
    """

    files: tuple[SourceFile, ...]
    cells: pl.DataFrame
    unreadable: pl.DataFrame
    contradictions: pl.DataFrame
    rows: int
    not_compared: int
    subtotals: int
    decimals: int


def dimension_columns(total: BillingTotal) -> list[str]:
    """The columns of a cell that say which dimensions it is for."""
    return [f"dim_{name}" for name in total.dimensions]


def read_old_totals(root: DataRoot, source: Source, total: BillingTotal, meter: Meter) -> OldTotals:
    """Read the billing totals of one comparison.

    Raises:
        SourceFileError: When the export cannot be read as declared.
        TotalTooLargeError: When a total has more digits than can be held exactly.
    """
    decimals = meter.decimals if total.price is None else MONEY_DECIMALS
    files = find_files(root, source, WHOLE)
    with Copies(root, files) as copies:
        copies.fetch()
        rows = pl.concat(_map(batch, total, decimals) for batch in read_rows(source, files))
    wanted = rows.filter("_wanted").with_columns(_why_unreadable(total).alias("why"))
    subtotals = wanted.filter("_subtotal")
    wanted = with_bounds(wanted.filter(~pl.col("_subtotal")), total.period)
    cells = _cells(wanted, total, decimals)
    return OldTotals(
        tuple(files),
        cells,
        wanted.filter(pl.col("why").is_not_null())
        .select("source_file", "line", "original", "why")
        .sort("source_file", "line"),
        _contradictions(subtotals, wanted),
        rows.height,
        rows.height - wanted.height - subtotals.height,
        subtotals.height,
        decimals,
    )


def with_bounds(cells: pl.DataFrame, period: Period) -> pl.DataFrame:
    """Add to rows with `begins`, `ends` and `zone`: `start` and `end` in UTC, `first`, `days`.

    Where the zone is not known they are null.
    """
    if period.in_times:
        start, end = pl.col("begins"), pl.col("ends")  # UTC already
        first = start.dt.date()
        spelled = "%Y-%m-%dT%H:%MZ"
        label = pl.concat_str(start.dt.strftime(spelled), end.dt.strftime(spelled), separator="/")
        parts = [cells.with_columns(start.alias("start"), end.alias("end"))]
    else:
        first = pl.col("begins")
        parts = []
        for (zone,), part in cells.partition_by("zone", as_dict=True, maintain_order=True).items():
            start = end = pl.lit(None, dtype=texts.MICROSECONDS_UTC)
            if zone is not None and is_zone(str(zone)):
                start, end = (first_instant(pl.col(n), str(zone)) for n in ("begins", "ends"))
            parts.append(part.with_columns(start.alias("start"), end.alias("end")))
        label = _label(period)
    days = (pl.col("ends").cast(pl.Date) - pl.col("begins").cast(pl.Date)).dt.total_days()
    bounds = {"start": texts.MICROSECONDS_UTC, "end": texts.MICROSECONDS_UTC}
    empty = cells.clear().with_columns(pl.lit(None, dtype=t).alias(n) for n, t in bounds.items())
    shift = ONE_MICROSECOND if period.bounds == "(start, end]" else pl.duration()
    return pl.concat([empty, *parts]).with_columns(
        label.alias("period"),
        first.alias("first"),
        days.alias("days"),
        pl.col("start") + shift,
        pl.col("end") + shift,
    )


def _label(period: Period) -> pl.Expr:
    """What a person calls a period of days; its first day where that is not the calendar's."""
    begins = pl.col("begins")
    if period.grain is None:
        return pl.concat_str(begins.dt.to_string(), pl.col("ends").dt.to_string(), separator="/")
    short = begins.dt.strftime(_LABELS[period.grain])
    opens = begins.dt.truncate(OFFSETS[period.grain]) == begins
    return pl.when(opens).then(short).otherwise(begins.dt.to_string())


def _map(batch: pl.DataFrame, total: BillingTotal, decimals: int) -> pl.DataFrame:
    batch = with_condition(with_expressions(batch, total.values), total.condition)
    for name, quantity, digits in (
        ("old", total.quantity, decimals),
        ("price", total.price, MONEY_DECIMALS),
        ("amount", total.amount, MONEY_DECIMALS),
    ):
        batch = _with_number(batch, name, quantity, digits)
    batch = batch.with_columns(
        account_of(total.subject).alias("subject")
        if total.subject
        else pl.lit("").alias("subject"),
        text_of(total.period.zone).alias("zone"),
    )
    batch = _with_period(batch, total.period)
    begins, inside = pl.col("begins").cast(pl.Date), pl.lit(value=True)
    if total.period.from_ is not None:
        inside &= (begins >= total.period.from_).fill_null(value=True)
    if total.period.to is not None:
        inside &= (begins < total.period.to).fill_null(value=True)
    subtotals = total.subtotals
    is_met = pl.col(CONDITION).fill_null(value=True)
    is_subtotal = passes(subtotals.where) if subtotals is not None else pl.lit(value=False)
    of = [pl.col(raw(name)).fill_null("") for name in subtotals.of] if subtotals else []
    return batch.select(
        "source_file",
        "line",
        "original",
        "malformed",
        "subject",
        *(text_of(value).alias(f"dim_{name}") for name, value in total.dimensions.items()),
        "begins",
        "ends",
        "zone",
        *("old", "text.old", "price", "amount"),
        (pl.col("malformed") | (passes(total.where) & is_met & inside)).alias("_wanted"),
        why_not_computed(total.values, total.condition).alias("_wrong"),
        (is_subtotal & ~pl.col("malformed")).alias("_subtotal"),
        (pl.concat_str(of, separator=", ") if of else pl.lit("")).alias("_of"),
    )


def _with_number(
    batch: pl.DataFrame, name: str, quantity: Quantity | None, decimals: int
) -> pl.DataFrame:
    if quantity is None:
        nothing = pl.lit(None, dtype=pl.Decimal(MAX_PRECISION, decimals))
        return batch.with_columns(nothing.alias(name))
    read = with_quantity(batch, quantity, decimals)
    return read.rename({"quantity": name, "text.quantity": f"text.{name}"})


def _with_period(batch: pl.DataFrame, period: Period) -> pl.DataFrame:
    """Add `begins` and `ends`: days, or times in UTC."""
    if period.in_times:
        assert period.start is not None
        assert period.end is not None
        clock = Timestamp(column=period.start, format=period.pattern)
        parts = [batch.clear().with_columns(_times(clock, name, None) for name in _ends(period))]
        for (zone,), part in batch.partition_by("zone", as_dict=True, maintain_order=True).items():
            known = str(zone) if zone is not None and is_zone(str(zone)) else None
            parts.append(part.with_columns(_times(clock, ends, known) for ends in _ends(period)))
        return pl.concat(parts)

    def day(column: str) -> pl.Expr:
        text = pl.col(raw(column))
        if "%m" not in period.pattern:
            return (text + "-01-01").str.to_date(period.pattern + "-%m-%d", strict=False)
        if "%d" not in period.pattern:
            return (text + "-01").str.to_date(period.pattern + "-%d", strict=False)
        return text.str.to_date(period.pattern, strict=False)

    if period.column is not None:
        assert period.grain is not None
        begins = day(period.column)
        ends = begins.dt.offset_by(OFFSETS[period.grain])
    else:
        begins = day(period.start or "")
        ends = day(period.end) if period.end else day(period.last or "").dt.offset_by("1d")
    return batch.with_columns(begins.alias("begins"), ends.alias("ends"))


def _ends(period: Period) -> list[tuple[str, str]]:
    return [("begins", period.start or ""), ("ends", period.end or "")]


def _times(clock: Timestamp, named: tuple[str, str], zone: str | None) -> pl.Expr:
    name, column = named
    text = pl.col(raw(column))
    time = texts.aware_time(clock, text)
    if zone is not None:
        local = texts.localized(texts.naive_time(clock, text), zone, "earliest")
        time = pl.coalesce(time, local)
    return time.cast(texts.MICROSECONDS_UTC).alias(name)


def _why_unreadable(total: BillingTotal) -> pl.Expr:
    zones = pl.col("zone").map_elements(is_zone, return_dtype=pl.Boolean)
    period = total.period
    where = f"`{period.column}`" if period.column else f"`{period.start}` and its end"
    why = (
        pl.when(pl.col("malformed"))
        .then(pl.lit("the row does not have the declared layout"))
        .when(pl.col("_wrong").is_not_null())
        .then(pl.col("_wrong"))
        .when(
            pl.col("subject").is_null() | ((pl.col("subject") == "") & (total.subject is not None))
        )
        .then(pl.lit("the subject is empty"))
        .when(pl.col("zone").is_null() | ~zones)
        .then(pl.lit("the time zone is empty or unknown"))
        .when(pl.col("begins").is_null() | pl.col("ends").is_null())
        .then(pl.lit(f"the period in {where} is not {period.pattern}"))
        .when(pl.col("ends") <= pl.col("begins"))
        .then(pl.lit("the period ends before it begins"))
        .when(pl.col("text.old").is_null())
        .then(pl.lit("the quantity is empty"))
        .when(pl.col("old").is_null())
        .then(pl.lit("the quantity is no number that the meter can hold"))
    )
    return why.when(pl.lit(total.price is not None) & pl.col("price").is_null()).then(
        pl.lit("the price is empty or no number")
    )


@cache
def is_zone(name: str) -> bool:
    """Whether there is a time zone of this name."""
    try:
        return known_zone(name) is not None
    except ValueError:
        return False


def _cells(rows: pl.DataFrame, total: BillingTotal, decimals: int) -> pl.DataFrame:
    """The numbers that rows add up to, and which of them cannot be compared."""
    by = ["subject", *dimension_columns(total)]
    key = [*by, "period", "zone", "start", "end"]
    placed = rows.filter(
        pl.col("start").is_not_null()
        & (pl.col("ends") > pl.col("begins"))
        & pl.col("subject").is_not_null()
        & ((pl.col("subject") != "") | pl.lit(total.subject is None))
        & ~pl.col("malformed")
    )
    at = pl.concat_str("source_file", pl.lit(":"), "line")
    why = pl.concat_str(at, pl.lit(": "), "why").drop_nulls().first()
    placed = placed.with_columns(
        # The same line says the same number.
        pl.when(~pl.col("original").is_first_distinct()).then("old").alias("copies"),
        pl.when((pl.col("old") < 0) & (pl.col("old") > 0).any().over(key))
        .then("old")
        .alias("credits"),
    )
    cells = _summed(placed, key, _NUMBERS).join(
        placed.group_by(key, maintain_order=True).agg(
            pl.col("first", "days").first(),
            at.str.join(", ").alias("lines"),
            why.alias("why"),
            pl.col("price").first(),
            pl.col("price").n_unique().alias("_prices"),
            pl.col("old").is_null().any().alias("_lacks"),
        ),
        on=key,
        nulls_equal=True,
        maintain_order="left",
    )
    cells = cells.with_columns(pl.when(~pl.col("_lacks")).then("old").alias("old"))
    what = f"comparison {total.name}"
    numbers = {"old": total.quantity, "copies": total.quantity, "credits": total.quantity}
    for name, quantity in (numbers | {"amount": total.amount or total.quantity}).items():
        if quantity.per == "day":
            digits = MONEY_DECIMALS if name == "amount" else decimals
            values = zip(cells[name].to_list(), cells["days"].to_list(), strict=True)
            scaled = (None if v is None else EXACT.multiply(v, Decimal(n)) for v, n in values)
            cells = cells.with_columns(exact_series(name, scaled, digits, what))
    clash = pl.col("zone").n_unique().over(*by, "period") > 1
    neighbours = cells.sort(*by, "start", "end").with_columns(
        (
            (pl.col("end").shift(1).over(by) > pl.col("start"))
            | (pl.col("start").shift(-1).over(by) < pl.col("end"))
        )
        .fill_null(value=False)
        .alias("_overlaps")
    )
    reasons = (
        pl.when(pl.col("why").is_not_null())
        .then("why")
        .when(clash)
        .then(pl.lit("this period is billed on two clocks, so its usage would count in both"))
        .when(pl.col("_overlaps") & pl.lit(total.period.grain is None))
        .then(pl.lit("this period overlaps another of the same, so usage would count in both"))
        .when(pl.col("_prices") > 1)
        .then(pl.lit("its lines have several prices"))
    )
    return neighbours.with_columns(reasons.alias("why")).select(
        *by,
        *("period", "zone", "first", "days", "start", "end", "old", "price", "amount", "copies"),
        *("credits", "lines", "why"),
    )


def _summed(rows: pl.DataFrame, key: Sequence[str], names: Sequence[str]) -> pl.DataFrame:
    """Exact sums by key, in order of first appearance; an amount that a row lacks makes it null."""
    complete = pl.col("amount").is_not_null().all()
    if all(sums_fit(rows[name]) for name in names):
        sums = [pl.col(name).sum() for name in names if name != "amount"]
        amount = pl.when(complete).then(pl.col("amount").sum())
        return rows.group_by(key, maintain_order=True).agg(*sums, amount.alias("amount"))
    grouped = rows.group_by(key, maintain_order=True).agg(*names, complete.alias("_complete"))
    columns = []
    for name in names:
        dtype = rows.schema[name]
        assert isinstance(dtype, pl.Decimal)
        sums_of = [exact_sum(pl.Series(part, dtype=dtype)) for part in grouped[name]]
        columns.append(exact_series(name, sums_of, dtype.scale))
    summed = grouped.with_columns(columns)
    return summed.with_columns(pl.when("_complete").then("amount").alias("amount")).drop(
        "_complete"
    )


def _contradictions(subtotals: pl.DataFrame, rows: pl.DataFrame) -> pl.DataFrame:
    """Subtotals that are not the sum of the rows that they repeat, or cannot be read."""
    sums = {
        str(of): exact_sum(part["old"])
        for (of,), part in rows.partition_by("_of", as_dict=True).items()
    }
    found = [
        (file, line, of, said, sums.get(of, Decimal(0)))
        for file, line, of, said in subtotals.select("source_file", "line", "_of", "old").rows()
        if said is None or said != sums.get(of, Decimal(0))
    ]
    schema = {"source_file": pl.String, "line": pl.Int64, "of": pl.String}
    numbers = {"says": rows.schema["old"], "sum": rows.schema["old"]}
    return pl.DataFrame(found, schema={**schema, **numbers}, orient="row")
