"""Which days of which subjects are complete: missing, partial, zero and present, told apart.

A day is one of the subject's own clock. It is
  missing  nothing was imported for it: no delivery of it is in the ledger
  partial  imported, but rows were rejected or in conflict, or one of its deliveries is missing
  zero     imported, with no event of the subject
  present  imported, with events
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from typing import Literal

import duckdb
import polars as pl

from spanner_pipeline.configuration.source import WHOLE, next_period
from spanner_pipeline.configuration.values import complete_date
from spanner_pipeline.engine import open_duckdb
from spanner_pipeline.lake.quarantine import Kind, quarantine_files
from spanner_pipeline.lake.sums import literal
from spanner_pipeline.lake.table import EventTable
from spanner_pipeline.reconciliation.compare import BREAKS, Comparison
from spanner_pipeline.reconciliation.lake_side import create_events_view
from spanner_pipeline.root import DataRoot, load_sound
from spanner_pipeline.usage.aggregations import ADDITIVE, aggregate_sql, no_overflow
from spanner_pipeline.usage.calendar import first_instant
from spanner_pipeline.usage.filters import group_sql

MISSING, PARTIAL, ZERO, PRESENT = "missing", "partial", "zero", "present"
MOST_SUBJECTS = 30
MOST_DAYS = 92
"""A longer time is shown by month."""

MOST_COLUMNS = 120

Grain = Literal["day", "month"]


@dataclass(frozen=True)
class Completeness:
    """What is there of the compared time.

    Attributes:
        subjects: Those shown: of the biggest breaks, then of the biggest usage.
        more: How many are not shown.
        grain: Whether `cells` are days or months.
        columns: The first days of what is shown, oldest first.
        earlier: How many days or months before them are left out.
        cells: `subject`, `day` (the first of the month where months are shown), `state`, `usage`
            and `events`.
        gaps: Days that are missing or partial, next ones of the same kind as one row: `subjects`,
            `first`, `last`, `state`, `why` and `rows` (rejected or in conflict).
        unplaced: Rows rejected or in conflict of which subject or time is not known.
    """

    subjects: list[str]
    more: int
    grain: Grain
    columns: list[date]
    earlier: int
    cells: pl.DataFrame
    gaps: pl.DataFrame
    unplaced: int


def completeness(root: DataRoot, comparison: Comparison) -> Completeness | None:
    """Look at every day of the compared time; None where there is no such time.

    Args:
        root: The data root.
        comparison: The comparison.
    """
    if comparison.cells.is_empty():
        return None
    shown, more = _chosen(comparison)
    days = _days(comparison, shown)
    with open_duckdb() as connection, no_overflow(comparison.meter):
        create_events_view(connection, EventTable(root, comparison.meter), comparison.total)
        connection.register("days", days)
        connection.register("deliveries", _deliveries(root, comparison, days))
        unplaced = _create_aside(connection, root, comparison)
        states = _states(connection, comparison)
    columns = states["day"].unique().sort()
    grain: Grain = "day"
    cells = states
    if columns.len() > MOST_DAYS:
        grain, cells = "month", _by_month(states)
        columns = cells["day"].unique().sort()
    return Completeness(
        shown["subject"].to_list(),
        more,
        grain,
        columns.tail(MOST_COLUMNS).to_list(),
        max(0, columns.len() - MOST_COLUMNS),
        cells.filter(pl.col("day").is_in(columns.tail(MOST_COLUMNS).implode())),
        _gaps(states),
        unplaced,
    )


def _chosen(comparison: Comparison) -> tuple[pl.DataFrame, int]:
    """Subjects with their clock, the most interesting first, and how many are left."""
    broken = pl.col("status").is_in(BREAKS)
    ranked = (
        comparison.cells.sort("start")
        .group_by("subject", maintain_order=True)
        .agg(
            pl.col("zone").drop_nulls().last().fill_null("UTC"),
            pl.when(broken).then(pl.col("difference").abs()).max().fill_null(0).alias("gap"),
            pl.col("usage").abs().max().fill_null(0).alias("most"),
        )
        .sort("gap", "most", "subject", descending=[True, True, False])
    )
    shown = ranked.head(MOST_SUBJECTS).select("subject", "zone").with_row_index("place")
    return shown, ranked.height - shown.height


def _days(comparison: Comparison, shown: pl.DataFrame) -> pl.DataFrame:
    """Every day of the compared time of every subject shown, with its `start` and `end` in UTC."""
    first = pl.col("first").cast(pl.Date)
    span = comparison.cells.select(
        first.min().alias("low"), (first + pl.duration(days=pl.col("days"))).max().alias("high")
    )
    days = span.select(
        pl.date_range(pl.col("low").first(), pl.col("high").first(), closed="left").alias("day")
    )
    next_day = pl.col("day").dt.offset_by("1d")
    parts = [
        days.with_columns(
            pl.lit(zone).alias("zone"),
            first_instant(pl.col("day"), zone).alias("start"),
            first_instant(next_day, zone).alias("end"),
        )
        for zone in shown["zone"].unique().sort()
    ]
    return shown.join(pl.concat(parts), on="zone", how="inner")


def _deliveries(root: DataRoot, comparison: Comparison, days: pl.DataFrame) -> pl.DataFrame:
    """Deliveries with the time that they are for (`from`, `until`), and whether each is `there`."""
    there = {(record.source, record.partition) for record in comparison.imports}
    absent = {(name, key) for name, keys in comparison.not_imported.items() for key in keys}
    clocks = _clocks(root, comparison)
    rows = []
    for source, key in sorted(there | absent):
        low, high = _span(key)
        rows.append((clocks.get(source, "UTC"), low, high, (source, key) in there))
    schema = {"clock": pl.String, "low": pl.Date, "high": pl.Date, "there": pl.Boolean}
    found = pl.DataFrame(rows, schema=schema, orient="row")
    always = (days["start"].min(), days["end"].max())
    parts = [
        part.select(
            first_instant(pl.col("low"), str(clock)).fill_null(always[0]).alias("from"),
            first_instant(pl.col("high"), str(clock)).fill_null(always[1]).alias("until"),
            "there",
        )
        for (clock,), part in found.partition_by("clock", as_dict=True).items()
    ]
    dtype = days.schema["start"]
    empty = pl.DataFrame(schema={"from": dtype, "until": dtype, "there": pl.Boolean})
    return pl.concat([empty, *parts])


def _clocks(root: DataRoot, comparison: Comparison) -> dict[str, str]:
    """The clock on which each source delivers: that of its naive times, else UTC."""
    catalog, _ = load_sound(root)  # the YAML of another source may be broken
    return {
        source.source: zone
        for source in catalog.sources.values()
        for usage in source.usage
        if usage.meter == comparison.meter.name
        and (zone := source.zone_of(usage.timestamp)) is not None
    }


def _span(partition: str) -> tuple[date | None, date | None]:
    """The first day of a partition, and the first after it; a whole has none."""
    if partition == WHOLE:
        return None, None
    first = date.fromisoformat(complete_date(partition))
    parts = partition.count("-")
    return first, next_period("day" if parts == 2 else "month" if parts else "year", first)


def _create_aside(
    connection: duckdb.DuckDBPyConnection, root: DataRoot, comparison: Comparison
) -> int:
    """Make the view `aside`, `subject` and `timestamp` of rejected and refused rows.

    Returns:
        How many of them have no subject or no time.
    """
    nothing = 'SELECT NULL::VARCHAR AS subject, NULL::TIMESTAMPTZ AS "timestamp" WHERE false'
    parts = " UNION ALL ".join([nothing, *_aside(root, comparison)])
    connection.execute(f"CREATE TEMP TABLE aside AS {parts}")
    [[unplaced]] = connection.execute(
        "SELECT count(*) FROM aside WHERE coalesce(subject, '') = '' OR \"timestamp\" IS NULL"
    ).fetchall()
    return int(unplaced)


def _aside(root: DataRoot, comparison: Comparison) -> Iterator[str]:
    total, meter = comparison.total, comparison.meter
    kinds: tuple[tuple[Kind, str], ...] = (("rejected", ""), ("conflicts", "refused_"))
    for kind, prefix in kinds:
        asked = [f"{prefix}dim_{name}" for name in total.only]
        # Files of before their meter got a dimension that is asked for say nothing of it.
        files = [
            file
            for file in quarantine_files(root, comparison.imports, kind)
            if not asked or set(asked) <= set(pl.read_parquet_schema(file))
        ]
        if not files:
            continue
        names = ["subject", '"timestamp"', *(f'"dim_{name}"' for name in total.only)]
        columns = ", ".join(f'"{prefix}{name.strip(chr(34))}" AS {name}' for name in names)
        where = " AND ".join(
            f"{group_sql(meter, name)} IN ({', '.join(map(literal, values))})"
            for name, values in total.only.items()
        )
        subject = "subject" if total.subject is not None else "''"
        listing = ", ".join(literal(file) for file in files)
        yield f"""SELECT {subject} AS subject, "timestamp" FROM (SELECT {columns}
            FROM read_parquet([{listing}], union_by_name = true)) WHERE {where or "true"}"""


def _states(connection: duckdb.DuckDBPyConnection, comparison: Comparison) -> pl.DataFrame:
    """Every day with its state, in the order of subjects and days."""
    additive = comparison.meter.aggregation in ADDITIVE
    usage = aggregate_sql(comparison.meter) if additive else "count(*)"
    shift = 1 if comparison.total.period.bounds == "(start, end]" else 0
    day = f"""timezone(shown.zone, "timestamp" - to_microseconds({shift}))::DATE AS day"""
    found = connection.sql(f"""
        WITH shown AS (SELECT DISTINCT subject, zone FROM days),
        bounds AS (SELECT min("start") AS low, max("end") AS high FROM days),
        used AS (
            SELECT subject, {day}, {usage} AS usage, count(*) AS events
            FROM events JOIN shown USING (subject), bounds
            WHERE "timestamp" >= low AND "timestamp" <= high GROUP BY ALL),
        lost AS (
            SELECT subject, {day}, count(*) AS "rows"
            FROM aside JOIN shown USING (subject) GROUP BY ALL),
        spans AS (SELECT DISTINCT "day", zone, "start", "end" FROM days),
        fed AS (
            SELECT spans."day", zone, count(*) AS due, count(*) FILTER (there) AS came
            FROM spans JOIN deliveries ON "from" < "end" AND "until" > "start" GROUP BY ALL)
        SELECT place, subject, days."day", usage, coalesce(events, 0) AS events,
            coalesce("rows", 0) AS "rows", coalesce(due, 0) AS due, coalesce(came, 0) AS came
        FROM days LEFT JOIN used USING (subject, "day") LEFT JOIN lost USING (subject, "day")
        LEFT JOIN fed USING ("day", zone) ORDER BY place, days."day" """)
    there, used = pl.col("came") > 0, pl.col("events") > 0
    state = (
        pl.when(~there & ~used)
        .then(pl.lit(MISSING))
        .when(~there | (pl.col("came") < pl.col("due")) | (pl.col("rows") > 0))
        .then(pl.lit(PARTIAL))
        .when(used)
        .then(pl.lit(PRESENT))
        .otherwise(pl.lit(ZERO))
    )
    return pl.DataFrame(found.to_arrow_table()).with_columns(state.alias("state"))


def _by_month(states: pl.DataFrame) -> pl.DataFrame:
    """Months: missing if all days are, partial if any is missing or partial."""
    state = pl.col("state")
    worst = (
        pl.when((state == MISSING).all())
        .then(pl.lit(MISSING))
        .when(state.is_in([MISSING, PARTIAL]).any())
        .then(pl.lit(PARTIAL))
        .when((state == PRESENT).any())
        .then(pl.lit(PRESENT))
        .otherwise(pl.lit(ZERO))
    )
    month = pl.col("day").dt.truncate("1mo")
    return states.group_by("place", "subject", month, maintain_order=True).agg(
        worst.alias("state"), pl.col("usage").sum(), pl.col("events").sum()
    )


def _gaps(states: pl.DataFrame) -> pl.DataFrame:
    """Missing and partial days; next ones of one kind, and subjects that share them, as one."""
    why = (
        pl.when(pl.col("state") == MISSING)
        .then(pl.lit("nothing was imported"))
        .when(pl.col("came") == 0)
        .then(pl.lit("only events that came with deliveries of other days"))
        .when(pl.col("came") < pl.col("due"))
        .then(pl.lit("not all of its deliveries were imported"))
        .otherwise(pl.lit("rows rejected or in conflict"))
    )
    kind = ["subject", "state", "why"]
    run = (pl.col("day").diff() != pl.duration(days=1)).fill_null(value=True).cum_sum().over(kind)
    runs = (
        states.filter(pl.col("state").is_in([MISSING, PARTIAL]))
        .with_columns(why.alias("why"))
        .with_columns(run.alias("run"))
        .group_by("place", *kind, "run", maintain_order=True)
        .agg(
            pl.col("day").min().alias("first"),
            pl.col("day").max().alias("last"),
            pl.col("rows").sum(),
        )
    )
    return (
        runs.group_by("first", "last", "state", "why", maintain_order=True)
        .agg(pl.col("subject").alias("subjects"), pl.col("rows").sum())
        .sort("state", "first", "last", "why")
    )
