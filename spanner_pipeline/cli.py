"""The command line: the same functions as the Dagster assets, for the terminal.

Exit codes: 0 fine; 1 a comparison broke, a partition failed or too many rows were rejected; 2 wrong
use or wrong configuration.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import fields
from datetime import UTC, datetime
from glob import glob
from pathlib import Path
from typing import Annotated, NoReturn
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import typer
from rich.console import Console
from rich.measure import Measurement
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
)
from rich.table import Table

from spanner_pipeline.configuration.source import BillingTotal, Source
from spanner_pipeline.control import ControlTotals
from spanner_pipeline.errors import PipelineError
from spanner_pipeline.reconciliation.report import grouped, plain
from spanner_pipeline.root import Catalog, DataRoot, load_catalog
from spanner_pipeline.usage import Bucket, query_usage

app = typer.Typer(
    help="Historical usage out of legacy systems into Open Spanner: imported once, explained.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
sources_app = typer.Typer(help="The sources of the data root.", no_args_is_help=True)
meters_app = typer.Typer(help="The meters of the data root.", no_args_is_help=True)
app.add_typer(sources_app, name="sources")
app.add_typer(meters_app, name="meters")

out = Console()
err = Console(stderr=True)

Data = Annotated[
    Path | None,
    typer.Option("--data", help="The data root; else $SPANNER_DATA, else ./data.", file_okay=False),
]


def main() -> None:
    """Run the command line; errors that a user can act on end without a stack trace."""
    try:
        app()
    except (PipelineError, OSError) as error:
        err.print(str(error), style="red", markup=False, highlight=False, soft_wrap=True)
        sys.exit(2)


@app.command()
def backfill(
    sources: Annotated[list[str] | None, typer.Argument(help="Sources; all by default.")] = None,
    first: Annotated[str | None, typer.Option("--from", help="First partition.")] = None,
    last: Annotated[str | None, typer.Option("--to", help="Last partition, inclusive.")] = None,
    data: Data = None,
) -> None:
    """Import legacy usage into the lake, then reconcile it with the old bills."""
    from spanner_pipeline.assets.backfill import run_backfill  # Dagster loads slowly: only here

    root = DataRoot.locate(data)
    with _progress() as on_source:
        outcome = run_backfill(root, sources or [], first, last, on_source)
    _show(_totals_table(outcome.totals))
    for (source, partition), why in outcome.failures.items():
        err.print(f"FAILED {source} {partition}: {why}", style="red", markup=False, soft_wrap=True)
    for name, why in outcome.broken.items():
        err.print(f"FAILED {name}: {why}", style="red", markup=False, soft_wrap=True)
    if outcome.verdicts:
        table = Table("comparison", "verdict", title="Old bills against the lake")
        table.add_column("report")
        for verdict in outcome.verdicts:
            report = _short(Path(verdict.report))
            table.add_row(verdict.comparison, _coloured(verdict.verdict), report)
        _show(table)
    if not outcome.entered and not outcome.failures:
        out.print("Nothing changed: all of this was in the lake already.")
    failed = any(verdict.verdict == "FAIL" for verdict in outcome.verdicts)
    raise typer.Exit(1 if failed or outcome.failures or outcome.broken else 0)


@app.command()
def reconcile(
    comparisons: Annotated[
        list[str] | None, typer.Argument(help="Comparisons; all by default.")
    ] = None,
    data: Data = None,
) -> None:
    """Compare old billing totals with the lake and write the reports."""
    from spanner_pipeline.reconciliation.compare import reconcile as compare
    from spanner_pipeline.reconciliation.report import write_report

    root = DataRoot.locate(data)
    catalog = load_catalog(root)
    table = Table("comparison", "verdict", title="Old bills against the lake")
    for column in ("old", "new", "difference", "unexplained"):
        table.add_column(column, justify="right")
    table.add_column("report")
    failed = False
    for source, total in _chosen(catalog, comparisons or []):
        try:
            comparison = compare(root, catalog, source, total)
        except PipelineError as error:
            failed = True
            err.print(f"FAILED {total.name}: {error}", style="red", markup=False, soft_wrap=True)
            continue
        report = write_report(root, comparison)
        failed |= comparison.verdict == "FAIL"
        table.add_row(
            total.name,
            _coloured(comparison.verdict),
            grouped(comparison.old_total),
            grouped(comparison.new_total),
            grouped(comparison.difference),
            grouped(comparison.unexplained),
            _short(report.html),
        )
    _show(table)
    raise typer.Exit(1 if failed else 0)


@app.command()
def query(
    meter: Annotated[str, typer.Argument(help="The meter.")],
    start: Annotated[str, typer.Option("--from", help="First instant or date, inclusive.")],
    end: Annotated[str, typer.Option("--to", help="Last instant or date, exclusive.")],
    bucket: Annotated[Bucket, typer.Option(help="Size of the buckets.")] = "day",
    group_by: Annotated[
        list[str] | None, typer.Option("--group-by", help="`subject` or a dimension; repeatable.")
    ] = None,
    filters: Annotated[
        list[str] | None, typer.Option("--filter", help="FIELD=VALUE; repeatable.")
    ] = None,
    zone: Annotated[str, typer.Option(help="Zone of dates and of the calendar.")] = "UTC",
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV instead of a table.")] = False,
    data: Data = None,
) -> None:
    """Aggregate a meter's usage into buckets, with Open Spanner's meaning."""
    root = DataRoot.locate(data)
    catalog = load_catalog(root)
    if meter not in catalog.meters:
        _misuse(f"there is no meter `{meter}` (known: {', '.join(catalog.meters)}).")
    where: dict[str, list[str]] = {}
    for text in filters or []:
        name, found, value = text.partition("=")
        if not found:
            _misuse(f"--filter {text}: write FIELD=VALUE.")
        where.setdefault(name, []).append(value)
    window = _instant(start, zone), _instant(end, zone)
    if window[0] >= window[1]:
        _misuse(f"--from {start} is not before --to {end}, which is exclusive.")
    frame = query_usage(
        root,
        catalog.meters[meter],
        *window,
        bucket,
        group_by or [],
        where,
        zone,
    )
    if as_csv:
        out.file.write(frame.write_csv())
        return
    table = Table(*frame.columns)
    for column in table.columns[-2:]:
        column.justify = "right"
    for row in frame.iter_rows(named=True):
        shown = {**row, "quantity": plain(row["quantity"])}
        table.add_row(*(str(value) for value in shown.values()))
    _show(table)


@sources_app.command("check")
def check_sources(data: Data = None) -> None:
    """Check the YAML of all sources, and whether their files are there."""
    from spanner_pipeline.sources.files import file_pattern

    root = DataRoot.locate(data)
    catalog = load_catalog(root)
    table = Table("source", "format", "feeds", "partitions", "files missing")
    missing_any = False
    for source in catalog.sources.values():
        keys = source.partition_keys(datetime.now(UTC).date())
        missing = [
            key
            for key in keys
            if not glob(file_pattern(source, key), root_dir=root.path, recursive=True)  # noqa: PTH207
        ]
        missing_any |= bool(missing)
        fed = [usage.name for usage in source.usage]
        fed += [f"comparison {total.name}" for total in source.billing_totals]
        shown = ", ".join(missing[:3]) + (f" and {len(missing) - 3} more" if missing[3:] else "")
        span = f"{len(keys)}: {keys[0]} … {keys[-1]}" if len(keys) > 1 else "".join(keys) or "none"
        table.add_row(source.source, source.format.family, "\n".join(fed), span, shown or "none")
    _show(table)
    raise typer.Exit(1 if missing_any else 0)


@meters_app.command("list")
def list_meters(data: Data = None) -> None:
    """List the meters, and what the lake holds of each."""
    from spanner_pipeline.lake.table import EventTable

    root = DataRoot.locate(data)
    catalog = load_catalog(root)
    table = Table("meter", "aggregation", "unit", "dimensions", "sources")
    table.add_column("events", justify="right")
    for meter in catalog.meters.values():
        fed_by = [
            s.source
            for s in catalog.sources.values()
            if any(usage.meter == meter.name for usage in s.usage)
        ]
        dimensions = ", ".join(d.name if d.required else f"{d.name}?" for d in meter.dimensions)
        events = grouped(EventTable(root, meter).count())
        table.add_row(
            meter.name, meter.aggregation, meter.unit, dimensions, ", ".join(fed_by), events
        )
    _show(table)


def _misuse(message: str) -> NoReturn:
    err.print(message, style="red", markup=False, soft_wrap=True)
    raise typer.Exit(2)


def _chosen(catalog: Catalog, names: list[str]) -> list[tuple[Source, BillingTotal]]:
    known = {total.name: (source, total) for source, total in catalog.comparisons}
    for name in names:
        if name not in known:
            _misuse(f"there is no comparison `{name}` (known: {', '.join(known)}).")
    return [known[name] for name in names or known]


def _instant(text: str, zone: str) -> datetime:
    try:
        clock = ZoneInfo(zone)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        _misuse(f"--zone {zone}: there is no such zone. Write one such as America/New_York.")
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        _misuse(f"`{text}`: write a date or time such as 2026-01-31T12:00:00Z.")
    return moment if moment.tzinfo else moment.replace(tzinfo=clock)


def _show(table: Table) -> None:
    """Print a table with all its digits; a terminal that is narrower wraps its lines."""
    unbounded = out.options.update_width(10_000)
    out.width = max(out.width, Measurement.get(out, unbounded, table).maximum)
    out.print(table)


def _short(path: Path) -> str:
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)


def _coloured(verdict: str) -> str:
    return {"PASS": "[green]PASS[/]", "WARN": "[yellow]WARN[/]"}.get(verdict, "[red]FAIL[/]")


def _totals_table(totals: dict[tuple[str, str], ControlTotals]) -> Table:
    table = Table(title="Rows imported")
    table.add_column("source", no_wrap=True)
    table.add_column("meter", no_wrap=True)
    names = [part.name for part in fields(ControlTotals)]
    for name in (*names, "quantity_read"):
        header = {"present": "already\npresent"}.get(name, name.replace("_", "\n", 1))
        table.add_column(header.replace("_", " "), justify="right", no_wrap=True)
    for (source, usage), total in totals.items():
        rows = [grouped(getattr(total, name).rows) for name in names]
        table.add_row(source, usage, *rows, grouped(total.read.quantity))
    return table


class _Advance(logging.Handler):
    """Moves the bar of the running source with every partition that is done."""

    def __init__(self, progress: Progress) -> None:
        super().__init__()
        self._progress = progress
        self._task: TaskID | None = None

    def begin(self, source: str, partitions: int) -> None:
        """Show a bar for the next source."""
        self._task = self._progress.add_task(source, total=partitions)

    def emit(self, record: logging.LogRecord) -> None:
        """Advance when the record says that a partition is through."""
        if self._task is not None and getattr(record, "partition_done", False):
            self._progress.advance(self._task)


@contextmanager
def _progress() -> Iterator[Callable[[str, int], None]]:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("partitions"),
        TimeElapsedColumn(),
    )
    logger = logging.getLogger("spanner_pipeline")
    with Progress(*columns, console=err) as progress:
        handler = _Advance(progress)
        logger.addHandler(handler)
        logger.setLevel(logging.DEBUG)
        try:
            yield handler.begin
        finally:
            logger.removeHandler(handler)


if __name__ == "__main__":
    main()
