"""Exact totals of events in DuckDB, of any size."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import duckdb

from spanner_pipeline.control import EXACT, Total


def totals_by(
    connection: duckdb.DuckDBPyConnection, events: str, by: Sequence[str], decimals: int
) -> dict[tuple[Any, ...], Total]:
    """Rows and quantity of events, by some of their columns.

    Args:
        connection: Where `events` can be selected.
        events: SQL that selects them, with `quantity` and the columns to group by.
        by: Those columns.
        decimals: Digits of the quantity after the point.
    """

    def sums(quantity: str) -> list[tuple[Any, ...]]:
        columns = ", ".join(by)
        rows: list[tuple[Any, ...]] = connection.execute(
            f"SELECT {columns}, count(*), {quantity} FROM ({events}) GROUP BY {columns}"
        ).fetchall()
        return rows

    try:
        rows = sums("sum(quantity)")
    except duckdb.OutOfRangeException:  # more than a decimal column holds; whole numbers go on
        rows = sums("sum(replace(quantity::VARCHAR, '.', '')::BIGNUM)")
        rows = [(*row, EXACT.scaleb(Decimal(units), -decimals)) for *row, units in rows]
    return {tuple(group): Total(count, quantity) for *group, count, quantity in rows}


def sum_as_text(
    connection: duckdb.DuckDBPyConnection, name: str, events: str, by: str, decimals: int
) -> None:
    """Make a table of rows and exact quantity of events by a column; quantities are texts.

    Args:
        connection: Where `events` can be selected.
        name: The table to make.
        events: What to select from, with `quantity` and the column to group by.
        by: That column.
        decimals: Digits of the quantity after the point.
    """

    def make(quantity: str) -> None:
        connection.execute(f"""
            CREATE OR REPLACE TEMP TABLE {name} AS
            SELECT {by}, count(*) AS rows, {quantity} AS quantity FROM {events} GROUP BY {by}""")

    try:
        make("sum(quantity)::VARCHAR")
    except duckdb.OutOfRangeException:  # as above
        make(f"sum(replace(quantity::VARCHAR, '.', '')::BIGNUM)::VARCHAR || 'E-{decimals}'")


def literal(text: object) -> str:
    """A text as SQL spells it."""
    return "'" + str(text).replace("'", "''") + "'"
