"""One number, down to files and lines: what the old bill says, what the lake holds, what it lacks.

Belongs here: which number is meant and what is known of it. Not here: the rows themselves
(`number_rows`), or how they are printed.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from difflib import get_close_matches
from typing import Any

import duckdb
import polars as pl

from spanner_pipeline.configuration.source import WHOLE, Grain, next_period
from spanner_pipeline.configuration.values import complete_date
from spanner_pipeline.control import EXACT
from spanner_pipeline.engine import open_duckdb
from spanner_pipeline.errors import PipelineError
from spanner_pipeline.lake.ledger import Ledger
from spanner_pipeline.lake.records import ImportRecord
from spanner_pipeline.lake.sums import literal
from spanner_pipeline.lake.table import EventTable
from spanner_pipeline.meters import Meter
from spanner_pipeline.reconciliation.causes import Explanation
from spanner_pipeline.reconciliation.compare import Comparison
from spanner_pipeline.reconciliation.deliveries import Deliveries
from spanner_pipeline.reconciliation.proof.number_rows import (
    SHOWN,
    Aside,
    Slice,
    asides,
    lake_rows,
    unplaced,
)
from spanner_pipeline.root import Catalog, DataRoot
from spanner_pipeline.sources.copies import Copies
from spanner_pipeline.sources.files import find_files
from spanner_pipeline.sources.object_store import changed
from spanner_pipeline.sources.rows import read_rows
from spanner_pipeline.usage.aggregations import aggregate_sql, aggregated, no_overflow
from spanner_pipeline.usage.calendar import first_instant

_GRAINS: dict[int, Grain] = {4: "year", 7: "month", 10: "day"}
_ALIKE = 500
_DAY = timedelta(days=1)


class UnknownNumberError(PipelineError):
    """There is no such number; the message names those that are near."""


@dataclass(frozen=True)
class Bill:
    """What the old bill says of a number, and why the lake says something else.

    Attributes:
        comparison: The comparison that the number is of.
        number: Its row among the comparison's cells.
        lines: Where the old bill says it: `source_file`, `line`, `original`.
        causes: Its causes, in the order taken.
    """

    comparison: Comparison
    number: dict[str, Any]
    lines: pl.DataFrame
    causes: Sequence[Explanation]

    @property
    def adds_up(self) -> bool:
        """Whether old, the causes' parts and the unexplained part are new, to the last digit."""
        if self.number["difference"] is None:
            return True
        total = EXACT.add(self.number["old"] or Decimal(0), self.number["unexplained"])
        for cause in self.causes:
            total = EXACT.add(total, cause.quantity)
        return total == (self.number["new"] or Decimal(0))


@dataclass(frozen=True)
class Trace:
    """One number, down to files and lines.

    Attributes:
        part: Which usage it means.
        period: The name of its period.
        quantity: What the lake says, in the meter's unit; None where it has no events.
        events: How many events that is.
        files: Their source files: `source_file`, `rows`, `quantity` (the meter's aggregate of each,
            averages and rates by their numerator), first and last `line` and `time`.
        biggest: The biggest events: `idempotency_key`, `source_file`, `source_line`, `timestamp`,
            `quantity`.
        first: The first events.
        asides: What it does not count, by kind and reason.
        unplaced: Rejected rows that may be its own: nobody can read their subject or time.
        not_imported: Deliveries of its time that nobody imported, by source.
        imports: The imports that made the meter's events.
        bill: What the old bill says; None where no comparison has the number.
    """

    part: Slice
    period: str
    quantity: Decimal | None
    events: int
    files: pl.DataFrame
    biggest: pl.DataFrame
    first: pl.DataFrame
    asides: Sequence[Aside]
    unplaced: Sequence[Aside]
    not_imported: dict[str, list[str]]
    imports: Sequence[ImportRecord]
    bill: Bill | None = None


