"""Spreadsheets: a sheet of an XLSX workbook; cells become texts as typed columns do.

A number in a cell is a double, whatever the sheet shows; it becomes the shortest text that means
that double, as in Parquet. A date is its first moment, because a sheet does not tell the two apart.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import date, datetime, time, timedelta
from itertools import islice
from typing import Any

import polars as pl
from python_calamine import CalamineError, CalamineWorkbook
from xlsxwriter.utility import xl_col_to_name  # type: ignore[import-untyped]

from spanner_pipeline.configuration.layout import Xlsx
from spanner_pipeline.errors import SourceFileError
from spanner_pipeline.sources.columns import check_columns
from spanner_pipeline.sources.files import SourceFile
from spanner_pipeline.sources.typed import as_text, typed_rows
from spanner_pipeline.sources.xlsx_package import Sheet, find_sheet

BATCH_ROWS = 20_000
_Cells = tuple[int, list[Any]]


def read_rows(file: SourceFile, layout: Xlsx, needed: Sequence[str]) -> Iterator[pl.DataFrame]:
    """Yield `line` (row of the sheet), `original` (its texts as JSON), `malformed`, `raw.<name>`.

    A row with a value below no column name is malformed; a row without values is none.

    Raises:
        SourceFileError: When the file is no whole XLSX workbook, or columns differ.
    """
    sheet = find_sheet(file, layout.sheet)
    try:
        rows = _rows(file, sheet, layout.header_row)
        header = next(rows, (layout.header_row, list[Any]()))[1]
        names = [str(_text(cell) or "").strip() for cell in header]
        named = [name for name in names if name]
        check_columns(file, named, needed, layout.columns, line=layout.header_row)
        while batch := list(islice(rows, BATCH_ROWS)):
            yield _batch(batch, names)
    except (CalamineError, OSError) as error:
        raise SourceFileError(
            file.name,
            f"is no readable XLSX workbook, or is cut off: {error}.",
            "fetch it again from the old system.",
        ) from error


def _rows(file: SourceFile, sheet: Sheet, first: int) -> Iterator[_Cells]:
    """The rows of a sheet from one on, with their numbers; all are equally long."""
    cells = CalamineWorkbook.from_path(str(file.path)).get_sheet_by_name(sheet.name)
    left = cells.start[1] if cells.start is not None else 0
    for number, row in enumerate(cells.iter_rows(), 1):
        if number < first:
            continue
        for column, text in sheet.errors.get(number, {}).items():
            row[column - 1 - left] = text
        yield number, [*[""] * left, *row]


def _batch(rows: list[_Cells], names: list[str]) -> pl.DataFrame:
    unnamed = {at: f"unnamed column {xl_col_to_name(at)}" for at, n in enumerate(names) if not n}
    columns = zip(*(cells for _, cells in rows), strict=True)
    texts = pl.DataFrame(
        [_texts(unnamed.get(at, names[at]), cells) for at, cells in enumerate(columns)]
    )
    blank = texts.select(pl.all_horizontal(pl.all().is_null())).to_series()
    below_no_name = [pl.col(name).is_not_null() for name in unnamed.values()]
    beyond = texts.select(pl.any_horizontal(blank.is_null(), *below_no_name))
    found = typed_rows(texts, 1).with_columns(
        pl.Series("line", [number for number, _ in rows], dtype=pl.Int64),
        beyond.to_series().alias("malformed"),
    )
    return found.filter(~blank).drop(f"raw.{name}" for name in unnamed.values())


def _texts(name: str, cells: Sequence[Any]) -> pl.Series:
    kinds = [pl.Series("texts", [_text(cell) for cell in cells], dtype=pl.String)]
    for kind in (float, timedelta):
        of_kind = pl.Series("kind", [cell if isinstance(cell, kind) else None for cell in cells])
        kinds.append(of_kind.to_frame().select(as_text("kind", of_kind.dtype)).to_series())
    return pl.select(pl.coalesce(*kinds).alias(name)).to_series()


def _text(cell: Any) -> str | None:
    """The text of a cell; None of numbers and durations, which columns spell together."""
    if isinstance(cell, bool):
        return "true" if cell else "false"
    if isinstance(cell, datetime | time):
        return cell.isoformat()
    if isinstance(cell, date):
        return f"{cell.isoformat()}T00:00:00"
    return str(cell) or None if isinstance(cell, str | int) else None
