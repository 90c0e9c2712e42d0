"""A comparison split by the periods of its calendar, each with its own numbers and verdict.

What belongs to no period (rows that could not be read, subtotals, events that no number covers)
stays with the whole.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace

import polars as pl

from spanner_pipeline.control import Total
from spanner_pipeline.reconciliation.causes import Explanation
from spanner_pipeline.reconciliation.compare import Comparison

_SPELLED = {"day": "%Y-%m-%d", "month": "%Y-%m", "year": "%Y"}


def split_by_period(comparison: Comparison) -> dict[str, Comparison]:
    """Give each period that has numbers a comparison of its own; nothing is compared again.

    A number belongs to the period in which it begins. Thresholds hold for the numbers of one
    period: a share of the old total is one of that period's.

    Args:
        comparison: A comparison whose periods are the calendar's.

    Returns:
        The parts by period (`2026-01-31`, `2026-01` or `2026`), oldest first.
    """
    grain = comparison.total.period.grain
    if grain is None:
        raise ValueError(f"comparison {comparison.total.name} has periods of its own")
    key = pl.col("first").dt.strftime(_SPELLED[grain])
    old = _parts(comparison.old.cells, key)
    causes = comparison.causes
    by_cell: dict[int, list[Explanation]] = defaultdict(list)
    for cause in causes:
        by_cell[cause.cell].append(cause)
    return {
        period: replace(
            comparison,
            cells=cells,
            old=replace(
                comparison.old,
                cells=old.get(period, comparison.old.cells.clear()),
                unreadable=comparison.old.unreadable.clear(),
                contradictions=comparison.old.contradictions.clear(),
            ),
            causes=tuple(cause for cell in cells["cell"] for cause in by_cell[cell]),
            outside=Total(),
            period=period,
        )
        for period, cells in sorted(_parts(comparison.cells, key).items())
    }


def _parts(cells: pl.DataFrame, key: pl.Expr) -> dict[str, pl.DataFrame]:
    parts = cells.with_columns(key.alias("_period")).partition_by(
        "_period", as_dict=True, include_key=False, maintain_order=True
    )
    return {str(period): part for (period,), part in parts.items()}
