"""Whether a running Open Spanner holds what was delivered into it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from spanner_pipeline.cli.terminal import (
    Data,
    coloured,
    complain,
    out,
    short,
    show,
)
from spanner_pipeline.reconciliation.spelling import counted, grouped, signed
from spanner_pipeline.root import DataRoot, load_catalog
from spanner_pipeline.selection import read_day, select_meter

if TYPE_CHECKING:
    from spanner_pipeline.delivery.three_way import ThreeWay
    from spanner_pipeline.delivery.verify import Verified

app = typer.Typer()

_SHOWN = 40


@app.command("verify-delivery")
def verify_delivery(
    meter: Annotated[str, typer.Argument(help="The meter.")],
    comparison: Annotated[
        str | None, typer.Option(help="Beside this old bill and the lake, number by number.")
    ] = None,
    first: Annotated[str | None, typer.Option("--from", help="First UTC day.")] = None,
    last: Annotated[str | None, typer.Option("--to", help="UTC day after the last one.")] = None,
    thorough: Annotated[
        bool, typer.Option("--thorough", help="Compare every event by its key.")
    ] = False,
    rehearse: Annotated[
        bool, typer.Option("--rehearse", help="In the workspace to rehearse in.")
    ] = False,
    data: Data = None,
) -> None:
    """Compare what was delivered with what Open Spanner holds; exit code 1 where unexplained.

    The service is named as for `deliver`.
    """
    from spanner_pipeline.delivery.client import OpenSpanner  # the SDK loads slowly: only here
    from spanner_pipeline.delivery.publish import verify_and_publish
    from spanner_pipeline.delivery.target import Target

    root = DataRoot.locate(data)
    catalog = load_catalog(root)
    named = select_meter(catalog, meter)
    days = read_day("--from", first), read_day("--to", last)
    with OpenSpanner(Target.from_environment(rehearse=rehearse)) as client:
        done = verify_and_publish(
            root,
            catalog,
            named,
            client,
            *days,
            comparison=comparison,
            thorough=thorough,
        )
    _show(done.verified)
    if done.three is not None:
        _show_three(done.three)
    out.print(f"Written to {short(done.report.html)}", soft_wrap=True)
    raise typer.Exit(1 if done.fails else 0)


def _show(found: Verified) -> None:
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
    _say(said)
    for line in found.seam.remarks() if found.seam is not None else ():
        _say(line)
    if found.differences:
        _show_differences(found)
    else:
        _say("The service holds what was delivered.")


def _show_differences(found: Verified) -> None:
    from spanner_pipeline.delivery.report import by_cause

    table = Table("cause", "what it means", title="Differences")
    for name in ("places", "events", "theirs less ours"):
        table.add_column(name, justify="right")
    for row in by_cause(found.differences):
        numbers = grouped(row["places"]), grouped(row["events"]), signed(row["quantity"])
        table.add_row(row["cause"], row["meaning"], *numbers)
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
        complain(f"... and {grouped(len(failing) - _SHOWN)} more (the report's CSV has them all).")


def _show_three(three: ThreeWay) -> None:
    comparison = three.comparison
    title = f"{comparison.total.name}: old bill, lake and service, in {comparison.unit}"
    table = Table("subject", "period", title=title)
    names = ("old bill", "lake", "service", "lake less old", "service less lake")
    for name in names:
        table.add_column(name, justify="right")
    table.add_column("why")
    table.add_column("verdict")
    for number in three.differing[:_SHOWN]:
        row = number.row
        numbers = (row["old"], row["new"], number.service)
        gaps = (row["difference"], number.more)
        why = [f"{c.cause} {signed(c.quantity)}" for c in comparison.causes_of(row["cell"])]
        why += [f"unexplained {signed(row['unexplained'])}"] if row["unexplained"] else []
        why += [f"{part.cause} {signed(part.quantity)}" for part in number.parts]
        table.add_row(
            row["subject"] or "all",
            row["period"],
            *map(grouped, numbers),
            *map(signed, gaps),
            number.why or "\n".join(why),
            coloured(number.verdict),
        )
    totals = (comparison.old_total, comparison.new_total, three.service_total)
    gaps = (comparison.difference, three.more)
    table.add_section()
    table.add_row("all", "", *map(grouped, totals), *map(signed, gaps), "", coloured(three.verdict))
    show(table)
    hidden = len(three.differing) - _SHOWN
    if hidden > 0:
        _say(f"{grouped(hidden)} more numbers differ (the report's CSV has them all).")
    equal = len(three.numbers) - len(three.differing)
    _say(f"{grouped(equal)} of {counted(len(three.numbers), 'number')} are three times the same.")
    for failing in three.failings:
        complain(f"FAIL {failing}" if three.verdict == "FAIL" else f"WARN {failing}")


def _say(line: str) -> None:
    out.print(line, markup=False, highlight=False, soft_wrap=True)
