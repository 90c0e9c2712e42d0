"""Pulling meters and events out of a running Open Spanner into the data root."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.table import Table
from rich.text import Text

from spanner_pipeline.cli.terminal import Data, complain, err, misuse, out, short, show
from spanner_pipeline.reconciliation.spelling import counted, grouped
from spanner_pipeline.root import DataRoot, load_catalog
from spanner_pipeline.selection import UnknownNameError, read_day, select_meter

if TYPE_CHECKING:
    from spanner_pipeline.delivery.pull_meters import PulledMeter

app = typer.Typer()
meters_app = typer.Typer()

Rehearse = Annotated[bool, typer.Option("--rehearse", help="Out of the workspace to rehearse in.")]


@app.command("pull-events")
def pull_events(
    meter: Annotated[str, typer.Argument(help="The meter.")],
    first: Annotated[str, typer.Option("--from", help="First UTC day.")],
    last: Annotated[
        str | None, typer.Option("--to", help="UTC day after the last one; else today.")
    ] = None,
    source: Annotated[
        str | None, typer.Option(help="The source that they become; else open_spanner_METER.")
    ] = None,
    rehearse: Rehearse = False,
    data: Data = None,
) -> None:
    """Write a live meter's raw events as files of a source, which `backfill` then imports.

    What was delivered from here is marked, and left out by the source. The service is named as for
    `deliver`.
    """
    from spanner_pipeline.delivery.client import OpenSpanner  # the SDK loads slowly: only here
    from spanner_pipeline.delivery.pull_events import ORIGINS
    from spanner_pipeline.delivery.pull_events import pull_events as pull
    from spanner_pipeline.delivery.target import Target

    root = DataRoot.locate(data)
    try:
        named = select_meter(load_catalog(root), meter)
    except UnknownNameError as error:
        misuse(f"{error} `meters pull` fetches it.")
    begin, end = read_day("--from", first), read_day("--to", last) or datetime.now(UTC).date()
    if begin is None:
        misuse("--from: write a UTC day, such as 2026-01-31.")
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with (
        OpenSpanner(Target.from_environment(rehearse=rehearse)) as client,
        Progress(*columns, TextColumn("days"), console=err) as bar,
    ):
        task = bar.add_task(meter, total=(end - begin).days)
        found = pull(root, named, client, begin, end, source, lambda: bar.advance(task))
    table = Table("where they came from", title=f"Events of {meter}, {begin} to {end}")
    table.add_column("events", justify="right")
    table.add_column("quantity", justify="right")
    for origin, total in found.origins.items():
        table.add_row(ORIGINS[origin], grouped(total.rows), grouped(total.quantity))
    show(table)
    _say(f"{counted(found.new, 'event')} were not in the files before.")
    if found.kept:
        _say(f"{counted(found.kept, 'event')} were, and the service has them no more: kept.")
    for line in found.notes:
        _say(line)
    span = f"--from {begin} --to {end - timedelta(days=1)}"
    _say(f"Import them: spanner-pipeline backfill {found.source} {span}")


def _say(text: str) -> None:
    out.print(text, markup=False, highlight=False, soft_wrap=True)


@meters_app.command("pull")
def pull_meters(
    names: Annotated[list[str] | None, typer.Argument(help="Which meters; else all.")] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace files that say something else.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Write nothing.")] = False,
    rehearse: Rehearse = False,
    data: Data = None,
) -> None:
    """Write the live meters of Open Spanner as YAML; exit code 1 where one differs from ours.

    The service is named as for `deliver`.
    """
    from spanner_pipeline.delivery.client import OpenSpanner  # the SDK loads slowly: only here
    from spanner_pipeline.delivery.pull_meters import pull_meters as pull
    from spanner_pipeline.delivery.target import Target

    root = DataRoot.locate(data)
    with OpenSpanner(Target.from_environment(rehearse=rehearse)) as client:
        pulled = pull(root, client, names or (), overwrite=overwrite, dry_run=dry_run)
    table = Table("meter", "file", "would be" if dry_run else "")
    for meter in pulled:
        table.add_row(meter.name, short(root.path / meter.file), meter.fate)
    show(table)
    for meter in pulled:
        if meter.fate in ("differs", "overwritten"):
            _side_by_side(meter)
        elif meter.fate == "cannot be used":
            complain(f"{meter.name} cannot be declared here: {meter.live}")
    if any(meter.fate == "differs" for meter in pulled):
        out.print("Nothing was changed in what differs. --overwrite takes the live meter.")
    wrong = any(meter.fate in ("differs", "cannot be used") for meter in pulled)
    raise typer.Exit(1 if wrong else 0)


def _side_by_side(meter: PulledMeter) -> None:
    table = Table("ours", "live", title=f"How {meter.name} differs")
    ours, live = meter.ours.splitlines(), meter.live.splitlines()
    for line in ours:
        table.add_row(Text(line), Text(line if line in live else ""))
    for line in live:
        if line not in ours:
            table.add_row("", Text(line))
    show(table)
