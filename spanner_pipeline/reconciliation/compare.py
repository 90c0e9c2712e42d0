"""Old billing totals against the lake, number by number, exactly.

A number is one total of the old bill: a subject (or all), its dimensions, a period, a clock. Its
difference is new minus old. A difference within the declared tolerance passes, and is explained
and shown all the same.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, replace
from decimal import ROUND_FLOOR, Decimal
from functools import cached_property
from typing import Literal

import polars as pl

from spanner_pipeline.configuration.billing import BillingTotal
from spanner_pipeline.configuration.source import Source
from spanner_pipeline.control import EXACT, Total, exact_sum
from spanner_pipeline.engine import open_duckdb
from spanner_pipeline.lake.ledger import Ledger
from spanner_pipeline.lake.records import ImportRecord
from spanner_pipeline.lake.table import EventTable
from spanner_pipeline.meters import MAX_PRECISION, Meter
from spanner_pipeline.reconciliation.causes import Explanation
from spanner_pipeline.reconciliation.deliveries import Deliveries
from spanner_pipeline.reconciliation.explain import explain
from spanner_pipeline.reconciliation.lake_side import create_events_view, read_lake_side
from spanner_pipeline.reconciliation.totals import (
    OldTotals,
    dimension_columns,
    read_old_totals,
)
from spanner_pipeline.root import Catalog, DataRoot
from spanner_pipeline.usage.aggregations import ROUNDING, exact_series, no_overflow

MATCH = "match"
WITHIN_TOLERANCE = "within tolerance"
DIFFERS = "quantity differs"
ONLY_OLD = "only in the old"
ONLY_NEW = "only in the new"
NOT_COMPARABLE = "not comparable"
STATUSES = (MATCH, WITHIN_TOLERANCE, DIFFERS, ONLY_OLD, ONLY_NEW, NOT_COMPARABLE)
BREAKS = (DIFFERS, ONLY_OLD, ONLY_NEW)

Verdict = Literal["PASS", "WARN", "FAIL"]

_MOST_DECIMALS = 30


@dataclass(frozen=True)
class Comparison:
    """One comparison, done.

    Attributes:
        source: The source that declares it.
        total: The declaration.
        meter: The meter compared with.
        old: The old side as it was read.
        cells: A row for each number, with its place in `cell`: those of the old side, `new`,
            `events`, `difference`, `tolerance`, `status`, `why` (it is not comparable) and
            `unexplained`. `old`, `new` and what follows from them are in the meter's unit, or in
            money where a price is given; then `usage` is what was used.
        causes: What explains the differences, by number, then in the order taken.
        imports: The imports that made the new side.
        not_imported: Deliveries of the compared time that nobody imported, by source.
        not_searched: Numbers whose difference was too expensive to search in depth.
        lake_version: The Delta version of the meter's table, None when it has none.
        outside: Events in the lake that no number covers, and what they add up to if the meter
            adds: usage that this bill could not bill.
        period: The period that it was narrowed to, if any.
    """

    source: Source
    total: BillingTotal
    meter: Meter
    old: OldTotals
    cells: pl.DataFrame
    causes: tuple[Explanation, ...]
    imports: tuple[ImportRecord, ...]
    not_imported: dict[str, list[str]]
    not_searched: int
    lake_version: int | None
    outside: Total
    period: str | None = None

    @property
    def unit(self) -> str:
        """What old and new are counted in."""
        return self.meter.unit if self.total.price is None else self.total.currency or "money"

    @property
    def dimensions(self) -> list[str]:
        """The columns of a number that say which dimensions it is for."""
        return dimension_columns(self.total)

    @cached_property
    def breaks(self) -> pl.DataFrame:
        """Numbers beyond tolerance, biggest first."""
        broken = self.cells.filter(pl.col("status").is_in(BREAKS))
        return broken.sort(pl.col("difference").abs(), -pl.col("cell").cast(pl.Int64)).reverse()

    @property
    def not_comparable(self) -> pl.DataFrame:
        """Numbers that cannot be compared, each with `why`."""
        return self.cells.filter(status=NOT_COMPARABLE)

    @cached_property
    def failings(self) -> list[str]:
        """Why it does not pass, for a person; empty where it does."""
        limits, found = self.total.thresholds, []
        if limits.breaks != "any" and self.breaks.height > limits.breaks:
            allowed = f", {limits.breaks} allowed" if limits.breaks else ""
            found.append(f"{_counted(self.breaks.height, 'number')} beyond tolerance{allowed}")
        if limits.unexplained is not None:
            gross = exact_sum(self.breaks["unexplained"].abs())
            if gross > EXACT.multiply(self.old_total.copy_abs(), limits.unexplained):
                share = f"{(limits.unexplained * 100).normalize():f} %"
                found.append(f"more than {share} of the old total is unexplained")
        if rows := self.old.unreadable.height:
            found.append(f"{_counted(rows, 'row')} of the old export could not be read")
        if numbers := self.not_comparable.height:
            found.append(f"{_counted(numbers, 'number')} could not be compared")
        if wrong := self.old.contradictions.height:
            found.append(f"{_counted(wrong, 'subtotal')} of the old bill without the rows to match")
        if self.compared_nothing:
            found.append("the old export has no number that this comparison asks for")
        return found

    @property
    def broke(self) -> bool:
        """Whether it does not pass."""
        return bool(self.failings)

    @property
    def compared_nothing(self) -> bool:
        """Whether the old side has no number that the declaration asks for."""
        return self.old.cells.is_empty()

    @property
    def verdict(self) -> Verdict:
        """PASS, or what the declared severity makes of a break."""
        if not self.broke:
            return "PASS"
        return "FAIL" if self.total.severity == "error" else "WARN"

    @property
    def tolerance_text(self) -> str:
        """The declared tolerance, for a person."""
        declared = self.total.tolerance
        per = " for each day of the period" if declared.per == "day" else ""
        parts = [
            f"{declared.absolute.normalize():f} {self.unit}{per}" if declared.absolute else "",
            f"{(declared.relative * 100).normalize():f} % of the old total"
            if declared.relative
            else "",
        ]
        return " or ".join(part for part in parts if part) or "nothing"

    @cached_property
    def compared(self) -> pl.DataFrame:
        """The numbers that can be compared."""
        return self.cells.filter(pl.col("status") != NOT_COMPARABLE)

    @cached_property
    def old_total(self) -> Decimal:
        """All that the old side says, in the numbers compared."""
        return exact_sum(self.compared["old"])

    @cached_property
    def new_total(self) -> Decimal:
        """All that the lake says, in the numbers compared."""
        return exact_sum(self.compared["new"])

    @property
    def difference(self) -> Decimal:
        """New minus old."""
        return EXACT.subtract(self.new_total, self.old_total)

    @cached_property
    def unexplained(self) -> Decimal:
        """The part of the difference that no cause explains, numbers netted."""
        return exact_sum(self.cells["unexplained"])

    @cached_property
    def residuals(self) -> pl.DataFrame:
        """Numbers of which a part is unexplained, even where those parts cancel in the sum."""
        return self.cells.filter(pl.col("unexplained") != 0)

    def causes_of(self, cell: int) -> list[Explanation]:
        """The causes found for one number, in the order taken."""
        return self._by_cell.get(cell, [])

    @cached_property
    def _by_cell(self) -> dict[int, list[Explanation]]:
        found: dict[int, list[Explanation]] = defaultdict(list)
        for cause in self.causes:
            found[cause.cell].append(cause)
        return dict(found)


def _counted(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def reconcile(
    root: DataRoot, catalog: Catalog, source: Source, total: BillingTotal, period: str | None = None
) -> Comparison:
    """Compare one billing total with the lake.

    Args:
        root: The data root.
        catalog: Its meters and sources.
        source: The source that declares the total.
        total: The declaration.
        period: Only periods that begin in this day, month or year, such as `2026-01`.

    Raises:
        SourceFileError: When the old export cannot be read as declared.
        TotalTooLargeError: When a total has more digits than can be held exactly.
    """
    meter = catalog.meters[total.meter]
    old = read_old_totals(root, source, total, meter)
    if period is not None:
        within = pl.col("first").dt.to_string().str.starts_with(period)
        old = replace(old, cells=old.cells.filter(within))
    table = EventTable(root, meter)
    imports = tuple(record for record in Ledger(root).current() if record.meter == meter.name)
    deliveries = Deliveries(catalog, meter, imports)
    with open_duckdb() as connection, no_overflow(meter):
        create_events_view(connection, table, total)
        side = read_lake_side(connection, old, total, meter)
        cells, decimals = _in_value(side.cells.with_row_index("cell"), meter, total)
        cells = _judge(cells, decimals, total)
        found = explain(root, connection, meter, total, cells, deliveries)
    explained: dict[int, Decimal] = {}
    for cause in found.explanations:
        explained[cause.cell] = EXACT.add(explained.get(cause.cell, Decimal(0)), cause.quantity)
    unexplained = cells["difference"]
    if explained:
        left = zip(cells["cell"], cells["difference"], strict=True)
        unexplained = exact_series(
            "unexplained",
            (gap and EXACT.subtract(gap, explained.get(cell, Decimal(0))) for cell, gap in left),
            decimals,
            total.name,
        )
    return Comparison(
        source,
        total,
        meter,
        old,
        cells.with_columns(unexplained.alias("unexplained")),
        found.explanations,
        imports,
        deliveries.not_imported_during(cells),
        found.not_searched,
        table.version,
        side.outside,
        period,
    )


def _in_value(cells: pl.DataFrame, meter: Meter, total: BillingTotal) -> tuple[pl.DataFrame, int]:
    """Put both sides into one unit, and say how many decimals it has: usage, or usage x price."""
    cells = cells.with_columns(pl.col("new").alias("usage"))
    if total.price is None:
        return cells, meter.decimals
    constant = Decimal(total.price.constant) if total.price.constant is not None else None
    prices = [price if price is not None else constant for price in cells["price"]]
    values = [
        None if new is None or price is None else EXACT.multiply(new, price)
        for new, price in zip(cells["new"], prices, strict=True)
    ]
    digits = [-v.normalize(EXACT).as_tuple().exponent for v in [*values, *cells["old"]] if v]
    decimals = min(max([0, *digits]), _MOST_DECIMALS)
    priceless = pl.col("new").is_not_null() & pl.lit(pl.Series([p is None for p in prices]))
    cells = cells.with_columns(
        exact_series("new", values, decimals, total.name),
        *(exact_series(n, cells[n], decimals, total.name) for n in ("old", "copies", "credits")),
        exact_series("price", prices, cells.schema["price"].scale, total.name),  # type: ignore[attr-defined]
        pl.coalesce(
            "why", pl.when(priceless).then(pl.lit("the old bill has no price for it"))
        ).alias("why"),
    )
    return cells, decimals


def _judge(cells: pl.DataFrame, decimals: int, total: BillingTotal) -> pl.DataFrame:
    """Add `difference`, `tolerance` (of what differs) and `status`."""
    difference = _difference(cells["new"], cells["old"], decimals, total.name)
    cells = cells.with_columns(
        pl.when(pl.col("why").is_null()).then(difference).alias("difference")
    )
    differs = cells.filter(pl.col("difference") != 0)
    tolerances = differs.select("cell", _tolerances(differs, decimals, total))
    cells = cells.join(tolerances, on="cell", how="left", maintain_order="left")
    status = (
        pl.when(pl.col("why").is_not_null())
        .then(pl.lit(NOT_COMPARABLE))
        .when(pl.col("difference") == 0)
        .then(pl.lit(MATCH))
        .when(pl.col("difference").abs() <= pl.col("tolerance"))
        .then(pl.lit(WITHIN_TOLERANCE))
        .when(pl.col("new").is_null())
        .then(pl.lit(ONLY_OLD))
        .when(pl.col("old").is_null())
        .then(pl.lit(ONLY_NEW))
        .otherwise(pl.lit(DIFFERS))
    )
    return cells.with_columns(status.alias("status"))


def _difference(new: pl.Series, old: pl.Series, decimals: int, what: str) -> pl.Series:
    """New minus old, a missing side as 0; Polars would wrap around where it does not fit."""
    zero, limit = Decimal(0), Decimal(10) ** (MAX_PRECISION - decimals - 1)
    ends = [end for side in (new, old) for end in (side.min(), side.max())]
    if all(not isinstance(end, Decimal) or abs(end) < limit for end in ends):
        return (new.fill_null(0) - old.fill_null(0)).cast(pl.Decimal(MAX_PRECISION, decimals))
    pairs = zip(new, old, strict=True)
    exact = (EXACT.subtract(after or zero, before or zero) for after, before in pairs)
    return exact_series("difference", exact, decimals, f"comparison {what}")


def _tolerances(cells: pl.DataFrame, decimals: int, total: BillingTotal) -> pl.Series:
    """The greater of both tolerances, rounded down to the digits that a difference can have."""
    declared = total.tolerance
    step = Decimal(1).scaleb(-decimals)

    def fitting(widest: Decimal) -> Decimal:
        return widest.quantize(step, ROUND_FLOOR, ROUNDING)

    what = f"comparison {total.name}"
    widest = (
        max(
            EXACT.multiply(declared.absolute, days if declared.per == "day" else 1),
            EXACT.multiply((old or Decimal(0)).copy_abs(), declared.relative),
        )
        for old, days in cells.select("old", "days").rows()
    )
    return exact_series("tolerance", map(fitting, widest), decimals, what)
