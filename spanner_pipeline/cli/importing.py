"""Importing legacy usage, and rehearsing it.

The table of a rehearsal shows where most would change; its CSV shows everything.
"""

from __future__ import annotations

import csv
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from spanner_pipeline.cli.terminal import (
    Data,
    coloured,
    complain,
    misuse,
    out,
    progress,
    short,
    show,
)
from spanner_pipeline.control import ControlTotals, Replacement
from spanner_pipeline.reconciliation.spelling import grouped, plain
from spanner_pipeline.root import DataRoot, load_catalog
from spanner_pipeline.selection import select_partitions, select_sources

if TYPE_CHECKING:
    from spanner_pipeline.plan import Effect, Plan

app = typer.Typer()

Sources = Annotated[list[str] | None, typer.Argument(help="Sources; all by default.")]
First = Annotated[str | None, typer.Option("--from", help="First partition.")]
Last = Annotated[str | None, typer.Option("--to", help="Last partition, inclusive.")]

_OUTCOMES = ("new", "corrected", "removed", "duplicate", "conflicting", "rejected")
_SHOWN_OF_METER = 5


@app.command()
def backfill(
    sources: Sources = None,
    first: First = None,
    last: Last = None,
    repaired: Annotated[
        list[Path] | None,
        typer.Option(
            "--from-quarantine",
            help="Take the mended rows of this file, `quarantine/…/*.repair.*`; repeatable.",
            dir_okay=False,
            exists=True,
        ),
    ] = None,
    data: Data = None,
) -> None:
    """Import legacy usage into the lake, then reconcile it with the old bills."""
    from spanner_pipeline.assets.backfill import run_backfill  # Dagster loads slowly: only here

    root = DataRoot.locate(data)
    if repaired:
        first, last = _take_repairs(root, sources or [], repaired)
    with progress() as on_source:
        outcome = run_backfill(root, sources or [], first, last, on_source)
    show(_totals_table(outcome.totals))
    if outcome.replacements:
        show(_snapshots_table(outcome.replacements))
    _show_failures(outcome.failures)
    for name, why in outcome.broken.items():
        complain(f"FAILED {name}: {why}")
    if outcome.verdicts:
        table = Table("comparison", "verdict", title="Old bills against the lake")
        table.add_column("report")
        for verdict in outcome.verdicts:
            report = short(Path(verdict.report))
            table.add_row(verdict.comparison, coloured(verdict.verdict), report)
        show(table)
    if not outcome.entered and not outcome.failures:
        out.print("Nothing changed: all of this was in the lake already.")
    failed = any(verdict.verdict == "FAIL" for verdict in outcome.verdicts)
    raise typer.Exit(1 if failed or outcome.failures or outcome.broken else 0)


def _take_repairs(root: DataRoot, names: list[str], files: list[Path]) -> tuple[str, str]:
    """Take mended rows; the first and last partition that they are of."""
    from spanner_pipeline.repairs.take import take_repairs

    if len(names) != 1:
        misuse("--from-quarantine needs the one source that the rows are of.")
    [source] = select_sources(load_catalog(root), names)
    partitions: set[str] = set()
    for file in files:
        taken = take_repairs(root, source, file)
        partitions |= taken.mended.keys()
        out.print(f"{file.name}: {taken.describe()}", markup=False, soft_wrap=True)
    if not partitions:
        out.print("Nothing was mended, so there is nothing to import.")
        raise typer.Exit(1)
    return min(partitions), max(partitions)


@app.command()
def plan(
    sources: Sources = None,
    first: First = None,
    last: Last = None,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print all of it as CSV.")] = False,
    data: Data = None,
) -> None:
    """Show what an import would do, before it does it; nothing is written."""
    from spanner_pipeline.plan import plan as rehearse  # pandera loads slowly: only here

    root = DataRoot.locate(data)
    catalog = load_catalog(root)
    chosen = [
        (s, select_partitions(s, first, last)) for s in select_sources(catalog, sources or [])
    ]
    with progress() as on_source:
        made = rehearse(root, catalog, chosen, on_source)
    if as_csv:
        _write_csv(made)
    else:
        _show_plan(made)
    _show_failures(made.failures)
    raise typer.Exit(1 if made.failures else 0)


def _write_csv(made: Plan) -> None:
    names = ("before", "after", "delta", *_OUTCOMES)
    writer = csv.writer(out.file, lineterminator="\n")
    measures = [f"{name}_{measure}" for name in names for measure in ("rows", "quantity")]
    writer.writerow(["meter", "month", "subject", *measures])
    for place in sorted(made.effects, key=_order):
        totals = [getattr(made.effects[place], name) for name in names]
        numbers = [cell for total in totals for cell in (total.rows, plain(total.quantity))]
        writer.writerow([*(part or "" for part in place), *numbers])


def _show_plan(made: Plan) -> None:
    measures = ("before", "after", "delta", *(f"{name}\nrows" for name in _OUTCOMES))
    table = Table("meter", title="What the months concerned hold, and would hold")
    largest = Table("meter", "month", "subject", title="Where most would change")
    for name in measures:
        table.add_column(name, justify="right")
        largest.add_column(name, justify="right")
    left_out = 0
    for meter, (total, effects) in made.by_meter().items():
        table.add_row(meter, *_cells(total))
        chosen = sorted(effects, key=lambda place: -abs(effects[place].delta.quantity))
        left_out += len(chosen[_SHOWN_OF_METER:])
        for place in sorted(chosen[:_SHOWN_OF_METER], key=_order):
            largest.add_row(*(part or "?" for part in place), *_cells(effects[place]))
    if made.effects:
        show(table)
        show(largest)
    if left_out:
        out.print(f"{grouped(left_out)} more subjects and months: --csv prints all.")
    if made.known:
        rows = grouped(sum(made.known.values()))
        out.print(f"Imported before: {len(made.known)} of the deliveries, with {rows} rows.")
    if not made.changes and not made.failures:
        out.print("Nothing would change.")


def _cells(effect: Effect) -> list[str]:
    quantities = (effect.before.quantity, effect.after.quantity, effect.delta.quantity)
    rows = (getattr(effect, name).rows for name in _OUTCOMES)
    return [*map(grouped, quantities), *map(grouped, rows)]


def _order(place: tuple[str, str | None, str | None]) -> tuple[str, str, str]:
    meter, month, subject = place
    return meter, month or "", subject or ""


def _show_failures(failures: dict[tuple[str, str], str]) -> None:
    for (source, partition), why in failures.items():
        complain(f"FAILED {source} {partition}: {why}")


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


def _snapshots_table(replacements: dict[tuple[str, str], Replacement]) -> Table:
    table = Table("source", "meter", title="What snapshots did to their scopes: rows, quantity")
    names = ("before", "added", "changed", "removed", "after")
    for name in ("scopes", "stale", *names):
        table.add_column(name, justify="right", no_wrap=True)
    for (source, usage), done in replacements.items():
        totals = (getattr(done, name) for name in names)
        cells = (f"{grouped(total.rows)}\n{grouped(total.quantity)}" for total in totals)
        table.add_row(source, usage, grouped(done.scopes), grouped(done.stale), *cells)
    return table
