"""When each row happened, as its time is declared."""

from __future__ import annotations

import polars as pl

from spanner_pipeline.configuration.span import EventTime
from spanner_pipeline.sources import texts


def times(declared: EventTime, told: pl.Series) -> list[pl.Expr]:
    """What texts say, as `naive_time`, `_aware` and whether they say more than microseconds.

    Args:
        declared: How they are to be read.
        told: The texts, with the name that their column has in the frame.
    """
    text = pl.col(told.name)
    if texts.are_usual(declared, told):
        naive, aware = pl.lit(None, dtype=pl.Datetime("us")), texts.usual_time(text)
        too_fine = pl.lit(value=False)
    else:
        too_fine = texts.finer_than_microseconds(declared, text)
        if declared.below_microsecond == "cut":
            text = texts.cut_to_microseconds(declared, text)
        naive, aware = texts.naive_time(declared, text), texts.aware_time(declared, text)
    return [
        texts.of_four_digits(naive).alias("naive_time"),
        aware.alias("_aware"),
        too_fine.alias("too_fine"),
    ]


def timestamp(declared: EventTime, zone: str | None) -> pl.Expr:
    """The UTC time of an event, of a frame with `times`; null where there is none.

    Args:
        declared: How its text was read.
        zone: Of the clocks that name none.
    """
    time = pl.col("_aware")
    if zone is not None:
        local = texts.localized(pl.col("naive_time"), zone, declared.ambiguous)
        time = pl.coalesce(time, local)
    if declared.below_microsecond == "cut":
        return texts.of_four_digits(time)
    return pl.when(~pl.col("too_fine")).then(texts.of_four_digits(time))


def ambiguous(declared: EventTime, zone: str | None) -> pl.Expr:
    """Whether the hour of an event existed twice on the clock that it was read from."""
    if zone is None or zone == "UTC":
        return pl.lit(value=False)
    naive = pl.col("naive_time")
    earliest, latest = (texts.localized(naive, zone, rule) for rule in ("earliest", "latest"))
    return (earliest != latest).fill_null(value=False)
