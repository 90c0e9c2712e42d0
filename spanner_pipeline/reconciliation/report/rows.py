"""All numbers of a comparison with their statuses and causes, as CSV and Parquet.

CSV has exact texts, and disarms what a spreadsheet could run as a formula; Parquet has decimals,
and the causes of a number as a list.
"""

from __future__ import annotations

import io

import polars as pl

from spanner_pipeline.reconciliation.compare import Comparison
from spanner_pipeline.reconciliation.spelling import disarmed, exact_text, plain
from spanner_pipeline.usage.aggregations import exact_series

_NUMBERS = ("old", "new", "difference", "tolerance", "unexplained")
_ASIDE = ("usage", "price", "amount", "copies", "credits")
_SECONDS = "%Y-%m-%dT%H:%M:%S%.6fZ"


def rows_csv(comparison: Comparison) -> bytes:
    """Give a line for each number: `causes` are texts, in the order taken."""
    texts = pl.concat_str(
        pl.col("cause"),
        pl.lit(": "),
        pl.col("detail"),
        pl.lit(": "),
        exact_text("quantity"),
        pl.when("known").then(pl.lit(" (on record)")).otherwise(pl.lit("")),
    )
    causes = _causes(comparison).group_by("cell", maintain_order=True).agg(texts.alias("causes"))
    rows = _with(comparison, causes.with_columns(pl.col("causes").list.join("; ")))
    free = ("subject", *comparison.dimensions, "causes", "why", "lines")
    spelled = rows.with_columns(
        *(exact_text(name) for name in (*_NUMBERS, *_ASIDE)),
        *(disarmed(pl.col(name)).alias(name) for name in free),
        *(pl.col(name).dt.strftime(_SECONDS) for name in ("start", "end")),
    )
    return spelled.write_csv().encode()


def rows_parquet(comparison: Comparison) -> bytes:
    """Give a row for each number: `causes` are lists of what, detail, quantity and record."""
    each = pl.struct("cause", "detail", "quantity", "known").alias("causes")
    causes = _causes(comparison).group_by("cell", maintain_order=True).agg(each)
    made = io.BytesIO()
    _with(comparison, causes).write_parquet(made, compression="zstd")
    return made.getvalue()


def _causes(comparison: Comparison) -> pl.DataFrame:
    """A row for each cause of a number."""
    found = comparison.causes
    held = comparison.cells.schema["difference"]
    scale = held.scale if isinstance(held, pl.Decimal) else 0
    # A part of money may have more digits than what the parts add up to.
    decimals = max([scale, *(len(plain(c.quantity).partition(".")[2]) for c in found)])
    texts = {name: [getattr(c, name) for c in found] for name in ("cell", "cause", "detail")}
    schema = {"cell": pl.UInt32, "cause": pl.String, "detail": pl.String}
    return pl.DataFrame(texts, schema=schema).with_columns(
        exact_series("quantity", (c.quantity for c in found), decimals, comparison.total.name),
        pl.Series("known", [c.known for c in found], dtype=pl.Boolean),
    )


def _with(comparison: Comparison, causes: pl.DataFrame) -> pl.DataFrame:
    names = ["subject", *comparison.dimensions, "period", "zone", "first", "days", "start", "end"]
    cells = comparison.cells.join(causes, on="cell", how="left", maintain_order="left")
    columns = [*names, "status", *_NUMBERS, "causes", "why", *_ASIDE, "events", "lines"]
    return cells.select(columns).with_columns(
        pl.col("first").cast(pl.Date), pl.col("events").fill_null(0)
    )
