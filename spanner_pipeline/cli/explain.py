"""One number for a person: what the bill says, what the lake holds, and the rows beside it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from typing import Annotated
from zoneinfo import ZoneInfo

import polars as pl
import typer
from rich.markup import escape
from rich.table import Table

from spanner_pipeline.cli.evidence import compared
from spanner_pipeline.cli.terminal import Data, complain, misuse, out, show
from spanner_pipeline.errors import PipelineError
from spanner_pipeline.meters import Meter
from spanner_pipeline.reconciliation.proof.number_rows import Aside, every_row
from spanner_pipeline.reconciliation.proof.trace import (
    Bill,
    Trace,
    UnknownNumberError,
    trace_comparison,
    trace_lake,
)
from spanner_pipeline.reconciliation.spelling import counted, grouped, signed
from spanner_pipeline.reconciliation.totals import is_zone
from spanner_pipeline.root import Catalog, DataRoot, load_catalog
from spanner_pipeline.selection import select_meter

app = typer.Typer()

_SHOWN_FILES = 40
_SHOWN_NUMBERS = 10
_PARTS = {"min": "smallest", "max": "biggest", "avg": "sum", "rate": "events"}
"""What a file's part of a number is called where parts do not add up to it."""


@app.command()
def explain(
    period: Annotated[
        str, typer.Option(help="A day, month, year, or a period as the comparison calls it.")
    ],
    comparison: Annotated[str | None, typer.Option(help="Of which comparison.")] = None,
    meter: Annotated[str | None, typer.Option(help="Or of which meter.")] = None,
    subject: Annotated[str | None, typer.Option(help="Whose number.")] = None,
    zone: Annotated[str | None, typer.Option(help="On which clock; UTC for a meter.")] = None,
    as_csv: Annotated[
        bool, typer.Option("--csv", help="Print every row as CSV, such as for the customer.")
    ] = False,
    data: Data = None,
) -> None:
    """Explain one number down to files and lines."""
    root = DataRoot.locate(data)
    catalog = load_catalog(root)
    if (comparison is None) == (meter is None):
        misuse("name a number's --comparison, or its --meter.")
    if zone is not None and not is_zone(zone):
        misuse(f"--zone {zone}: there is no such zone. Write one such as America/New_York.")
    if comparison is not None:
        made = compared(root, catalog, comparison)
        traces = trace_comparison(root, catalog, made, subject, period, zone)
    else:
        traces = _of_meter(root, catalog, str(meter), subject, period, zone)
    if as_csv:
        _print_csv(root, traces)
        return
    for trace in traces[:_SHOWN_NUMBERS]:
        _show(trace)
    if len(traces) > _SHOWN_NUMBERS:
        left = len(traces) - _SHOWN_NUMBERS
        out.print(f"{counted(left, 'more number')}: name a shorter --period.")


def _of_meter(
    root: DataRoot,
    catalog: Catalog,
    name: str,
    subject: str | None,
    period: str,
    zone: str | None,
) -> list[Trace]:
    """The numbers that comparisons have of it, else what the lake says alone."""
    meter = select_meter(catalog, name)
    found: list[Trace] = []
    for _, total in catalog.comparisons:
        if total.meter == name and (total.subject is None) == (subject is None):
            try:
                made = compared(root, catalog, total.name)
                found += trace_comparison(root, catalog, made, subject, period, zone)
            except UnknownNumberError:
                continue
            except PipelineError as error:  # the lake has its number all the same
                complain(f"Left out: comparison {total.name}: {error}")
    return found or [trace_lake(root, catalog, meter, subject, period, zone or "UTC")]


def _print_csv(root: DataRoot, traces: Sequence[Trace]) -> None:
    names = {trace.bill.comparison.total.name for trace in traces if trace.bill is not None}
    if len(names) > 1:
        misuse(f"several have this number, and rows would come twice. --comparison {min(names)}?")
    header = True
    for trace in traces:
        for batch in every_row(root, trace.part, trace.imports):
            out.file.write(batch.write_csv(include_header=header))
            header = False


def _show(trace: Trace) -> None:
    part = trace.part
    who = [part.subject or "all subjects", *(str(v) for v in part.dimensions.values())]
    named = escape(f"{part.meter.name} · {' · '.join(who)} · {trace.period} ({part.zone})")
    out.print(f"\n[bold]{named}[/]", soft_wrap=True)
    out.print(f"From {_time(trace, part.start)} until before {_time(trace, part.end)}")
    if trace.bill is not None:
        _show_bill(trace.bill)
    _show_lake(trace)
    for aside in trace.asides:
        _show_aside(trace, aside, f"Not counted: {aside.record}: {aside.reason}")
    for aside in trace.unplaced:
        _show_aside(trace, aside, f"Perhaps of this number, its row is unreadable: {aside.reason}")
    for source, keys in sorted(trace.not_imported.items()):
        shown = ", ".join(keys[:5]) + (f" and {len(keys) - 5} more" if keys[5:] else "")
        out.print(f"Not imported of this time: {source} {shown}", soft_wrap=True)


