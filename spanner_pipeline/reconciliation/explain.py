"""Why old and new differ: hypotheses, tested by aggregating again.

Each hypothesis predicts an amount of its own; it is taken only where that amount closes the gap to
the last digit. Rejected rows, which we know, are also taken where they narrow it, before the others
are tested again. What no hypothesis predicts stays unexplained.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import polars as pl

from spanner_pipeline.control import EXACT
from spanner_pipeline.importing import quarantine_file
from spanner_pipeline.lake.ledger import ImportRecord
from spanner_pipeline.meters import Meter
from spanner_pipeline.root import DataRoot

ADDITIVE = ("sum", "count")
"""Aggregations whose differences have parts; others are compared, not explained."""

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
    value = "quantity" if meter.aggregation == "sum" else "1"
    rejected = _rejected(root, connection, imports, value)
    days = _daily(connection, value)
    shifted = _in_utc(connection, value)
    causes: list[Explanation] = []
    for row in cells.iter_rows(named=True):
        cell: Cell = (row["subject"], row["period"], row["zone"])
        gap: Decimal = row["difference"]
        facts: list[Explanation] = []
        closing = _closing(cell, gap, row, days.get(cell, []), shifted.get(cell))
        if closing is None:
            for reason, rows, quantity in rejected.get(cell, []):
                if abs(EXACT.add(gap, quantity)) < abs(gap):
                    detail = f"{rows:,} rows rejected as {reason}"
                    facts.append(Explanation(cell, "rejected rows", detail, -quantity))
                    gap = EXACT.add(gap, quantity)
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
    """The first hypothesis that closes the gap to the last digit, if one does."""
    old: Decimal | None = row["old"]
    if gap == 0 or old is None:
        return None
    for cause, sign, verb in (
        ("day counted twice", -1, "counts twice"),
        ("day missing", 1, "lacks"),
    ):
        exact = [str(day) for day, quantity in days if quantity and sign * quantity == gap]
        if exact:
            detail = f"the old bill {verb} {' or '.join(exact)}"
            return Explanation(cell, f"{cause} in the old bill", detail, gap)
    settled = EXACT.subtract(row["difference"], gap)
    if utc is not None and EXACT.subtract(utc, settled) == old:
        detail = f"the old bill cuts this period in UTC, not in {row['zone']}"
        return Explanation(cell, "period boundary in another zone", detail, gap)
    return _rounding(cell, gap, old)


def _rounding(cell: Cell, gap: Decimal, old: Decimal) -> Explanation | None:
    """The rounding that leads from the exact old total to the one billed, if one does.

    A unit must be small beside the total: that 3,000 is a full thousand says nothing.
    """
    exact = EXACT.add(old, gap)
    for unit in ROUNDING_UNITS:
        quotient, remainder = EXACT.divmod(exact, unit)
        if exact <= 0 or not remainder or old < 100 * unit:
            continue
        roundings = {
            "to the nearest": quotient + (1 if remainder * 2 >= unit else 0),
            "up to a": quotient + 1,
            "down to a": quotient,
        }
        how = " or ".join(how for how, n in roundings.items() if EXACT.multiply(n, unit) == old)
        if how:
            detail = f"the old bill rounds {how} full {unit:,f}"
            return Explanation(cell, "rounding of the old bill", detail, gap)
    return None


def _rejected(
    root: DataRoot,
    connection: duckdb.DuckDBPyConnection,
    imports: Sequence[ImportRecord],
    value: str,
) -> dict[Cell, list[tuple[str, int, Decimal]]]:
    """Rejected rows whose subject, time and quantity are known, by cell and reason."""
    files = rejected_files(root, imports)
    if not files:
        return {}
    listing = ", ".join("'" + str(file).replace("'", "''") + "'" for file in files)
    counted = "coalesce(rejected.quantity, 0)" if value == "quantity" else "1"
    rows = connection.execute(f"""
        SELECT broken.subject, broken.period, broken.zone, reason_code,
            count(*), sum({counted})::DECIMAL(38, 9)
        FROM read_parquet([{listing}], union_by_name = true) AS rejected
        JOIN broken ON (broken.subject = '' OR broken.subject = rejected.subject)
            AND rejected."timestamp" >= broken."start" AND rejected."timestamp" < broken."end"
        GROUP BY ALL ORDER BY ALL""").fetchall()
    found: dict[Cell, list[tuple[str, int, Decimal]]] = {}
    for subject, period, zone, reason, count, quantity in rows:
        found.setdefault((subject, period, zone), []).append((reason, count, quantity))
    return found


def rejected_files(root: DataRoot, imports: Sequence[ImportRecord]) -> list[Path]:
    """The quarantine files of imports, where they rejected anything."""
    paths = [
        quarantine_file(root, i.source, i.partition, i.usage, i.batch, "rejected") for i in imports
    ]
    return [path for path in paths if path.is_file()]


def _daily(
    connection: duckdb.DuckDBPyConnection, value: str
) -> dict[Cell, list[tuple[Any, Decimal]]]:
    """Usage of each local day of the broken cells."""
    rows = connection.execute(f"""
        SELECT broken.subject, broken.period, broken.zone,
            timezone(broken.zone, events."timestamp")::DATE AS day, sum({value})
        FROM events JOIN broken ON (broken.subject = '' OR broken.subject = events.subject)
            AND events."timestamp" >= broken."start" AND events."timestamp" < broken."end"
        GROUP BY ALL ORDER BY ALL""").fetchall()
    found: dict[Cell, list[tuple[Any, Decimal]]] = {}
    for subject, period, zone, day, quantity in rows:
        found.setdefault((subject, period, zone), []).append((day, Decimal(quantity)))
    return found


def _in_utc(connection: duckdb.DuckDBPyConnection, value: str) -> dict[Cell, Decimal]:
    """What each broken cell would hold if its period were cut in UTC."""
    rows = connection.execute(f"""
        SELECT broken.subject, broken.period, broken.zone, sum({value})
        FROM events JOIN broken ON (broken.subject = '' OR broken.subject = events.subject)
            AND events."timestamp" >= broken.period::TIMESTAMPTZ
            AND events."timestamp" < (broken.period + to_days(broken.days::INTEGER))::TIMESTAMPTZ
        WHERE broken."start" <> broken.period::TIMESTAMPTZ
        GROUP BY ALL""").fetchall()
    return {(subject, period, zone): Decimal(q) for subject, period, zone, q in rows}
