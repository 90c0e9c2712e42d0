"""Rows of a worksheet as XML (ECMA-376), made from whole columns at once.

XlsxWriter writes cell by cell, which takes minutes where a comparison has a million numbers. So it
writes one row that only has the styles, and the rows of the table take its place here. Belongs
here: how values are spelled in cells. Not here: which columns there are, nor how they look.
"""

from __future__ import annotations

import re
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import polars as pl
from xlsxwriter.utility import xl_col_to_name  # type: ignore[import-untyped]

from spanner_pipeline.reconciliation.workbook.filled_in import LONGEST, shown

SIGNIFICANT = 15
"""Digits that a double keeps of every decimal."""

Content = Literal["text", "number", "date", "formula"]

_SLICE = 50_000
_LARGE = 200_000
_LINE_HEIGHT, _MOST_LINES = 15, 27
_LONG_AGO = (1980, 1, 1, 0, 0, 0)
_EPOCH, _FIRST_DAY = pl.date(1899, 12, 30), pl.date(1900, 3, 1)
"""Excel counts days from here; before its first March it has a day that never was."""

_MARKUP = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}
_CONTROLS = {chr(n): f"_x{n:04X}_" for n in range(32) if chr(n) not in "\t\n"}
_ESCAPES = _MARKUP | _CONTROLS | dict.fromkeys("\ufffe\uffff", "\ufffd")


@dataclass(frozen=True)
class Cells:
    """A column of a table.

    Attributes:
        content: What is in it.
        values: The values: texts, plain decimals as texts, or dates; the formula of each row, with
            `{row}` for its number.
        wrapped: How many characters fit in a line, where texts wrap.
    """

    content: Content
    values: pl.Series
    wrapped: int | None = None


@dataclass(frozen=True)
class Rows:
    """The rows of a table.

    Attributes:
        first: The number of the first row, from 1: the one that has the styles.
        columns: Its columns. The styles' row has a cell more: of a number written as a text.
    """

    first: int
    columns: tuple[Cells, ...]


def fits(text: pl.Expr) -> pl.Expr:
    """Whether a double keeps every digit of a plain decimal."""
    return text.str.replace_all("[-.]", "").str.strip_chars("0").str.len_chars() <= SIGNIFICANT


def put_rows(bare: Path, path: Path, tables: Mapping[str, Rows]) -> None:
    """Copy a workbook, its tables filled.

    Args:
        bare: The workbook as XlsxWriter wrote it.
        path: Where to.
        tables: The rows of each file inside that has a table.
    """
    with zipfile.ZipFile(bare) as before, zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as after:
        for name in before.namelist():
            part = zipfile.ZipInfo(name, _LONG_AGO)
            part.compress_type = zipfile.ZIP_DEFLATED
            content = before.read(name)
            rows = tables.get(name)
            large = rows is not None and rows.columns[0].values.len() > _LARGE
            with after.open(part, "w", force_zip64=large) as out:
                if rows is None:
                    out.write(content)
                    continue
                text = content.decode()
                styled = re.search(rf'<row r="{rows.first}"[^>]*>.*?</row>', text, re.DOTALL)
                assert styled is not None
                # The size that XlsxWriter notes is that without the rows; it need not be there.
                out.write(re.sub("<dimension [^>]*/>", "", text[: styled.start()]).encode())
                for piece in _pieces(rows, re.findall(r' s="(\d+)"', styled[0])):
                    out.write(piece.encode())
                out.write(text[styled.end() :].encode())


def _pieces(rows: Rows, styles: list[str]) -> Iterator[str]:
    """The XML of the rows, some thousand at a time."""
    names = [str(place) for place in range(len(rows.columns))]
    frame = pl.DataFrame(
        [c.values.alias(n) for c, n in zip(rows.columns, names, strict=True)]
    ).with_row_index("row", rows.first)
    number = pl.col("row").cast(pl.String)
    cells = [
        _cell(column, pl.col(name), xl_col_to_name(place), style, styles[-1])
        for place, (column, name, style) in enumerate(
            zip(rows.columns, names, styles[:-1], strict=True)
        )
    ]
    row = pl.concat_str(
        [pl.lit('<row r="'), number, pl.lit('"'), _height(rows, names), pl.lit(">")]
        + [cell.fill_null("") for cell in cells]
        + [pl.lit("</row>")]
    )
    for part in frame.iter_slices(_SLICE):
        yield part.select(row.str.join("")).item()


def _cell(column: Cells, value: pl.Expr, letter: str, style: str, as_text: str) -> pl.Expr:
    """The XML of one column's cells; null where there is no value."""
    number = pl.col("row").cast(pl.String)

    def opened(style: str, more: str = "") -> list[pl.Expr]:
        return [pl.lit(f'<c r="{letter}'), number, pl.lit(f'" s="{style}"{more}>')]

    def text(content: pl.Expr, style: str) -> pl.Expr:
        start = opened(style, ' t="inlineStr"')
        parts = [*start, pl.lit('<is><t xml:space="preserve">'), content, pl.lit("</t></is></c>")]
        return pl.concat_str(parts)

    def stored(content: pl.Expr) -> pl.Expr:
        return pl.concat_str([*opened(style), pl.lit("<v>"), content, pl.lit("</v></c>")])

    if column.content == "formula":
        formula = value.str.replace_all("{row}", number, literal=True)
        # No value is stored: it depends on the day on which somebody looks.
        parts = [*opened(style, ' t="str"'), pl.lit("<f>"), _escaped(formula)]
        return pl.concat_str([*parts, pl.lit("</f><v></v></c>")])
    if column.content == "number":
        return pl.when(fits(value)).then(stored(value)).otherwise(text(value, as_text))
    if column.content == "date":
        days = (value - _EPOCH).dt.total_days().cast(pl.String)
        early = text(value.dt.to_string(), style)
        return pl.when(value >= _FIRST_DAY).then(stored(days)).otherwise(early)
    return text(_escaped(_shortened(value)), style)


def _shortened(text: pl.Expr) -> pl.Expr:
    """Texts as cells can hold them; only the very long are looked at one by one."""
    long = text.str.len_chars() * 2 > LONGEST
    cut = (
        pl.when(long)
        .then(text)
        .map_elements(lambda each: shown(each, "report.csv"), return_dtype=pl.String)
    )
    return pl.when(long).then(cut).otherwise(text)


def _escaped(text: pl.Expr) -> pl.Expr:
    """A text as XML, with what spreadsheet programs would take for an escape escaped as well."""
    literal = text.str.replace_all("_(x[0-9A-Fa-f]{4})", "_x005F_${1}")
    return literal.str.replace_many(list(_ESCAPES), list(_ESCAPES.values()))


def _height(rows: Rows, names: list[str]) -> pl.Expr:
    """The height of a row whose texts need several lines; it still grows when somebody types."""
    lines = [
        1
        + pl.col(name).str.count_matches("\n").cast(pl.Int64)
        + (pl.col(name).str.len_chars().cast(pl.Int64).clip(1) - 1) // column.wrapped
        for name, column in zip(names, rows.columns, strict=True)
        if column.wrapped
    ]
    if not lines:
        return pl.lit("")
    most = pl.max_horizontal(*lines, 1).clip(1, _MOST_LINES)
    height = pl.format(' ht="{}"', most * _LINE_HEIGHT)
    return pl.when(most > 1).then(height).otherwise(pl.lit(""))