def _show_bill(bill: Bill) -> None:
    number, unit = bill.number, bill.comparison.unit
    out.print(f"The old bill (comparison {bill.comparison.total.name}):")
    for file, line, original in bill.lines.rows():
        out.print(f"  {file}:{line}  {original}", markup=False, soft_wrap=True)
    if bill.lines.is_empty():
        out.print("  says nothing of it")
    if number["why"] is not None:
        out.print(f"  cannot be compared: {number['why']}", markup=False, soft_wrap=True)
        return
    table = Table(f"from old to new, in {unit}", show_header=True)
    table.add_column("quantity", justify="right")
    table.add_column("")
    table.add_row("old", _said(number["old"]), "")
    for cause in bill.causes:
        known = "on record" if cause.known else "inferred"
        table.add_row(escape(f"{cause.cause}: {cause.detail}"), signed(cause.quantity), known)
    table.add_row("unexplained", signed(number["unexplained"]), "")
    table.add_row("new", _said(number["new"]), number["status"])
    show(table)
    if not bill.adds_up:
        out.print("These do NOT add up. This is a defect; please report it.", style="red")


def _show_lake(trace: Trace) -> None:
    meter = trace.part.meter
    if trace.quantity is None:
        out.print("The lake holds no event for it.")
        return
    out.print(
        f"The lake holds {counted(trace.events, 'event')} for it, {_as(meter)} "
        f"{grouped(trace.quantity)} {meter.unit}:"
    )
    table = Table("source file")
    for name in ("rows", _PARTS.get(meter.aggregation, "quantity"), "first line", "last line"):
        table.add_column(name, justify="right")
    table.add_column("first event")
    table.add_column("last event")
    for row in trace.files.head(_SHOWN_FILES).iter_rows(named=True):
        numbers = (row[name] for name in ("rows", "quantity", "first_line", "last_line"))
        times = (_time(trace, row[name]) for name in ("first_time", "last_time"))
        table.add_row(escape(row["source_file"]), *map(grouped, numbers), *times)
    show(table)
    if trace.files.height > _SHOWN_FILES:
        out.print(f"{trace.files.height - _SHOWN_FILES:,} more files: --csv has every row.")
    if meter.aggregation not in ("count", "rate"):
        _show_events(trace, trace.biggest, "The biggest events")
    _show_events(trace, trace.first, "The first events")


def _show_events(trace: Trace, events: pl.DataFrame, title: str) -> None:
    table = Table("time", "file and line", "key", title=title)
    table.add_column("quantity", justify="right")
    for row in events.iter_rows(named=True):
        place = f"{row['source_file']}:{row['source_line']}"
        time = _time(trace, row["timestamp"])
        key = row["idempotency_key"]
        table.add_row(time, escape(place), escape(key), grouped(row["quantity"]))
    show(table)


def _show_aside(trace: Trace, aside: Aside, title: str) -> None:
    total = f"{counted(aside.total.rows, 'row')}, {grouped(aside.total.quantity)}"
    out.print(f"{title} ({total} {trace.part.meter.unit})", markup=False, soft_wrap=True)
    for row in aside.rows.iter_rows(named=True):
        said = [
            f"{row['source_file']}:{row['source_line']}",
            "no time" if row["timestamp"] is None else _time(trace, row["timestamp"]),
            "no quantity" if row["quantity"] is None else grouped(Decimal(row["quantity"])),
            row["hint"] or "",
        ]
        out.print(f"  {'  '.join(said)}".rstrip(), markup=False, soft_wrap=True)
        if row["original"]:
            out.print(f"    {row['original']}", markup=False, soft_wrap=True)
    if aside.total.rows > aside.rows.height:
        out.print(f"  {aside.total.rows - aside.rows.height:,} more: --csv has every row.")


def _as(meter: Meter) -> str:
    return "in all" if meter.aggregation == "sum" else meter.aggregation


def _said(quantity: Decimal | None) -> str:
    return "nothing" if quantity is None else grouped(quantity)


def _time(trace: Trace, moment: datetime) -> str:
    """A time on the number's clock."""
    return moment.astimezone(ZoneInfo(trace.part.zone)).isoformat(" ")
