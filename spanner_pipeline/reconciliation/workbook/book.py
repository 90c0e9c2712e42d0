"""A comparison as a workbook that finance fills in: breaks, causes, all numbers.

Belongs here: which tables there are and what stands in their columns. Not here: the sheets around
them (`cover`), how cells are written (`sheets`), how it is read back (`filled_in`).
"""

from __future__ import annotations

import filecmp
import shutil
import tempfile
from collections.abc import Iterator
from decimal import ROUND_HALF_EVEN, Context
from pathlib import Path
from typing import Any

import polars as pl

from spanner_pipeline.reconciliation.compare import (
    DIFFERS,
    MATCH,
    NOT_COMPARABLE,
    ONLY_NEW,
    ONLY_OLD,
    WITHIN_TOLERANCE,
    Comparison,
)
from spanner_pipeline.reconciliation.spelling import plain, signed, worth
from spanner_pipeline.reconciliation.workbook.cover import (
    write_control_totals,
    write_definitions,
    write_files,
    write_summary,
)
from spanner_pipeline.reconciliation.workbook.filled_in import (
    BREAKS_SHEET,
    CLOSED_SHEET,
    COLUMNS,
    PERIOD,
    REFERENCE,
    SUBJECT,
    ZONE,
    reference,
    shown,
    title_of,
)
from spanner_pipeline.reconciliation.workbook.notes import FIELDS, FOLLOW_UPS, Note, Notes
from spanner_pipeline.reconciliation.workbook.sheet_rows import SIGNIFICANT
from spanner_pipeline.reconciliation.workbook.sheets import (
    BAD,
    DOUBTFUL,
    GOOD,
    NEUTRAL,
    Book,
    Column,
)
from spanner_pipeline.root import DataRoot
from spanner_pipeline.whole import written_whole

PolarsType = pl.DataType | type[pl.DataType]

_STATUS_COLOURS = {
    MATCH: GOOD,
    WITHIN_TOLERANCE: GOOD,
    DIFFERS: BAD,
    ONLY_OLD: BAD,
    ONLY_NEW: BAD,
    NOT_COMPARABLE: DOUBTFUL,
}
_FOLLOW_UP_COLOURS = {
    "open": BAD,
    "in progress": DOUBTFUL,
    "accepted": NEUTRAL,
    "resolved": GOOD,
    "waived": NEUTRAL,
}
_STATUS = Column("status", colours=_STATUS_COLOURS)
_FILLED_IN = (
    Column(COLUMNS["owner"], "input", width=14),
    Column(
        COLUMNS["status"],
        "input",
        choices=FOLLOW_UPS,
        colours=_FOLLOW_UP_COLOURS,
        comment="Where the work on this break stands.",
    ),
    Column(COLUMNS["note"], "input", width=34),
)
_REFERENCE = Column(REFERENCE, "hidden")
_SHARES = Context(prec=SIGNIFICANT, rounding=ROUND_HALF_EVEN)


def write_workbook(path: Path, root: DataRoot, comparison: Comparison, notes: Notes) -> bool:
    """Write a comparison with its notes as an Excel workbook.

    Args:
        path: Where to.
        root: The data root.
        comparison: The comparison.
        notes: What people say of its breaks.

    Returns:
        Whether the file changed; one that would be the same is not written again.
    """
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder) / path.name
        with Book(work, f"{comparison.total.name}: old bill against the lake") as book:
            _write_sheets(book, comparison, notes)
        if path.exists() and filecmp.cmp(work, path, shallow=False):
            return False
        with written_whole(path) as whole:
            shutil.copyfile(work, whole)
    return True


def _write_sheets(book: Book, comparison: Comparison, notes: Notes) -> None:
    broken = _breaks(comparison, notes)
    columns = _break_columns(comparison, broken)
    follow_ups = next(i for i, c in enumerate(columns) if c.title == COLUMNS["status"])
    write_summary(book.sheet("Summary"), comparison, broken, follow_ups)
    wide = 2 + len(comparison.dimensions)
    book.sheet(BREAKS_SHEET).table(broken, columns, wide=wide)
    book.sheet("Causes").table(_causes(comparison), _cause_columns(comparison), wide=wide)
    everything = _named(comparison, comparison.cells)
    book.sheet("All numbers").table(everything, _number_columns(comparison), wide=wide)
    if closed := notes.closed:
        frame = pl.DataFrame(list(_closed_rows(comparison, closed)), infer_schema_length=None)
        book.sheet(CLOSED_SHEET).table(frame, _closed_columns(comparison), wide=wide)
    write_control_totals(book.sheet("Control totals"), comparison)
    write_files(book.sheet("Files"), comparison)
    write_definitions(book.sheet("Definitions"), comparison)


def _of(comparison: Comparison) -> list[Column]:
    """The columns that say which number a row is about."""
    names = [name.removeprefix("dim_") for name in comparison.dimensions]
    dimensions = [Column(title_of(n), source=f"dim_{n}") for n in names]
    return [Column(SUBJECT), *dimensions, Column(PERIOD), Column(ZONE)]


def _named(comparison: Comparison, cells: pl.DataFrame) -> pl.DataFrame:
    """Cells with their causes as a text, or why they cannot be compared."""
    texts = pl.DataFrame(
        [
            (c.cell, f"{c.cause}: {c.detail}: {signed(c.quantity)}{_record(known=c.known)}")
            for c in comparison.causes
        ],
        schema={"cell": cells.schema["cell"], "causes": pl.String},
        orient="row",
    )
    texts = texts.group_by("cell", maintain_order=True).agg(pl.col("causes").str.join("\n"))
    joined = cells.join(texts, on="cell", how="left", maintain_order="left")
    return joined.with_columns(
        pl.coalesce(NOT_COMPARABLE + ": " + pl.col("why"), "causes").alias("explanation")
    )


