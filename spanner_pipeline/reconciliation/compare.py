"""Old billing totals against the lake, cell by cell, exactly.

A cell is one number: a subject (or all), a period, a clock. Its difference is new minus old. A
difference within the declared tolerance passes, and is shown all the same.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import Literal

import duckdb
import polars as pl

from spanner_pipeline.configuration.source import BillingTotal, Source
from spanner_pipeline.control import EXACT, Total, exact_sum
from spanner_pipeline.lake.ledger import ImportRecord, Ledger
from spanner_pipeline.lake.table import EventTable
from spanner_pipeline.meters import Meter
from spanner_pipeline.reconciliation.explain import Explanation, explain
from spanner_pipeline.reconciliation.totals import (
    CELL,
    OldTotals,
    read_old_totals,
    with_bounds,
)
from spanner_pipeline.root import Catalog, DataRoot
from spanner_pipeline.usage import aggregate_sql

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
        outside: Events in the lake that no cell covers, and their quantity: usage that this bill
            could not bill.
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
        """Whether anything is beyond tolerance, or could not be compared."""
        return not self.breaks.is_empty() or not self.old.unreadable.is_empty()

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
        share = (declared.relative * 100).normalize()
        units = f"{declared.absolute.normalize():f} {self.meter.unit}{per}"
        return f"{units} or {share:f} % of the old total"

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
        """The part of the difference that no cause explains."""
        return exact_sum(self.cells["unexplained"])

    def causes_of(self, cell: tuple[object, ...]) -> list[Explanation]:
        """The causes found for one cell, in the order they were tested."""
        return [cause for cause in self.causes if cause.cell == cell]


def reconcile(root: DataRoot, catalog: Catalog, source: Source, total: BillingTotal) -> Comparison:
    """Compare one billing total with the lake.

    Raises:
        SourceFileError: When the old export cannot be read as declared.
    """
    meter = catalog.meters[total.meter]
    old = read_old_totals(root, source, total, meter)
    table = EventTable(root, meter)
    imports = tuple(record for record in Ledger(root).current() if record.meter == meter.name)
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        connection.execute(f"CREATE TEMP VIEW events AS {table.select()}")
        grid = with_bounds(_grid(connection, old, total), total.period)
        connection.register("grid", grid)
        cells = _judge(_new_side(connection, grid, meter), total)
        beyond = cells.filter(~pl.col("status").is_in([MATCH, WITHIN_TOLERANCE]))
        causes = explain(root, connection, meter, beyond, imports)
        outside = _outside(connection)
    explained = _by_cell(causes)
    unexplained = [
        EXACT.subtract(cell["difference"], explained.get(tuple(cell[n] for n in CELL), Decimal(0)))
        for cell in cells.iter_rows(named=True)
    ]
    cells = cells.with_columns(
        pl.Series("unexplained", unexplained, dtype=cells.schema["difference"])
    )
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
    """Every cell either side could have: subjects by periods, each subject on its own clock."""
    if total.subject is None:
        return old.cells
    periods = old.cells.select("period").unique()
    clocks = old.cells.select("subject", "zone").unique()
    clock = total.period.zone.constant or "UTC"
    found = pl.DataFrame(connection.sql("SELECT DISTINCT subject FROM events").to_arrow_table())
    unbilled = found.join(clocks, on="subject", how="anti").select(
        pl.col("subject").cast(pl.String), pl.lit(clock).alias("zone")
    )
    every = pl.concat([clocks, unbilled]).join(periods, how="cross")
    return every.join(old.cells, on=list(CELL), how="left").select(old.cells.columns)


def _new_side(
    connection: duckdb.DuckDBPyConnection, grid: pl.DataFrame, meter: Meter
) -> pl.DataFrame:
    """Add what the lake says to each cell: `new` and the number of `events`."""
    new = connection.sql(f"""
        SELECT grid.subject, grid.period, grid.zone,
            {aggregate_sql(meter)} AS new, count(*) AS events
        FROM events JOIN grid ON (grid.subject = '' OR grid.subject = events.subject)
            AND events."timestamp" >= grid."start" AND events."timestamp" < grid."end"
        GROUP BY ALL""")
    joined = grid.join(pl.DataFrame(new.to_arrow_table()), on=list(CELL), how="left")
    return joined.filter(pl.col("old").is_not_null() | pl.col("new").is_not_null()).sort(*CELL)


def _outside(connection: duckdb.DuckDBPyConnection) -> Total:
    """Events that no cell covers."""
    row = connection.execute("""
        SELECT count(*), coalesce(sum(quantity), 0) FROM events ANTI JOIN grid
        ON (grid.subject = '' OR grid.subject = events.subject)
            AND events."timestamp" >= grid."start" AND events."timestamp" < grid."end"
    """).fetchone()
    assert row is not None
    return Total(*row)


def _judge(cells: pl.DataFrame, total: BillingTotal) -> pl.DataFrame:
    """Add `difference`, `tolerance` and `status`."""
    quantity = cells.schema["old"]
    old, new = pl.col("old").fill_null(0), pl.col("new").fill_null(0)
    absolute = pl.lit(total.tolerance.absolute).cast(quantity)
    if total.tolerance.per == "day":
        absolute = (absolute * pl.col("days")).cast(quantity)
    relative = [
        EXACT.multiply(abs(value or Decimal(0)), total.tolerance.relative) for value in cells["old"]
    ]
    step = Decimal(1).scaleb(-quantity.scale) if isinstance(quantity, pl.Decimal) else Decimal(1)
    floored = [value.quantize(step, "ROUND_FLOOR", EXACT_ROUNDING) for value in relative]
    cells = cells.with_columns(
        (new - old).cast(quantity).alias("difference"),
        pl.max_horizontal(absolute, pl.Series("relative", floored, dtype=quantity)).alias(
            "tolerance"
        ),
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


EXACT_ROUNDING = EXACT.copy()
EXACT_ROUNDING.clear_traps()
"""Rounds a tolerance down to the meter's decimals; quantities are never rounded."""
