"""`make bench-extract`: a legacy CSV all the way into the lake, beside a bare copy of it.

The bare copy is DuckDB's: it reads the CSV and writes it as Parquet, and knows no keys, rejects
nothing and sorts nothing. The whole way is what `spanner-pipeline backfill` does, without Dagster
and with it. A tenth of the rows shows whether memory grows with them.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

import duckdb

from spanner_pipeline.assets.backfill import run_backfill
from spanner_pipeline.engine import open_duckdb
from spanner_pipeline.importing import import_partition
from spanner_pipeline.lake.table import EventTable
from spanner_pipeline.root import DataRoot, load_catalog
from spanner_pipeline.selection import select_partitions
from spanner_pipeline_tests.benchmarks.deliveries import days_of
from spanner_pipeline_tests.benchmarks.profile import OF_IMPORT
from spanner_pipeline_tests.benchmarks.table import Figures, aligned, columns, measure, say

GOAL = 2.5
"""What the whole way of the same file may cost, in bare copies."""

_METER = """\
name: api_requests
unit: request
dimensions:
  - {name: region, type: string}
  - {name: plan, type: string, required: false}
"""
_SOURCE = """\
source: legacy
format: {family: delimited}
files: FILES
partitions: PARTITIONS
identity: {native: event_id}
usage:
  - meter: api_requests
    subject: account
    quantity: units
    timestamp: occurred_at
    dimensions: {region: region, plan: plan}
