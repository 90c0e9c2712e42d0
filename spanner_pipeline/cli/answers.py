"""What the lake answers: usage, and its comparison with the old bills."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import typer
from rich.table import Table

from spanner_pipeline.cli.terminal import (
    Data,
    Period,
    checked,
    coloured,
    complain,
    misuse,
    out,
    short,
    show,
)
from spanner_pipeline.configuration.billing import BillingTotal
from spanner_pipeline.configuration.source import Source
from spanner_pipeline.errors import PipelineError
from spanner_pipeline.reconciliation.spelling import grouped, plain
from spanner_pipeline.root import Catalog, DataRoot, load_catalog
from spanner_pipeline.selection import select_meter
from spanner_pipeline.usage.calendar import Bucket
from spanner_pipeline.usage.filters import parse_filters
from spanner_pipeline.usage.query import query_usage

app = typer.Typer()


@app.command()
def reconcile(
    comparisons: Annotated[
        list[str] | None, typer.Argument(help="Comparisons; all by default.")
    ] = None,
    period: Period = None,
    data: Data = None,
) -> None:
    """Compare old billing totals with the lake, explain differences and write the reports."""
    from spanner_pipeline.reconciliation.publish import reconcile_and_publish

    root = DataRoot.locate(data)
    catalog = load_catalog(root)
    table = Table("comparison", "verdict", title="Old bills against the lake")
    for column in ("old", "new", "difference", "unexplained"):
        table.add_column(column, justify="right")
    table.add_column("report")
    failed, said = False, []
    for source, total in _chosen(catalog, comparisons or []):
        try:
            done = reconcile_and_publish(root, catalog, source, total, checked(period))
        except PipelineError as error:
            failed = True
            complain(f"FAILED {total.name}: {error}")
            continue
        comparison = done.comparison
        failed |= comparison.verdict == "FAIL"
        table.add_row(
            total.name,
            coloured(comparison.verdict),
            grouped(comparison.old_total),
            grouped(comparison.new_total),
            grouped(comparison.difference),
            grouped(comparison.unexplained),
            short(done.report.html),
        )
        said += [f"{total.name}: {line}" for line in [*comparison.failings, *done.signoffs]]
        if done.problem is not None:
            complain(f"{total.name}: {done.problem}")
    show(table)
    for line in said:
        out.print(line, markup=False, highlight=False, soft_wrap=True)
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
        list[str] | None,
        typer.Option(
            "--filter", help="FIELD=TEXT, FIELD>=VALUE, FIELD~TEXT, FIELD? or JSON; all must hold."
        ),
    ] = None,
    zone: Annotated[str, typer.Option(help="Zone of dates and of the calendar.")] = "UTC",
    empty: Annotated[bool, typer.Option("--empty", help="Show buckets without events.")] = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV instead of a table.")] = False,
    data: Data = None,
) -> None:
    """Aggregate a meter's usage into buckets, with Open Spanner's meaning."""
    root = DataRoot.locate(data)
    catalog = load_catalog(root)
    named = select_meter(catalog, meter)
    where = parse_filters(filters or [])
    window = _instant(start, zone), _instant(end, zone)
    if window[0] >= window[1]:
        misuse(f"--from {start} is not before --to {end}, which is exclusive.")
    frame = query_usage(
        root,
        named,
        *window,
        bucket,
        group_by or [],
        where,
        zone,
        empty=empty,
    )
    if as_csv:
        out.file.write(frame.write_csv())
        return
    table = Table(*frame.columns)
    for column in table.columns[-2:]:
        column.justify = "right"
    for row in frame.iter_rows(named=True):
        quantity = row["quantity"]
        shown = {**row, "quantity": "" if quantity is None else plain(quantity)}
        table.add_row(*(str(value) for value in shown.values()))
    show(table)


def _chosen(catalog: Catalog, names: list[str]) -> list[tuple[Source, BillingTotal]]:
    known = {total.name: (source, total) for source, total in catalog.comparisons}
    for name in names:
        if name not in known:
            misuse(f"there is no comparison `{name}` (known: {', '.join(known)}).")
    return [known[name] for name in names or known]


def _instant(text: str, zone: str) -> datetime:
    try:
        clock = ZoneInfo(zone)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        misuse(f"--zone {zone}: there is no such zone. Write one such as America/New_York.")
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        misuse(f"`{text}`: write a date or time such as 2026-01-31T12:00:00Z.")
    return moment if moment.tzinfo else moment.replace(tzinfo=clock)
