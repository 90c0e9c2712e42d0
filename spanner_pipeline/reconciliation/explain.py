"""Why old and new differ: hypotheses, tested by aggregating again.

Signs and magnitudes are copied (`copy_negate`, `copy_abs`): the operators round to 28 digits.

Each hypothesis predicts an amount of its own; it is taken only where that amount closes the gap to
the last digit. Rejected rows, which we know, are also taken where they narrow it, before the others
are tested again. What no hypothesis predicts stays unexplained.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import polars as pl

from spanner_pipeline.control import EXACT, exact_sum
from spanner_pipeline.lake.ledger import ImportRecord
from spanner_pipeline.lake.quarantine import quarantine_file
from spanner_pipeline.lake.sums import literal
from spanner_pipeline.meters import Meter
from spanner_pipeline.reconciliation.totals import CELL, belongs
from spanner_pipeline.root import DataRoot
from spanner_pipeline.usage.aggregations import ADDITIVE, ROUNDING, aggregate_sql

ROUNDING_UNITS = (Decimal(10) ** 9, Decimal(10) ** 6, Decimal(1000), Decimal(100), Decimal(1))

Cell = tuple[object, ...]


@dataclass(frozen=True)
class Explanation:
    """One cause of one cell's difference.

    Attributes:
        cell: The cell (subject, period, zone).
        cause: What kind of cause.
        detail: What exactly, for a person.
        quantity: Its part of new minus old.
    """

    cell: Cell
    cause: str
    detail: str
    quantity: Decimal


def explain(
    root: DataRoot,
    connection: duckdb.DuckDBPyConnection,
    meter: Meter,
    cells: pl.DataFrame,
    imports: Sequence[ImportRecord],
) -> list[Explanation]:
    """Find the causes of differences beyond tolerance.

    Args:
        root: The data root.
        connection: Has the view `events` of the meter; its time zone is UTC.
        meter: The meter.
        cells: The cells to explain, with `start`, `end`, `old`, `new` and `difference`.
        imports: The imports that made the new side.

    Returns:
        Causes in cell order, then in the order tested.
    """
    if cells.is_empty() or meter.aggregation not in ADDITIVE:
        return []
    connection.register("broken", cells)
    whole = bool((cells["subject"] == "").all())
    rejected = _rejected(root, connection, meter, imports, whole=whole)
    days = _daily(connection, meter, whole=whole)
    shifted = _in_utc(connection, meter, whole=whole)
    causes: list[Explanation] = []
    for row in cells.iter_rows(named=True):
        cell: Cell = (row["subject"], row["period"], row["zone"])
        gap: Decimal = row["difference"]
        facts: list[Explanation] = []
        closing = _closing(cell, gap, row, days.get(cell, []), shifted.get(cell))
        if closing is None:
            for reason, rows, quantity in rejected.get(cell, []):
                narrowed = EXACT.add(gap, quantity)
                if narrowed.copy_abs() < gap.copy_abs():
                    noun = "row" if rows == 1 else "rows"
                    detail = f"{rows:,} {noun} rejected as {reason}"
                    facts.append(Explanation(cell, "rejected rows", detail, quantity.copy_negate()))
                    gap = narrowed
            closing = _closing(cell, gap, row, days.get(cell, []), shifted.get(cell))
        causes += [*facts, *([closing] if closing else [])]
    return causes


def _closing(
    cell: Cell,
    gap: Decimal,
    row: dict[str, Any],
    days: list[tuple[Any, Decimal]],
    utc: Decimal | None,
) -> Explanation | None:
    """The first hypothesis that closes the gap to the last digit; it names those that do as well.

    Nobody can tell them apart by the numbers.
    """
    if gap == 0 or row["old"] is None:
        return None
    closing = [*_whole_days(gap, days), *_in_another_zone(gap, row, utc)]
    closing = closing or list(_rounding(gap, row["old"]))
    if not closing:
        return None
    details = "; or ".join(detail for _, detail in closing)
    return Explanation(cell, closing[0][0], f"the old bill {details}", gap)


def _whole_days(gap: Decimal, days: list[tuple[Any, Decimal]]) -> Iterator[tuple[str, str]]:
    for cause, amount, verb in (
        ("day counted twice", gap.copy_negate(), "counts twice"),
        ("day missing", gap, "lacks"),
    ):
        exact = [str(day) for day, quantity in days if quantity == amount]
        if exact:
            yield f"{cause} in the old bill", f"{verb} {' or '.join(exact)}"


def _in_another_zone(
    gap: Decimal, row: dict[str, Any], utc: Decimal | None
) -> Iterator[tuple[str, str]]:
    if utc is not None and EXACT.subtract(row["new"] or Decimal(0), utc) == gap:
        yield "period boundary in another zone", f"cuts this period in UTC, not in {row['zone']}"


def _rounding(gap: Decimal, old: Decimal) -> Iterator[tuple[str, str]]:
    """The rounding that leads from the exact old total to the one billed, by the largest unit.

    A unit must be small beside the total: that 3,000 is a full thousand says nothing.
    """
    exact = EXACT.add(old, gap)
    for unit in ROUNDING_UNITS:
        quotient, remainder = EXACT.divmod(exact, unit)
        if exact <= 0 or not remainder or old < 100 * unit:
            continue
        roundings = {
            "to the nearest": EXACT.add(quotient, EXACT.add(remainder, remainder) >= unit),
            "up to a": EXACT.add(quotient, 1),
            "down to a": quotient,
        }
        how = " or ".join(how for how, n in roundings.items() if EXACT.multiply(n, unit) == old)
        if how:
            yield "rounding of the old bill", f"rounds {how} full {unit:,f}"
            return


def _rejected(
    root: DataRoot,
    connection: duckdb.DuckDBPyConnection,
    meter: Meter,
    imports: Sequence[ImportRecord],
    *,
    whole: bool,
) -> dict[Cell, list[tuple[str, int, Decimal]]]:
    """Rejected rows whose subject, time and quantity are known, by cell and reason.

    Files of an earlier configuration may have other decimals, and DuckDB would cut them to those
    of the first. An amount that the meter cannot hold explains nothing.
    """
    by_type: dict[pl.DataType, list[Path]] = {}
    for file in rejected_files(root, imports):
        by_type.setdefault(pl.read_parquet_schema(file)["quantity"], []).append(file)
    sums: dict[tuple[Cell, str], tuple[int, Decimal]] = {}
    for files in by_type.values():
        listing = ", ".join(literal(file) for file in files)
        rows = connection.sql(f"""
            SELECT broken.subject, broken.period, broken.zone, reason_code, quantity
            FROM read_parquet([{listing}]) AS rejected
            JOIN broken ON {belongs("rejected", "broken", whole=whole)}""").to_arrow_table()
        parts = pl.DataFrame(rows).partition_by(*CELL, "reason_code", as_dict=True)
        for (*cell, reason), part in parts.items():
            count, quantity = sums.get((tuple(cell), str(reason)), (0, Decimal(0)))
            adds = exact_sum(part["quantity"]) if meter.aggregation == "sum" else part.height
            sums[tuple(cell), str(reason)] = (count + part.height, EXACT.add(quantity, adds))
    step = Decimal(1).scaleb(-meter.decimals)
    found: dict[Cell, list[tuple[str, int, Decimal]]] = {}
    for (key, reason), (count, quantity) in sorted(sums.items(), key=lambda item: item[0][1]):
        if not ROUNDING.remainder(quantity, step):
            found.setdefault(key, []).append((reason, count, quantity))
    return found


def rejected_files(root: DataRoot, imports: Sequence[ImportRecord]) -> list[Path]:
    """The quarantine files of imports, where they rejected anything."""
    paths = [quarantine_file(root, i.batch, i.usage, "rejected") for i in imports]
    return [path for path in paths if path.is_file()]


def _daily(
    connection: duckdb.DuckDBPyConnection, meter: Meter, *, whole: bool
) -> dict[Cell, list[tuple[Any, Decimal]]]:
    """Usage of each local day of the broken cells."""
    rows = connection.execute(f"""
        SELECT broken.subject, broken.period, broken.zone,
            timezone(broken.zone, events."timestamp")::DATE AS day, {aggregate_sql(meter)}
        FROM events JOIN broken ON {belongs("events", "broken", whole=whole)}
        GROUP BY ALL ORDER BY ALL""").fetchall()
    found: dict[Cell, list[tuple[Any, Decimal]]] = {}
    for subject, period, zone, day, quantity in rows:
        found.setdefault((subject, period, zone), []).append((day, quantity))
    return found


def _in_utc(
    connection: duckdb.DuckDBPyConnection, meter: Meter, *, whole: bool
) -> dict[Cell, Decimal]:
    """What each broken cell would hold if its period were cut in UTC, where that is another."""
    rows = connection.execute(f"""
        WITH cut AS (
            SELECT subject, period, zone, period::TIMESTAMPTZ AS "start",
                (period + to_days(days::INTEGER))::TIMESTAMPTZ AS "end"
            FROM broken WHERE broken."start" <> period::TIMESTAMPTZ
                OR broken."end" <> (period + to_days(days::INTEGER))::TIMESTAMPTZ)
        SELECT cut.subject, cut.period, cut.zone, {aggregate_sql(meter)}
        FROM events JOIN cut ON {belongs("events", "cut", whole=whole)}
        GROUP BY ALL""").fetchall()
    return {(subject, period, zone): quantity for subject, period, zone, quantity in rows}