def trace_comparison(
    root: DataRoot,
    catalog: Catalog,
    comparison: Comparison,
    subject: str | None,
    period: str,
    zone: str | None = None,
) -> list[Trace]:
    """Trace the numbers of a comparison that a subject has in a period; usually it is one.

    Args:
        root: The data root.
        catalog: Its meters and sources.
        comparison: The comparison, just made.
        subject: Whose; None only where its totals are of all.
        period: The name of a period, or a day, month or year in which periods begin.
        zone: Only numbers on this clock.

    Raises:
        UnknownNumberError: When there is none.
    """
    total, meter = comparison.total, comparison.meter
    numbers = _chosen(comparison, subject, period, zone)
    lines = _bill_lines(root, comparison, numbers)
    traces = []
    for number in numbers.iter_rows(named=True):
        part = Slice(
            meter,
            number["zone"],
            number["start"],
            number["end"],
            number["subject"] if total.subject is not None else None,
            {name: number[f"dim_{name}"] for name in total.dimensions},
            total.only,
        )
        bill = Bill(
            comparison,
            number,
            lines.filter(_stands_in(number["lines"] or "")),
            comparison.causes_of(number["cell"]),
        )
        found = _trace(root, catalog, part, number["period"], comparison.imports, bill)
        if (found.quantity or 0) != (number["usage"] or 0):
            raise PipelineError("the lake changed meanwhile; run this again.")
        traces.append(found)
    return traces


def trace_lake(
    root: DataRoot,
    catalog: Catalog,
    meter: Meter,
    subject: str | None,
    period: str,
    zone: str = "UTC",
) -> Trace:
    """Trace what the lake says of a subject in a day, month, year or from one day to another.

    Raises:
        UnknownNumberError: When the lake has no such subject, or this is no period.
    """
    begins, ends = _days(period)
    days = pl.DataFrame({"begins": [begins], "ends": [ends]}).select(
        first_instant(pl.col("begins"), zone), first_instant(pl.col("ends"), zone)
    )
    start, end = days.row(0)
    part = Slice(meter, zone, start, end, subject)
    imports = [record for record in Ledger(root).current() if record.meter == meter.name]
    if subject is not None:
        with open_duckdb() as connection:
            _refuse_unknown(connection, EventTable(root, meter).select(), subject, meter.name)
    return _trace(root, catalog, part, period, imports, None)


def _trace(
    root: DataRoot,
    catalog: Catalog,
    part: Slice,
    period: str,
    imports: Sequence[ImportRecord],
    bill: Bill | None,
) -> Trace:
    meter = part.meter
    columns = 'idempotency_key, source_file, source_line, "timestamp", quantity'
    with open_duckdb() as connection, no_overflow(meter):
        connection.execute(f"CREATE TEMP VIEW counted AS {lake_rows(root, part)}")
        files = connection.sql(f"""
            SELECT source_file, count(*) AS rows, {aggregate_sql(meter)} AS quantity,
                min(source_line) AS first_line, max(source_line) AS last_line,
                min("timestamp") AS first_time, max("timestamp") AS last_time
            FROM counted GROUP BY source_file ORDER BY source_file""")
        by_file = pl.DataFrame(files.to_arrow_table())
        whole = f"SELECT {aggregate_sql(meter)} AS quantity, count(*) AS events FROM counted"
        bounds = pl.lit(part.start).alias("start"), pl.lit(part.end).alias("end")
        totals = pl.DataFrame(connection.sql(whole).to_arrow_table()).with_columns(bounds)
        events = totals["events"].item()
        quantity = aggregated(meter, totals, meter.decimals).item() if events else None
        in_order = '"timestamp", idempotency_key'
        biggest, first = (
            pl.DataFrame(
                connection.sql(
                    f"SELECT {columns} FROM counted ORDER BY {by} LIMIT {SHOWN}"
                ).to_arrow_table()
            )
            for by in (f"abs(quantity) DESC, {in_order}", in_order)
        )
        beside = asides(connection, root, part, imports)
        near = [record for record in imports if _may_hold(catalog, record, part)]
        maybe = unplaced(connection, root, part, near)
    missing = Deliveries(catalog, meter, imports).not_imported_during(
        pl.DataFrame({"start": [part.start], "end": [part.end]})
    )
    return Trace(
        part,
        period,
        quantity,
        events,
        by_file,
        biggest,
        first,
        beside,
        maybe,
        missing,
        imports,
        bill,
    )


def _may_hold(catalog: Catalog, record: ImportRecord, part: Slice) -> bool:
    """Whether a delivery is of the number's time, give or take a day for clocks."""
    source = catalog.sources.get(record.source)
    if source is None or record.partition == WHOLE:
        return True
    first = date.fromisoformat(complete_date(record.partition))
    after = next_period(source.partitions.grain, first)
    return first - _DAY <= part.end.date() and part.start.date() <= after + _DAY


