"""Old and new totals by period, side by side, as a picture."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

import polars as pl

from spanner_pipeline.control import EXACT, exact_sum
from spanner_pipeline.reconciliation.compare import Comparison
from spanner_pipeline.reconciliation.report.svg import WIDTH, Scale, bar, line, picture, text
from spanner_pipeline.reconciliation.spelling import short

MOST_PERIODS = 36

_HEIGHT, _BOTTOM, _TOP, _LEFT = 260, 210, 24, 8
_LABELLED = 12
"""More labels than these would overlap."""


@dataclass(frozen=True)
class Trend:
    """What happened over time.

    Attributes:
        periods: Name, old total and new total of the latest periods, oldest first.
        earlier: How many periods before them are left out.
        by_month: Whether periods of their own are shown by the month in which they begin.
    """

    periods: list[tuple[str, Decimal, Decimal]]
    earlier: int
    by_month: bool


def trend(comparison: Comparison) -> Trend:
    """Add up the numbers compared by period."""
    by_month = comparison.total.period.grain is None
    name = pl.col("first").dt.strftime("%Y-%m") if by_month else pl.col("period")
    cells = comparison.compared.select(name.alias("name"), "first", "old", "new")
    ordered = cells.group_by("name").agg(pl.col("first").min()).sort("first", "name")["name"]
    latest = ordered.tail(MOST_PERIODS).to_list()
    parts = cells.filter(pl.col("name").is_in(latest)).partition_by("name", as_dict=True)
    return Trend(
        [(n, exact_sum(parts[n,]["old"]), exact_sum(parts[n,]["new"])) for n in latest],
        ordered.len() - len(latest),
        by_month,
    )


def trend_picture(found: Trend, unit: str) -> str:
    """Paired bars of each period; under each the difference of the two. Empty without periods."""
    if not found.periods:
        return ""
    totals = [total for _, *both in found.periods for total in both]
    scale = Scale(max(*totals, Decimal(0)), min(*totals, Decimal(0)), _TOP, _BOTTOM)
    floor = scale.at(Decimal(0)) if any(totals) else _BOTTOM
    marks = [line([(0, floor), (WIDTH, floor)], "axis")]
    room = WIDTH - 2 * _LEFT
    width = min(room * 32 // (100 * len(found.periods)), 56)
    step = -(-len(found.periods) // _LABELLED)
    for index, (name, old, new) in enumerate(found.periods):
        middle = _LEFT + room * (2 * index + 1) // (2 * len(found.periods))
        for value, side, x in ((old, "old", middle - width - 1), (new, "new", middle + 1)):
            y = scale.at(value) if value else floor
            said = f"{name} {side}: {short(value)}"
            marks.append(bar(x, min(y, floor), width, abs(y - floor), side, said))
        if index % step == 0:
            gap = EXACT.subtract(new, old)
            difference = "=" if gap == 0 else f"{'+' if gap > 0 else ''}{short(gap)}"
            marks += [
                text(middle, _BOTTOM + 18, "tick", name),
                text(middle, _BOTTOM + 38, f"gap {'even' if gap == 0 else 'off'}", difference),
            ]
            if step == 1:
                at = middle if old == new else middle + 1 + width // 2
                marks.append(text(at, min(scale.at(new), floor) - 7, "tick", short(new)))
    return picture(_HEIGHT, f"Old and new totals by period, in {unit}", marks, "trend")
