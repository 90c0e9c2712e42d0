"""What a data root declares."""

from __future__ import annotations

from datetime import UTC, datetime

import typer
from rich.table import Table

from spanner_pipeline.cli.terminal import Data, complain, show
from spanner_pipeline.errors import SourceFileError
from spanner_pipeline.reconciliation.spelling import grouped
from spanner_pipeline.root import DataRoot, load_catalog

app = typer.Typer()
sources_app = typer.Typer(help="The sources of the data root.", no_args_is_help=True)
meters_app = typer.Typer(help="The meters of the data root.", no_args_is_help=True)
app.add_typer(sources_app, name="sources")
app.add_typer(meters_app, name="meters")


@sources_app.command("check")
def check_sources(data: Data = None) -> None:
    """Check the YAML of all sources, and whether their files are there."""
    from spanner_pipeline.sources.files import list_files, present_files

    root = DataRoot.locate(data)
    catalog = load_catalog(root)
    table = Table("source", "format", "feeds", "partitions", "files missing")
    missing_any, unanswered = False, []
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
        fed = [usage.name for usage in source.usage]
        fed += [f"comparison {total.name}" for total in source.billing_totals]
        shown = ", ".join(missing[:3]) + (f" and {len(missing) - 3} more" if missing[3:] else "")
        span = f"{len(keys)}: {keys[0]} … {keys[-1]}" if len(keys) > 1 else "".join(keys) or "none"
        table.add_row(source.source, source.format.family, "\n".join(fed), span, shown or "none")
    show(table)
    for message in unanswered:
        complain(message)
    raise typer.Exit(1 if missing_any or unanswered else 0)


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
