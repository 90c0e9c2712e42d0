"""Old billing totals against the lake, cell by cell, exactly.

A cell is one number: a subject (or all), a period, a clock. Its difference is new minus old. A
difference within the declared tolerance passes, and is shown all the same.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import ROUND_FLOOR, Decimal
from functools import cached_property
from typing import Literal

import duckdb
import polars as pl

from spanner_pipeline.configuration.source import BillingTotal, Source
from spanner_pipeline.control import EXACT, Total, exact_sum
from spanner_pipeline.engine import open_duckdb
from spanner_pipeline.lake.ledger import ImportRecord, Ledger
from spanner_pipeline.lake.table import EventTable
from spanner_pipeline.meters import Meter
from spanner_pipeline.reconciliation.explain import Explanation, explain
from spanner_pipeline.reconciliation.totals import (
    CELL,
    OldTotals,
    belongs,
    read_old_totals,
    with_bounds,
)
from spanner_pipeline.root import Catalog, DataRoot
from spanner_pipeline.usage.aggregations import (
    ADDITIVE,
    ROUNDING,
    aggregate_sql,
    aggregated,
    exact_series,
    no_overflow,
)

MATCH = "match"
WITHIN_TOLERANCE = "within tolerance"
DIFFERS = "quantity differs"
ONLY_OLD = "only in the old"
ONLY_NEW = "only in the new"
STATUSES = (MATCH, WITHIN_TOLERANCE, DIFFERS, ONLY_OLD, ONLY_NEW)

Verdict = Literal["PASS", "WARN", "FAIL"]


@dataclass(frozen=True)
class Comparison:
    """One comparison, done.

    Attributes:
        source: The source that declares it.
        total: The declaration.
        meter: The meter compared with.
        old: The old side as it was read.
        cells: A row for each cell: those of the old side and `new`, `events`, `difference`,
            `tolerance`, `status`, `unexplained`.
        causes: What explains the differences beyond tolerance, cell by cell.
        imports: The imports that made the new side.
        lake_version: The Delta version of the meter's table, None when it has none.
        outside: Events in the lake that no cell covers, and what they add up to if the meter
            adds: usage that this bill could not bill.
    """

    source: Source
    total: BillingTotal
    meter: Meter
    old: OldTotals
    cells: pl.DataFrame
    causes: tuple[Explanation, ...]
    imports: tuple[ImportRecord, ...]
    lake_version: int | None
    outside: Total

    @property
    def breaks(self) -> pl.DataFrame:
        """Cells beyond tolerance, biggest first."""
        broken = self.cells.filter(~pl.col("status").is_in([MATCH, WITHIN_TOLERANCE]))
        return broken.sort(
            pl.col("difference").abs(), *CELL, descending=[True, False, False, False]
        )

    @property
    def broke(self) -> bool:
        """Whether anything is beyond tolerance, or could not be compared, or nothing was."""
        parts = (self.breaks.is_empty(), self.old.unreadable.is_empty(), not self.compared_nothing)
        return not all(parts)

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
            f"{declared.absolute.normalize():f} {self.meter.unit}{per}"
            if declared.absolute
            else "",
            f"{(declared.relative * 100).normalize():f} % of the old total"
            if declared.relative
            else "",
        ]
        return " or ".join(part for part in parts if part) or "nothing"

    @property
    def old_total(self) -> Decimal:
        """All that the old side says."""
        return exact_sum(self.cells["old"])

    @property
    def new_total(self) -> Decimal:
        """All that the lake says, in the cells compared."""
        return exact_sum(self.cells["new"])

    @property
    def difference(self) -> Decimal:
        """New minus old."""
        return EXACT.subtract(self.new_total, self.old_total)

    @property
    def unexplained(self) -> Decimal:
        """The part of the difference that no cause explains, cells netted."""
        return exact_sum(self.cells["unexplained"])

    @property
    def residuals(self) -> pl.DataFrame:
        """Cells of which a part is unexplained, even where those parts cancel in the sum."""
        return self.cells.filter(pl.col("unexplained") != 0)

    def causes_of(self, cell: tuple[object, ...]) -> list[Explanation]:
        """The causes found for one cell, in the order they were tested."""
        return self._by_cell.get(cell, [])

    @cached_property
    def _by_cell(self) -> dict[tuple[object, ...], list[Explanation]]:
        found: dict[tuple[object, ...], list[Explanation]] = {}
        for cause in self.causes:
            found.setdefault(cause.cell, []).append(cause)
        return found


def reconcile(root: DataRoot, catalog: Catalog, source: Source, total: BillingTotal) -> Comparison:
    """Compare one billing total with the lake.

    Raises:
        SourceFileError: When the old export cannot be read as declared.
    """
    meter = catalog.meters[total.meter]
    old = read_old_totals(root, source, total, meter)
    table = EventTable(root, meter)
    imports = tuple(record for record in Ledger(root).current() if record.meter == meter.name)
    with open_duckdb() as connection, no_overflow(meter):
        connection.execute(f"CREATE TEMP VIEW events AS {table.select()}")
        grid = with_bounds(_grid(connection, old, total), total.period)
        connection.register("grid", grid)
        cells = _judge(_new_side(connection, grid, meter, total), meter, total)
        beyond = cells.filter(~pl.col("status").is_in([MATCH, WITHIN_TOLERANCE]))
        causes = explain(root, connection, meter, beyond, imports)
        outside = _outside(connection, meter, total)
    explained = _by_cell(causes)
    unexplained = [
        EXACT.subtract(cell["difference"], explained.get(tuple(cell[n] for n in CELL), Decimal(0)))
        for cell in cells.iter_rows(named=True)
    ]
    cells = cells.with_columns(exact_series("unexplained", unexplained, meter.decimals, total.name))
    return Comparison(
        source, total, meter, old, cells, tuple(causes), imports, table.version, outside
    )


def _by_cell(causes: list[Explanation]) -> dict[tuple[object, ...], Decimal]:
    sums: dict[tuple[object, ...], Decimal] = {}
    for cause in causes:
        sums[cause.cell] = EXACT.add(sums.get(cause.cell, Decimal(0)), cause.quantity)
    return sums


def _grid(
    connection: duckdb.DuckDBPyConnection, old: OldTotals, total: BillingTotal
) -> pl.DataFrame:
    """Every cell either side could have: subjects by periods.

    A period that the old side lacks is on the clock that the subject had last.
    """
    if total.subject is None:
        return old.cells
    clock = total.period.zone.constant or "UTC"
    clocks = old.cells.sort(*CELL).group_by("subject").last().select("subject", "zone")
    found = pl.DataFrame(connection.sql("SELECT DISTINCT subject FROM events").to_arrow_table())
    unbilled = found.join(clocks, on="subject", how="anti").select(
        pl.col("subject").cast(pl.String), pl.lit(clock).alias("zone")
    )
    periods = old.cells.select("period").unique()
    every = pl.concat([clocks, unbilled]).join(periods, how="cross")
    absent = every.join(old.cells, on=["subject", "period"], how="anti")
    return pl.concat([old.cells, absent], how="diagonal")


def _new_side(
    connection: duckdb.DuckDBPyConnection, grid: pl.DataFrame, meter: Meter, total: BillingTotal
) -> pl.DataFrame:
    """Add what the lake says to each cell: `new` and the number of `events`."""
    found = connection.sql(f"""
        SELECT grid.subject, grid.period, grid.zone, grid."start", grid."end",
            {aggregate_sql(meter)} AS quantity, count(*) AS events
        FROM events JOIN grid ON {belongs("events", "grid", whole=total.subject is None)}
        GROUP BY ALL""")
    totals = pl.DataFrame(found.to_arrow_table())
    new = totals.select(*CELL, aggregated(meter, totals, meter.decimals).alias("new"), "events")
    joined = grid.join(new, on=list(CELL), how="left")
    return joined.filter(pl.col("old").is_not_null() | pl.col("new").is_not_null()).sort(*CELL)


def _outside(connection: duckdb.DuckDBPyConnection, meter: Meter, total: BillingTotal) -> Total:
    """Events that no cell covers."""
    quantity = aggregate_sql(meter) if meter.aggregation in ADDITIVE else "0"
    row = connection.execute(f"""
        SELECT count(*), coalesce({quantity}, 0) FROM events
        ANTI JOIN grid ON {belongs("events", "grid", whole=total.subject is None)}""").fetchone()
    assert row is not None
    return Total(row[0], Decimal(row[1]))


def _judge(cells: pl.DataFrame, meter: Meter, total: BillingTotal) -> pl.DataFrame:
    """Add `difference`, `tolerance` and `status`."""
    zero = Decimal(0)
    rows = cells.select("old", "new", "days").rows()
    differences = [EXACT.subtract(new or zero, old or zero) for old, new, _ in rows]
    tolerances = [_tolerance(old or zero, days, meter, total) for old, _, days in rows]
    cells = cells.with_columns(
        exact_series("difference", differences, meter.decimals, f"comparison {total.name}"),
        exact_series("tolerance", tolerances, meter.decimals, f"comparison {total.name}"),
    )
    status = (
        pl.when(pl.col("difference") == 0)
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


def _tolerance(old: Decimal, days: int, meter: Meter, total: BillingTotal) -> Decimal:
    """The greater of both tolerances, rounded down to the digits that a difference can have."""
    declared = total.tolerance
    absolute = EXACT.multiply(declared.absolute, days if declared.per == "day" else 1)
    widest = max(absolute, EXACT.multiply(old.copy_abs(), declared.relative))
    return widest.quantize(Decimal(1).scaleb(-meter.decimals), ROUND_FLOOR, ROUNDING)
