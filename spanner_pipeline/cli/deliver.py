"""Delivering a meter into a running Open Spanner: plan, ask, send."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from spanner_pipeline.cli.terminal import Data, complain, err, out, short, show
from spanner_pipeline.reconciliation.spelling import counted, grouped
from spanner_pipeline.root import DataRoot, load_catalog
from spanner_pipeline.selection import read_instant, select_meter

if TYPE_CHECKING:
    from spanner_pipeline.delivery.deliver import Delivered
    from spanner_pipeline.delivery.fates import Choices
    from spanner_pipeline.delivery.plan import Plan

app = typer.Typer()

_RATE = 8000


@app.command()
def deliver(
    meter: Annotated[str, typer.Argument(help="The meter.")],
    first: Annotated[str | None, typer.Option("--from", help="First UTC day or instant.")] = None,
    last: Annotated[
        str | None, typer.Option("--to", help="UTC day or instant after the last one.")
    ] = None,
    plan: Annotated[bool, typer.Option("--plan", help="Only show what it would do.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do it without asking.")] = False,
    rehearse: Annotated[
        bool, typer.Option("--rehearse", help="Into the workspace to rehearse in.")
    ] = False,
    whole_seconds: Annotated[
        bool, typer.Option("--whole-seconds", help="Leave out fractions of seconds.")
    ] = False,
    raise_retention: Annotated[
        bool,
        typer.Option("--raise-retention", help="Have the service keep events long enough first."),
    ] = False,
    include_old: Annotated[
        bool, typer.Option("--include-old", help="Send what the service will prune, too.")
    ] = False,
    beside_gone: Annotated[
        bool,
        typer.Option(
            "--beside-gone",
            help="Send what stands on a day of its subject of which a delivered event is gone.",
        ),
    ] = False,
    net: Annotated[
        str | None,
        typer.Option(
            help="Take what is below 0 from events of the same hour, day or month (UTC); later "
            "deliveries of the meter do, too."
        ),
    ] = None,
    rate: Annotated[int, typer.Option(min=1, help="Events a minute at most.")] = _RATE,
    data: Data = None,
) -> None:
    """Send a meter's events to Open Spanner, once each; the plan is shown and accepted first.

    The service is named by OPEN_SPANNER_BASE_URL, the key by OPEN_SPANNER_API_KEY, and for
    --rehearse by OPEN_SPANNER_REHEARSAL_API_KEY.
    """
    from spanner_pipeline.delivery.client import OpenSpanner  # the SDK loads slowly: only here
    from spanner_pipeline.delivery.deliver import deliver as run_delivery
    from spanner_pipeline.delivery.deliver import plan_delivery
    from spanner_pipeline.delivery.fates import Choices
    from spanner_pipeline.delivery.payload import Spelling
    from spanner_pipeline.delivery.target import Target

    root = DataRoot.locate(data)
    catalog = load_catalog(root)
    named = select_meter(catalog, meter)
    choices = Choices(
        start=read_instant("--from", first),
        end=read_instant("--to", last),
        spelling=Spelling(whole_seconds=whole_seconds),
        raise_retention=raise_retention,
        include_old=include_old,
        beside_gone=beside_gone,
        rate=rate,
        cut_over=catalog.cut_over(meter),
        net=net,
    )
    with OpenSpanner(Target.from_environment(rehearse=rehearse)) as client:
        made = plan_delivery(root, named, client, choices)
        _show_plan(made, choices)
        if made.stops:
            complain("The live meter is another one: nothing can be sent before they agree.")
            raise typer.Exit(1)
        if plan or not made.to_send:
            out.print("Nothing was sent." if plan else "There is nothing to send.")
            return
        if not yes and not _accepted(client.target.base_url, made):
            out.print("Nothing was sent. --yes accepts the plan.")
            raise typer.Exit(1)
        with _progress() as bar:
            task = bar.add_task(meter, total=made.to_send, rate="")
            begun = datetime.now(UTC)

            def advance(events: int) -> None:
                bar.advance(task, events)
                seconds = max(1, round((datetime.now(UTC) - begun).total_seconds()))
                speed = f"{grouped(round(bar.tasks[0].completed) // seconds)} events/s"
                bar.update(task, rate=speed)

            done = run_delivery(root, named, client, choices, made, advance)
    _show_outcome(done)
    events = done.outcome.events
    raise typer.Exit(1 if events["failed"] or events["duplicate_differs"] else 0)


def _progress() -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.completed:,.0f} of {task.total:,.0f} events"),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
        console=err,
    )


def _accepted(base_url: str, plan: Plan) -> bool:
    if not sys.stdin.isatty():
        return False
    rows = counted(plan.to_send, "event")
    return typer.confirm(f"Send {rows} to {base_url}? They can never be edited or deleted there.")


def _show_plan(plan: Plan, choices: Choices) -> None:
    from spanner_pipeline.delivery.fates import FATES

    if plan.live is None:
        out.print(f"The service has no meter {plan.meter}: it would be created.")
    if plan.differences:
        table = Table("of the meter", "ours", "live", "", title=f"How {plan.meter} differs")
        for different in plan.differences:
            stops = "[red]stops[/]" if different.stops else "may stay"
            table.add_row(different.field, different.ours, different.theirs, stops)
        show(table)
    table = Table("what becomes of them", title=f"Events of {plan.meter}")
    table.add_column("rows", justify="right")
    table.add_column("quantity", justify="right")
    for fate, total in plan.fates.items():
        if total.rows:
            table.add_row(FATES[fate], grouped(total.rows), grouped(total.quantity))
    show(table)
    if plan.contradictions:
        show(_contradictions_table(plan))
    for line in plan.remarks():
        out.print(line, markup=False, highlight=False, soft_wrap=True)
    if plan.to_send:
        out.print(
            f"At {grouped(choices.rate)} events a minute: {counted(plan.minutes, 'minute')}.",
            highlight=False,
        )


def _contradictions_table(plan: Plan) -> Table:
    number = plan.gone.rows + plan.fates["changed"].rows
    named = f"the first {len(plan.contradictions)} of " if number > len(plan.contradictions) else ""
    title = f"Delivered, and otherwise in the lake now: {named}{counted(number, 'event')}"
    table = Table("key", "subject", "time (UTC)", title=title)
    table.add_column("delivered", justify="right")
    table.add_column("in the lake", justify="right")
    for event in plan.contradictions:
        now = "gone" if event.now is None else grouped(event.now)
        when = f"{event.timestamp:%Y-%m-%d %H:%M:%S}"
        table.add_row(event.key, event.subject, when, grouped(event.delivered), now)
    return table


def _show_outcome(done: Delivered) -> None:
    outcome = done.outcome
    table = Table("answer", title=f"Delivered {done.meter}")
    table.add_column("events", justify="right")
    for status, events in sorted(outcome.events.items()):
        table.add_row(status.replace("_", " "), grouped(events))
    show(table)
    for key, code, message in outcome.failures:
        complain(f"FAILED {key}: {code}: {message}")
    for key, ours, theirs in outcome.differing:
        complain(f"CONFLICT {key}:\n  sent:  {ours}\n  there: {theirs}")
    out.print(f"Written down in {short(done.record)}", soft_wrap=True)
