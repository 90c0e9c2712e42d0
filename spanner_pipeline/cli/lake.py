"""What was imported, taking it out again, and care of the lake."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from datetime import timedelta
from typing import Annotated

import polars as pl
import typer
from rich.table import Table

from spanner_pipeline.cli.terminal import Data, complain, misuse, out, show
from spanner_pipeline.control import Total
from spanner_pipeline.keys import read_scope
from spanner_pipeline.lake.conflicts import read_conflicts
from spanner_pipeline.lake.ledger import caught_up
from spanner_pipeline.lake.maintenance import maintain as run_maintenance
from spanner_pipeline.lake.records import ImportRecord, RevertRecord
from spanner_pipeline.lake.revert import RevertRefusedError
from spanner_pipeline.lake.revert import revert as run_revert
from spanner_pipeline.lake.scopes import MEASURES, read_scopes
from spanner_pipeline.lake.table import EventTable
from spanner_pipeline.reconciliation.spelling import grouped, plain
from spanner_pipeline.root import Catalog, DataRoot, load_catalog

app = typer.Typer()

AsCsv = Annotated[bool, typer.Option("--csv", help="Print all of it as CSV.")]

_UNITS = {"d": timedelta(days=1), "h": timedelta(hours=1)}
_SHOWN = 20
_SIDES = ("kept", "refused")


@app.command()
def batches(
    batch: Annotated[str | None, typer.Argument(help="One of them, with its files.")] = None,
    source: Annotated[str | None, typer.Option(help="Only imports of this source.")] = None,
    scopes: Annotated[
        bool, typer.Option("--scopes", help="Print what a snapshot did to each scope, as CSV.")
    ] = False,
    as_csv: AsCsv = False,
    data: Data = None,
) -> None:
    """List the imports, newest first: what, when, by whom, and whether they were reverted."""
    root = DataRoot.locate(data)
    catalog = load_catalog(root)
    ledger = caught_up(root, catalog.meters.values())
    records = [r for r in reversed(ledger.imports(source)) if batch in (None, r.batch)]
    if batch is not None and not records:
        misuse(f"there is no import `{batch}`; without a name this command lists them all.")
    reverts = ledger.reverts()
    if scopes:
        _write_scopes(root, catalog, records)
        return
    states = {id(record): _state(record, reverts) for record in records}
    if as_csv:
        writer = csv.writer(out.file, lineterminator="\n")
        writer.writerow(_CSV)
        for record in records:
            writer.writerows(_csv_rows(record, states[id(record)]))
        return
    table = Table("import batch", "into", title="Imports")
    names = ("files", "rows\nread", "new", "corrected", "removed", "quantity\nentered", "version")
    for name in names:
        table.add_column(name, justify="right")
    for name in ("imported (UTC)", "by", "state"):
        table.add_column(name)
    for record in records:
        totals = record.totals
        entered = totals.new + totals.corrected
        table.add_row(
            record.batch,
            record.usage,
            grouped(len(record.files)),
            *map(grouped, (totals.read.rows, totals.new.rows, totals.corrected.rows)),
            grouped(record.replacement.removed.rows if record.replacement is not None else 0),
            grouped(entered.quantity),
            _versions(record.version_before, record.version_after),
            record.imported_at[:19].replace("T", " "),
            record.imported_by,
            states[id(record)],
        )
    show(table)
    if batch is not None:
        for record in records:
            _show_files(record)


_OUTCOMES = ("read", "new", "present", "corrected", "conflicting", "rejected", "out_of_scope")
_CSV = (
    *("import_batch", "source", "partition", "usage", "meter", "file", "sha256", "bytes"),
    *(f"{name}_{measure}" for name in _OUTCOMES for measure in ("rows", "quantity")),
    *("version_before", "version_after", "imported_at", "imported_by", "builds_on", "state"),
)


def _csv_rows(record: ImportRecord, state: str) -> Iterator[list[object]]:
    for file in record.files:
        totals: list[Total] = [getattr(file.totals, name) for name in _OUTCOMES]
        yield [
            *(record.batch, record.source, record.partition, record.usage, record.meter),
            *(file.name, file.digest, file.size),
            *(cell for total in totals for cell in (total.rows, plain(total.quantity))),
            *(record.version_before, record.version_after),
            *(record.imported_at, record.imported_by, " ".join(record.builds_on), state),
        ]


def _write_scopes(root: DataRoot, catalog: Catalog, records: list[ImportRecord]) -> None:
    writer = csv.writer(out.file, lineterminator="\n")
    measures = [f"{name}_{measure}" for name in MEASURES for measure in ("rows", "quantity")]
    writer.writerow(["import_batch", "usage", "scope", "revision", "stale", *measures])
    for record in records:
        if record.scopes is None or record.meter not in catalog.meters:
            continue
        for scope in read_scopes(EventTable(root, catalog.meters[record.meter]), record):
            totals: list[Total] = [getattr(scope.done, name) for name in MEASURES]
            cells = [cell for total in totals for cell in (total.rows, plain(total.quantity))]
            told = (" | ".join(read_scope(scope.scope)), scope.revision, bool(scope.done.stale))
            writer.writerow([record.batch, record.usage, *told, *cells])


def _show_files(record: ImportRecord) -> None:
    table = Table("file", "sha256", title=f"Files into {record.usage}")
    for name in ("bytes", *(name.replace("_", "\n") for name in _OUTCOMES)):
        table.add_column(name, justify="right")
    for file in record.files:
        rows = (getattr(file.totals, name).rows for name in _OUTCOMES)
        table.add_row(file.name, file.digest, grouped(file.size), *map(grouped, rows))
    show(table)
    if record.builds_on:
        out.print("It met rows of: " + ", ".join(record.builds_on), soft_wrap=True)


def _state(record: ImportRecord, reverts: list[RevertRecord]) -> str:
    undone = next((revert for revert in reverts if revert.undid(record)), None)
    return f"reverted {undone.reverted_at[:10]} by {undone.reverted_by}" if undone else "stands"


def _versions(before: int | None, after: int | None) -> str:
    old, new = ("-" if version is None else str(version) for version in (before, after))
    return old if old == new else f"{old} → {new}"


@app.command()
def revert(
    batch: Annotated[str, typer.Argument(help="The import batch; `batches` lists them.")],
    force: Annotated[
        bool, typer.Option("--force", help="Even though later imports build on it.")
    ] = False,
    data: Data = None,
) -> None:
    """Take one whole import out of the lake again, exactly."""
    root = DataRoot.locate(data)
    try:
        reverts = run_revert(root, load_catalog(root), batch, force=force)
    except RevertRefusedError as error:
        complain(str(error))
        raise typer.Exit(1) from None
    table = Table("meter", title=f"Reverted {batch}")
    for name in ("rows\nremoved", "quantity\nremoved", "rows\nrestored", "quantity\nrestored"):
        table.add_column(name, justify="right")
    table.add_column("version", justify="right")
    for done in reverts:
        table.add_row(
            done.meter,
            grouped(done.removed.rows),
            grouped(done.removed.quantity),
            grouped(done.restored.rows),
            grouped(done.restored.quantity),
            _versions(done.version_before, done.version_after),
        )
    show(table)
    if any(done.forced for done in reverts):
        out.print("Later imports built on it: import their partitions again (backfill).")


@app.command()
def conflicts(
    meter: Annotated[str | None, typer.Option(help="Only of this meter.")] = None,
    as_csv: AsCsv = False,
    data: Data = None,
) -> None:
    """List the rows that said something else than what is kept under their key."""
    frame = read_conflicts(DataRoot.locate(data)).collect()
    if meter is not None and not frame.is_empty():
        frame = frame.filter(pl.col("meter") == meter)
    if as_csv:
        joined = pl.col("fields_that_differ").list.join(" ")
        out.file.write(frame.with_columns(joined).write_csv() if frame.columns else "")
        return
    if frame.is_empty():
        out.print("There are no conflicts.")
        return
    table = Table("meter", "key", "field", "kept", "refused", "kept from", "refused from", "rule")
    for row in frame.head(_SHOWN).iter_rows(named=True):
        places = (f"{row[f'{s}_source_file']}:{row[f'{s}_source_line']}" for s in _SIDES)
        names = row["fields_that_differ"]
        sides = ("\n".join(str(row[f"{side}_{name}"]) for name in names) for side in _SIDES)
        key = row["idempotency_key"]
        table.add_row(row["meter"], key, "\n".join(names), *sides, *places, row["rule"])
    show(table)
    if frame.height > _SHOWN:
        out.print(f"{frame.height - _SHOWN} more: --csv prints all.")


@app.command()
def maintain(
    keep: Annotated[
        str, typer.Option(help="How old is what is deleted, such as 7d or 12h.")
    ] = "7d",
    data: Data = None,
) -> None:
    """Compact small files; delete leftovers and the files of old versions."""
    found = re.fullmatch(r"(\d{1,6})([dh])", keep)
    if not found:
        misuse(f"--keep {keep}: write days or hours, such as 7d or 12h.")
    root = DataRoot.locate(data)
    done = run_maintenance(root, load_catalog(root), int(found[1]) * _UNITS[found[2]])
    table = Table("meter")
    for name in ("files\nbefore", "files\nafter"):
        table.add_column(name, justify="right")
    for meter, (before, after) in done.files.items():
        table.add_row(meter, grouped(before), grouped(after))
    show(table)
    if done.alone:
        out.print(f"{grouped(done.deleted)} leftovers deleted, {grouped(done.freed)} bytes freed.")
    else:
        out.print("Others are changing the lake: nothing was deleted. Run this again later.")
