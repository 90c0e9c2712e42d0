"""`make bench-reconcile`: what comparing an old bill with the lake costs, beside a bare scan.

10 k customers by 10 days, a bill of a number for each, of which one in a thousand is wrong.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

import duckdb
import polars as pl

from spanner_pipeline.configuration.source import Source
from spanner_pipeline.engine import open_duckdb
from spanner_pipeline.lake.table import EventTable
from spanner_pipeline.reconciliation.compare import reconcile
from spanner_pipeline.reconciliation.publish import reconcile_and_publish
from spanner_pipeline.root import Catalog
from spanner_pipeline_tests.benchmarks import ours
from spanner_pipeline_tests.benchmarks.deliveries import COLUMNS, METER, generate
from spanner_pipeline_tests.benchmarks.table import aligned, columns, measure, say

EVERY = 1000
"""One number in so many is wrong on the bill."""

WRONG_BY = Decimal("17.003")

BILL = Source.model_validate(
    {
        "source": "old_bill",
        "format": {"family": "delimited"},
        "files": "bill.csv",
        "partitions": {"grain": "whole"},
        "billing_totals": [
            {
                "name": "bill",
                "meter": METER.name,
                "subject": "subject",
                "quantity": "quantity",
                "period": {"column": "day", "grain": "day", "format": "%Y-%m-%d", "zone": "UTC"},
                "tolerance": {"relative": "0.01%"},
            }
        ],
    }
)
CATALOG = Catalog({METER.name: METER}, {ours.SOURCE.source: ours.SOURCE, BILL.source: BILL})


def prepare(folder: Path, events: int) -> int:
    """Fill the lake, and write a bill of its daily totals, some of them wrong.

    Returns:
        How many numbers the bill has.
    """
    generate(folder, events, ("initial",))
    ours.merging(folder, "initial")()
    root = ours.root_of(folder)
    with open_duckdb() as connection:
        connection.execute(f"""
            CREATE TEMP TABLE truth AS
            SELECT subject, "timestamp"::DATE AS day, sum(quantity) AS quantity
            FROM ({EventTable(root, METER).select()}) GROUP BY ALL""")
        connection.execute(f"""
            COPY (
                SELECT subject, day, quantity + CASE
                    WHEN row_number() OVER (ORDER BY subject, day) % {EVERY} = 0 THEN {WRONG_BY}
                    ELSE 0 END AS quantity
                FROM truth ORDER BY subject, day
            ) TO '{root.path / "bill.csv"}' (HEADER)""")
        [[numbers]] = connection.execute("SELECT count(*) FROM truth").fetchall()
    return int(numbers)


def scanning(folder: Path, _: str) -> Callable[[], None]:
    """Read every column of the lake once, with DuckDB."""
    largest = ", ".join(f'max("{column}")' for column in COLUMNS)
    events = EventTable(ours.root_of(folder), METER).select()

    def step() -> None:
        with duckdb.connect() as connection:
            connection.execute(f"SELECT {largest} FROM ({events})").fetchall()

    return step


def reconciling(folder: Path, what: str) -> Callable[[], None]:
    """Compare and explain; with the report where that is asked for."""
    root = ours.root_of(folder)

    def step() -> None:
        if what == "report":
            done = reconcile_and_publish(root, CATALOG, BILL, BILL.billing_totals[0])
            comparison = done.comparison
        else:
            comparison = reconcile(root, CATALOG, BILL, BILL.billing_totals[0])
        wrong = comparison.cells.height // EVERY
        assert comparison.breaks.height == wrong, (comparison.breaks.height, wrong)
        assert comparison.unexplained == -wrong * WRONG_BY, comparison.unexplained

    return step


def with_polars(folder: Path, _: str) -> Callable[[], None]:
    """The same comparison written by hand: no causes, no control, no tolerance."""
    root = ours.root_of(folder)
    files = [str(file.location) for file in EventTable(root, METER).files()]

    def step() -> None:
        day = pl.col("timestamp").dt.date().alias("day")
        events = pl.scan_parquet(files).group_by("subject", day).agg(pl.col("quantity").sum())
        schema = {"subject": pl.String, "day": pl.Date, "quantity": pl.Decimal(38, 9)}
        bill = pl.scan_csv(root.path / "bill.csv", schema=schema)
        joined = bill.join(events, on=["subject", "day"], how="full", suffix="_new")
        gap = pl.col("quantity_new").fill_null(0) - pl.col("quantity").fill_null(0)
        joined.filter(gap != 0).collect(engine="streaming")

    return step


def main() -> None:
    """Run the bench."""
    parser = argparse.ArgumentParser(prog="make bench-reconcile", description=__doc__)
    parser.add_argument("events", type=int, nargs="?", default=10_000_000)
    events = parser.parse_args().events
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        folder = Path(name)
        say(f"filling a lake with {events:,} events ...")
        numbers = prepare(folder, events)
        lines = {
            "bare scan of the lake": measure("lake_scan", folder, "-"),
            "Polars, by hand": measure("polars_reconcile", folder, "-"),
            "compare and explain": measure("reconcile", folder, "compare"),
            "the same, with all reports": measure("reconcile", folder, "report"),
        }
    scan = lines["bare scan of the lake"]["cpu"]
    body = [
        [title, *columns(figures), f"{figures['cpu'] / scan:.2f}"]
        for title, figures in lines.items()
    ]
    sys.stdout.write(
        f"{events:,} events, {numbers:,} numbers on the bill; ratio of CPU seconds\n\n"
        + aligned(["", "CPU s", "wall s", "peak GB", "/ scan"], body)
        + "\n"
    )


if __name__ == "__main__":
    main()
