"""What a data root declares."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

import typer
from rich.table import Table

from spanner_pipeline.cli.terminal import Data, complain, out, show
from spanner_pipeline.errors import SourceFileError
from spanner_pipeline.reconciliation.spelling import grouped
from spanner_pipeline.root import DataRoot, load_catalog
from spanner_pipeline.selection import select_sources

_SHOWN = 20

app = typer.Typer()
sources_app = typer.Typer(help="The sources of the data root.", no_args_is_help=True)
meters_app = typer.Typer(help="The meters of the data root.", no_args_is_help=True)
app.add_typer(sources_app, name="sources")
app.add_typer(meters_app, name="meters")


@sources_app.command("check")
def check_sources(data: Data = None) -> None:
    """Check the YAML of all sources, whether their files are there, and their lookup files."""
    from spanner_pipeline.sources.customers import read_customers
    from spanner_pipeline.sources.files import list_files, present_files
    from spanner_pipeline.unmapped import mendable

    root = DataRoot.locate(data)
    catalog = load_catalog(root)
    table = Table("source", "format", "feeds", "partitions", "files missing")
    missing_any, unanswered = False, []
    anew: dict[str, list[str]] = {}
    for source in catalog.sources.values():
        keys = source.partition_keys(datetime.now(UTC).date())
        try:
            listed = list_files(root, source, set(keys))
            # A name that a wildcard lets belong to several partitions is listed for one of them.
            absent = [key for key in keys if key not in listed]
            missing = [key for key in absent if not present_files(root, source, key)]
        except SourceFileError as error:  # a store or a database; the other sources are shown
            unanswered.append(str(error))
            missing = keys
        missing_any |= bool(missing)
        for usage in source.usage:
            if usage.subject.lookup is not None:
                read_customers(root, usage.subject.lookup)  # says what is wrong with it
        anew[source.source] = mendable(root, source)
        fed = [usage.name for usage in source.usage]
        fed += [f"comparison {total.name}" for total in source.billing_totals]
        shown = _first(missing)
        span = f"{len(keys)}: {keys[0]} … {keys[-1]}" if len(keys) > 1 else "".join(keys) or "none"
        table.add_row(source.source, source.format.family, "\n".join(fed), span, shown or "none")
    show(table)
    for name, partitions in anew.items():
        if partitions:
            out.print(
                f"{name}: the lookup file changed since ids were missing in {_first(partitions)}. "
                f"Import again: spanner-pipeline backfill {name} --from {partitions[0]} "
                f"--to {partitions[-1]}",
                soft_wrap=True,
            )
    for message in unanswered:
        complain(message)
    raise typer.Exit(1 if missing_any or unanswered else 0)


def _first(partitions: list[str]) -> str:
    more = f" and {len(partitions) - 3} more" if partitions[3:] else ""
    return ", ".join(partitions[:3]) + more


@sources_app.command("unmapped")
def list_unmapped(
    names: Annotated[list[str] | None, typer.Argument(help="Sources; all by default.")] = None,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print all of it as CSV.")] = False,
    data: Data = None,
) -> None:
    """List the ids that lookup files lack, with the rows that were rejected for them."""
    import polars as pl

    from spanner_pipeline.lake.ledger import caught_up
    from spanner_pipeline.unmapped import unmapped_ids

    root = DataRoot.locate(data)
    catalog = load_catalog(root)
    chosen = select_sources(catalog, names or [])
    caught_up(root, catalog.meters.values())
    found = pl.concat([unmapped_ids(root, source) for source in chosen])
    if as_csv:
        out.file.write(found.write_csv())
        return
    table = Table(title="Ids without a customer")
    for name in found.columns:
        table.add_column(name.replace("_", "\n"), justify="right" if name == "rows" else "left")
    for *left, rows, first, last in found.head(_SHOWN).iter_rows():
        table.add_row(*left, grouped(rows), first, last)
    show(table)
    if found.height > _SHOWN:
        out.print(f"{grouped(found.height - _SHOWN)} more: --csv prints all.")
    if found.is_empty():
        out.print("Every id that was looked up has a customer.")


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
    show(table)
