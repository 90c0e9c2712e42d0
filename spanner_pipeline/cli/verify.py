"""Whether a running Open Spanner holds what was delivered into it."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from spanner_pipeline.cli.terminal import Data, complain, misuse, out, short, show
from spanner_pipeline.reconciliation.spelling import counted, grouped, plain, signed
from spanner_pipeline.root import DataRoot, load_catalog
from spanner_pipeline.selection import read_day
from spanner_pipeline.whole import written_whole

if TYPE_CHECKING:
    from spanner_pipeline.delivery.verify import Verified

app = typer.Typer()

_SHOWN = 40


@app.command("verify-delivery")
def verify_delivery(
    meter: Annotated[str, typer.Argument(help="The meter.")],
    first: Annotated[str | None, typer.Option("--from", help="First UTC day.")] = None,
    last: Annotated[str | None, typer.Option("--to", help="UTC day after the last one.")] = None,
    thorough: Annotated[
        bool, typer.Option("--thorough", help="Compare every event by its key.")
    ] = False,
    rehearse: Annotated[
        bool, typer.Option("--rehearse", help="In the workspace to rehearse in.")
    ] = False,
    file: Annotated[
        Path | None, typer.Option("--csv", help="Write all differences here.", dir_okay=False)
    ] = None,
    data: Data = None,
) -> None:
    """Compare what was delivered with what Open Spanner holds; exit code 1 where unexplained.

    The service is named as for `deliver`.
    """
    from spanner_pipeline.delivery.client import OpenSpanner  # the SDK loads slowly: only here
    from spanner_pipeline.delivery.target import Target
    from spanner_pipeline.delivery.verify import verify_delivery as verify

    root = DataRoot.locate(data)
    catalog = load_catalog(root)
    meters = catalog.meters
    if meter not in meters:
        misuse(f"there is no meter `{meter}` (known: {', '.join(meters) or 'none'}).")
    days = read_day("--from", first), read_day("--to", last)
    with OpenSpanner(Target.from_environment(rehearse=rehearse)) as client:
        cut_over = catalog.cut_over(meter)
        found = verify(root, meters[meter], client, *days, cut_over=cut_over, thorough=thorough)
    _show(found)
    if file is not None:
        _write(found, file)
        out.print(f"Written to {short(file)}", soft_wrap=True)
    raise typer.Exit(1 if found.fails else 0)


def _show(found: Verified) -> None:
    from spanner_pipeline.delivery.causes import CAUSES

    table = Table("lake and ledger", title=f"Delivered {found.meter}, {found.start} to {found.end}")
    table.add_column("events", justify="right")
    table.add_column("quantity", justify="right")
    for place, total in found.beside_lake.items():
        table.add_row(place, grouped(total.rows), grouped(total.quantity))
    show(table)
    said = (
        f"The service holds {counted(found.there, 'event')}"
        f"{' of ours' if found.marked else ''}, the ledger {grouped(found.delivered.rows)}; "
        f"{counted(found.beside, 'event')} there without our mark. Compared {found.how}, in "
        f"{counted(found.calls, 'call')}."
    )
    out.print(said, markup=False, highlight=False, soft_wrap=True)
    for line in found.seam.remarks() if found.seam is not None else ():
        out.print(line, markup=False, highlight=False, soft_wrap=True)
    if not found.differences:
        out.print("The service holds what was delivered.")
        return
    table = Table("cause", "what it means", title="Differences")
    for name in ("places", "events", "theirs less ours"):
        table.add_column(name, justify="right")
    for cause, meaning in CAUSES.items():
        of_it = [difference for difference in found.differences if difference.cause == cause]
        if of_it:
            events = sum(difference.events for difference in of_it)
            more = sum((difference.quantity for difference in of_it), of_it[0].quantity * 0)
            numbers = (grouped(len(of_it)), grouped(events), signed(more))
            table.add_row(cause, meaning, *numbers)
    show(table)
    failing = [difference for difference in found.differences if difference.fails]
    for one in failing[:_SHOWN]:
        place = f"{one.subject}, {one.start:%Y-%m-%d} to {one.end:%Y-%m-%d}"
        key = f", such as {one.example}" if one.example else ""
        complain(
            f"FAIL {place}: {one.cause}: {counted(one.events, 'event')}, "
            f"{signed(one.quantity)}{key}"
        )
    if len(failing) > _SHOWN:
        complain(f"... and {grouped(len(failing) - _SHOWN)} more (--csv has them all).")


def _write(found: Verified, file: Path) -> None:
    with written_whole(file) as work, work.open("w", encoding="utf-8", newline="") as text:
        writer = csv.writer(text, lineterminator="\n")
        names = "meter,subject,from,to,verdict,cause,events,theirs_less_ours,example_key"
        writer.writerow(names.split(","))
        for one in found.differences:
            verdict = "FAIL" if one.fails else "explained"
            days = (f"{one.start:%Y-%m-%d}", f"{one.end:%Y-%m-%d}")
            numbers = (one.events, plain(one.quantity), one.example)
            writer.writerow((found.meter, one.subject, *days, verdict, one.cause, *numbers))