def _record(*, known: bool) -> str:
    return " (on record)" if known else ""


def _breaks(comparison: Comparison, notes: Notes) -> pl.DataFrame:
    """A row for each break and what cannot be compared, with what people say of it."""
    broken = pl.concat([comparison.breaks, comparison.not_comparable])
    broken = _named(comparison, broken)
    texts = [
        _said(comparison, row, note)
        for row in broken.iter_rows(named=True)
        if (note := notes.of(row)) is not None
    ]
    schema: dict[str, PolarsType] = {
        "cell": broken.schema["cell"],
        **dict.fromkeys(("share", "worth", "owner", "follow-up", "note", "remark"), pl.String),
        "first seen": pl.Date,
        "reference": pl.String,
    }
    said = pl.DataFrame(texts, schema=schema, orient="row")
    return broken.join(said, on="cell", how="left", maintain_order="left")


def _said(comparison: Comparison, row: dict[str, Any], note: Note) -> tuple[Any, ...]:
    gap = row["difference"]
    return (
        row["cell"],
        f"{_SHARES.divide(gap, abs(row['old'])):f}" if gap is not None and row["old"] else None,
        plain(worth(row)) or None,
        *(shown(getattr(note, name)) for name in FIELDS),
        _remark(note, row),
        note.first_seen,
        reference(comparison.total.name, note, plain(gap)),
    )


def _remark(note: Note, row: dict[str, Any]) -> str:
    remarks = []
    if note.changed_since(row["difference"]):
        was = note.difference or NOT_COMPARABLE
        remarks.append(f"difference changed since this note (it was {was})")
    for change in reversed(note.history):
        if change.what == "back":
            remarks.append(f"came back on {change.on} (it was {change.status})")
            break
    return "\n".join(remarks)


def _break_columns(comparison: Comparison, broken: pl.DataFrame) -> list[Column]:
    worth = []
    if broken["worth"].null_count() < broken.height:
        currency = comparison.total.currency
        worth = [Column(f"worth in {currency}" if currency else "worth", "signed", "worth")]
    return [
        *_of(comparison),
        _STATUS,
        Column("old", "number"),
        Column("new", "number"),
        Column("difference", "signed"),
        Column("share of old", "share", "share"),
        *worth,
        Column("explanation", "prose", width=42),
        Column("unexplained", "signed"),
        *_FILLED_IN,
        Column("remark", "prose", width=22),
        Column("first seen", "date"),
        _age(len(_of(comparison)) + len(worth) + 11),
        _REFERENCE,
    ]


def _age(first_seen: int) -> Column:
    letter = (
        chr(ord("A") + first_seen) if first_seen < 26 else f"A{chr(ord('A') + first_seen - 26)}"
    )
    cell = f"{letter}{{row}}"
    return Column(
        "age in days", "number", formula=f'IF(ISNUMBER({cell}),TODAY()-{cell},"")', width=8
    )


def _causes(comparison: Comparison) -> pl.DataFrame:
    """A row for each cause of a number."""
    cells = comparison.cells
    rows = [
        (c.cell, c.cause, c.detail, plain(c.quantity), "yes" if c.known else "")
        for c in comparison.causes
    ]
    schema: dict[str, PolarsType] = {
        "cell": cells.schema["cell"],
        **dict.fromkeys(_CAUSE_TEXTS, pl.String),
    }
    found = pl.DataFrame(rows, schema=schema, orient="row")
    return found.join(cells, on="cell", how="left", maintain_order="left")


_CAUSE_TEXTS = ("cause", "detail", "part of the difference", "on record")


def _cause_columns(comparison: Comparison) -> list[Column]:
    cause, detail, part, known = _CAUSE_TEXTS
    return [
        *_of(comparison),
        _STATUS,
        Column(cause),
        Column(detail, "prose", width=60),
        Column(part, "signed"),
        Column(known),
        Column("difference", "signed"),
        Column("unexplained", "signed"),
    ]


def _number_columns(comparison: Comparison) -> list[Column]:
    cells = comparison.cells
    money = [
        Column(title, "number", name)
        for title, name in (
            ("usage", "usage"),
            ("price", "price"),
            ("amount on the bill", "amount"),
        )
        if (name != "usage" or comparison.total.price is not None)
        and cells[name].null_count() < cells.height
    ]
    return [
        *_of(comparison),
        Column("first day", "date", "first"),
        Column("days", "number"),
        _STATUS,
        Column("old", "number"),
        Column("new", "number"),
        Column("difference", "signed"),
        Column("tolerance", "number"),
        Column("unexplained", "signed"),
        *money,
        Column("events", "number"),
        Column("explanation", "prose", width=48),
        Column("lines of the old bill", "prose", "lines", width=32),
    ]


def _closed_rows(comparison: Comparison, closed: list[Note]) -> Iterator[dict[str, Any]]:
    for note in closed:
        yield {
            SUBJECT: note.subject,
            **{
                name: note.dimensions.get(name.removeprefix("dim_"))
                for name in comparison.dimensions
            },
            PERIOD: note.period,
            ZONE: note.zone,
            **{title: shown(getattr(note, name)) for name, title in COLUMNS.items()},
            "first seen": note.first_seen,
            "last seen": note.last_seen,
            "closed": note.closed,
            "reference": reference(comparison.total.name, note, note.difference or ""),
        }


def _closed_columns(comparison: Comparison) -> list[Column]:
    dates = [Column(title, "date") for title in ("first seen", "last seen", "closed")]
    return [*_of(comparison), *_FILLED_IN, *dates, _REFERENCE]