def _chosen(
    comparison: Comparison, subject: str | None, period: str, zone: str | None
) -> pl.DataFrame:
    """The numbers that are meant.

    Raises:
        UnknownNumberError: When there are none.
    """
    cells, name = comparison.cells, comparison.total.name
    if comparison.total.subject is None:
        subject = None
    elif subject is None:
        raise UnknownNumberError(f"comparison {name} has a number for each subject. Name one.")
    if subject is not None:
        with open_duckdb() as connection:
            connection.register("numbers", cells.select("subject").unique())
            _refuse_unknown(connection, "FROM numbers", subject, f"comparison {name}")
        cells = cells.filter(subject=subject)
    found = cells.filter(pl.col("period") == period)
    if found.is_empty() and _is_calendar(period):
        found = cells.filter(pl.col("first").dt.to_string().str.starts_with(period))
    if found.is_empty():
        who = f"{subject} in comparison {name}" if subject is not None else f"comparison {name}"
        known = cells["period"].unique().sort().to_list()
        message = f"there is no number of {who} for `{period}`.{_near(period, known)}"
        raise UnknownNumberError(message)
    if zone is not None and found.filter(zone=zone).is_empty():
        clocks = ", ".join(found["zone"].unique().sort())
        raise UnknownNumberError(f"there is no such number on the clock {zone} (but on {clocks}).")
    return found if zone is None else found.filter(zone=zone)


def _refuse_unknown(
    connection: duckdb.DuckDBPyConnection, rows: str, subject: str, where: str
) -> None:
    """Refuse a subject that rows do not have, and name those that are spelled alike.

    Raises:
        UnknownNumberError: When they do not have it.
    """
    mine = literal(subject)
    known = f"SELECT 1 FROM ({rows}) WHERE subject = {mine} LIMIT 1"
    if connection.execute(known).fetchall():
        return
    likeness = f"jaro_winkler_similarity(lower(subject), lower({mine}))"
    alike = connection.execute(f"""
        SELECT DISTINCT subject, {likeness} AS likeness FROM ({rows})
        ORDER BY likeness DESC, subject LIMIT {_ALIKE}""").fetchall()
    near = _near(subject, [name for name, _ in alike])
    raise UnknownNumberError(f"there is no subject `{subject}` in {where}.{near}")


def _near(asked: str, known: Iterable[str]) -> str:
    names = [name for name in known if name]
    lower = {name.lower(): name for name in reversed(names)}
    close = [lower[name] for name in get_close_matches(asked.lower(), lower, 5, 0)]
    return f" Near: {', '.join(close)}." if close else ""


def _is_calendar(period: str) -> bool:
    return re.fullmatch(r"\d{4}(-\d{2}){0,2}", period) is not None


def _days(period: str) -> tuple[date, date]:
    """The first day of a period, and the first day after it.

    Raises:
        UnknownNumberError: When it is none.
    """
    begins, _, ends = period.partition("/")
    try:
        if ends:
            first, after = date.fromisoformat(begins), date.fromisoformat(ends)
        elif _is_calendar(period):
            first = date.fromisoformat(complete_date(period))
            after = next_period(_GRAINS[len(period)], first)
        else:
            raise ValueError
        if first >= after:
            raise ValueError
    except (ValueError, OverflowError):
        raise UnknownNumberError(
            f"`{period}` is no period. Write a day, month or year such as 2026-02-01, 2026-02 or "
            "2026, or two days such as 2026-02-01/2026-02-15, of which the last is exclusive."
        ) from None
    return first, after


def _bill_lines(root: DataRoot, comparison: Comparison, numbers: pl.DataFrame) -> pl.DataFrame:
    """The lines of the old bill that numbers stand in."""
    places = ", ".join(numbers["lines"].drop_nulls())
    columns = ["source_file", "line", "original"]
    files = find_files(root, comparison.source, WHOLE)  # the copies that were compared are gone
    if [file.content for file in files] != [file.content for file in comparison.old.files]:
        raise changed(files[0].name)
    with Copies(root, files) as copies:
        copies.fetch()
        rows = read_rows(comparison.source, files)
        return pl.concat(batch.select(columns).filter(_stands_in(places)) for batch in rows)


def _stands_in(places: str) -> pl.Expr:
    """Whether a line is among places such as `bill.csv:4, bill.csv:40`."""
    place = pl.concat_str(pl.lit(", "), "source_file", pl.lit(":"), "line", pl.lit(", "))
    return pl.lit(f", {places}, ").str.contains(place, literal=True)