"""
_WHOLE = ("legacy/*.csv", "{grain: whole}")
_DAILY = ("legacy/{year}-{month}-{day}.csv", "{grain: day, from: 2024-01-01, to: 2024-01-11}")
_ROWS = """
    SELECT 'evt_' || lpad(i::VARCHAR, 10, '0') AS event_id, 'org_' || mixed // 3 % 10000 AS account,
        strftime(TIMESTAMP '{day}' + to_microseconds((i - {first}) * 86400000 // {rows} * 1000),
            '%Y-%m-%dT%H:%M:%S.%gZ') AS occurred_at,
        ['chat', 'search', 'embed', 'images', 'speech'][1 + mixed // 5 % 5] AS product,
        CAST(mixed % 1000000 + 1 AS DECIMAL(18, 3)) / 1000::DECIMAL(18, 3) AS units,
        ['eu', 'us', 'ap', 'sa'][1 + mixed // 7 % 4] AS region,
        ['free', 'pro', 'team'][1 + mixed // 13 % 3] AS plan,
        [200, 200, 200, 404, 500][1 + mixed // 11 % 5] AS status
    FROM (SELECT i, i * 2654435761 % 4294967296 AS mixed
        FROM range({first}::BIGINT, ({first} + {rows})::BIGINT) AS rows(i)) ORDER BY i"""


def generate(folder: Path, events: int) -> None:
    """Lay out two data roots with the same rows: as one file, `whole`, and one a day, `daily`."""
    for name, (files, partitions) in (("whole", _WHOLE), ("daily", _DAILY)):
        for kind, text in (("meters/api_requests", _METER), ("sources/legacy", _SOURCE)):
            file = folder / name / f"{kind}.yaml"
            file.parent.mkdir(parents=True)
            text = text.replace("FILES", files).replace("PARTITIONS", partitions)
            file.write_text(text, encoding="utf-8")
    whole, daily = (folder / name / "legacy" for name in ("whole", "daily"))
    whole.mkdir()
    daily.mkdir()
    with duckdb.connect() as connection, (whole / "usage.csv").open("wb") as one:
        for day, first, rows in days_of(events):
            file = daily / f"{day}.csv"
            selected = _ROWS.format(day=day, first=first, rows=rows)
            connection.execute(f"COPY ({selected}) TO '{file}' (HEADER)")
            with file.open("rb") as stream:
                if first:
                    stream.readline()
                shutil.copyfileobj(stream, one)


def copying(folder: Path, name: str) -> Callable[[], None]:
    """Read the CSV with DuckDB, and write it as Parquet, compressed as the lake's files are."""

    def step() -> None:
        with duckdb.connect() as connection:
            connection.execute(f"""
                COPY (FROM read_csv('{folder / name}/legacy/*.csv')) TO '{folder / "copy.parquet"}'
                (FORMAT parquet, COMPRESSION zstd, COMPRESSION_LEVEL 3)""")

    return step


def by_partition(folder: Path, name: str) -> Callable[[], None]:
    """Import each partition: digest, extract, key, validate, merge."""
    root = _fresh(folder, name)
    catalog = load_catalog(root)
    source = catalog.sources["legacy"]
    partitions = select_partitions(source, None, None)

    def step() -> None:
        for partition in partitions:
            import_partition(root, catalog, source, partition)

    return step


def backfilling(folder: Path, name: str) -> Callable[[], None]:
    """What the command does: the same through Dagster, then the usage of each day."""
    root = _fresh(folder, name)

    def step() -> None:
        outcome = run_backfill(root)
        assert not outcome.failures, outcome.failures
        assert not outcome.broken, outcome.broken

    return step


def _fresh(folder: Path, name: str) -> DataRoot:
    root = DataRoot(folder / name)
    for made in (root.lake, root.quarantine, root.staging, root.dagster_home, root.reports):
        shutil.rmtree(made, ignore_errors=True)
    return root


def verify(folder: Path, name: str) -> None:
    """The lake must hold what a reader of its own counts in the CSV. Wrong results are no bench.

    Raises:
        SystemExit: When it does not.
    """
    root = DataRoot(folder / name)
    lake = EventTable(root, load_catalog(root).meters["api_requests"]).select()
    with open_duckdb() as connection:
        connection.execute("SET memory_limit = '4GB'")  # this is checked, not measured
        held, read = (
            connection.execute(f"SELECT {what} FROM {table}").fetchall()[0]
            for what, table in (
                ("count(DISTINCT idempotency_key), count(*), sum(quantity)", f"({lake})"),
                (
                    "count(DISTINCT event_id), count(*), sum(units::DECIMAL(38, 9))",
                    f"read_csv('{root.path}/legacy/*.csv', all_varchar = true)",
                ),
            )
        )
    if held != read or not isinstance(held[2], Decimal):
        sys.exit(f"{name}: the lake holds {held}, the files {read}")
    say(f"verified: {held[1]:,} rows, every key once, quantity {held[2]}")


def main() -> None:
    """Run the bench."""
    parser = argparse.ArgumentParser(prog="make bench-extract", description=__doc__)
    parser.add_argument("events", type=int, nargs="?", default=10_000_000)
    parser.add_argument("--quick", action="store_true", help="one file without Dagster, no tenth")
    asked = parser.parse_args()
    lines = {"bare copy": ("csv_copy", "whole"), "one file": ("import", "whole")}
    if not asked.quick:
        lines |= {
            "ten daily files": ("import", "daily"),
            "one file, by `backfill`": ("backfill", "whole"),
        }
    sizes = (asked.events,) if asked.quick else (asked.events // 10, asked.events)
    measured = [_measured(events, lines) for events in sizes]
    sys.stdout.write(_told(asked.events, measured[-1], measured[0]))


def _measured(events: int, lines: dict[str, tuple[str, str]]) -> dict[str, Figures]:
    """The figures of some steps on so many rows, once their results were found right."""
    figures = {}
    with tempfile.TemporaryDirectory(prefix="bench-") as work:
        folder = Path(work)
        say(f"generating {events:,} rows ...")
        generate(folder, events)
        for title, (step, name) in lines.items():
            figures[title] = measure(step, folder, name)
            if step != "csv_copy":
                verify(folder, name)
    return figures


def _told(events: int, measured: dict[str, Figures], tenth: dict[str, Figures]) -> str:
    bare, *ours = measured
    body = []
    for title, figures in measured.items():
        ratio = figures["cpu"] / measured[bare]["cpu"]
        goal = f"{'met' if ratio <= GOAL else 'missed'}: <= {GOAL}" if title == "one file" else ""
        growth = figures["peak"] / tenth[title]["peak"]
        body.append([title, *columns(figures), f"{growth:.2f}", f"{ratio:.2f}", goal])
    parts = [
        [title, *(f"{measured[title]['parts'].get(part, 0):.2f}" for part in OF_IMPORT)]
        for title in ours
    ]
    header = ["", "CPU s", "wall s", "peak GB", "/ a tenth's", "/ copy", "goal"]
    return (
        f"{events:,} rows, {os.cpu_count()} cores; ratios of CPU seconds, and of peak memory\n\n"
        f"{aligned(header, body)}\n\nwhere the CPU seconds go\n\n"
        f"{aligned(['', *OF_IMPORT], parts)}\n"
    )


if __name__ == "__main__":
    main()
