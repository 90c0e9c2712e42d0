"""The eight aggregations, exactly: what they ask DuckDB for, and what is made of it.

`count` and `rate` ignore quantities, `rate` divides by the full length of the bucket. Ties of
`first` and `last` (equal times) go to the smallest and largest key, always the same.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from decimal import ROUND_HALF_EVEN, Decimal

import duckdb
import polars as pl

from spanner_pipeline.control import EXACT
from spanner_pipeline.errors import PipelineError
from spanner_pipeline.meters import MAX_PRECISION, Meter

ADDITIVE = ("sum", "count")
"""Aggregations of which parts add up to the whole."""

RATE_DECIMALS = 18
"""Digits of an average or a rate, which need not be finite."""

ROUNDING = EXACT.copy()
ROUNDING.clear_traps()
"""For what may be rounded: averages, rates, tolerances and shares. Quantities never are."""


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
