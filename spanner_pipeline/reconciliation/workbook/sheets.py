"""Sheets of an Excel workbook that hold what we count: exactly, safely, and fit for paper.

Excel keeps numbers as doubles, so one with more than 15 significant digits is written as a text.
No text becomes a formula or a link. The same content gives the same bytes. Belongs here: how values
are put into cells and tables onto sheets. Not here: which (`workbook`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal

import polars as pl
import xlsxwriter  # type: ignore[import-untyped]
from xlsxwriter.format import Format  # type: ignore[import-untyped]
from xlsxwriter.worksheet import Worksheet  # type: ignore[import-untyped]

from spanner_pipeline.reconciliation.spelling import exact_text, plain
from spanner_pipeline.reconciliation.workbook.filled_in import shown
from spanner_pipeline.reconciliation.workbook.sheet_rows import (
    Cells,
    Content,
    Rows,
    fits,
    put_rows,
)

MOST_ROWS = 1_000_000
"""Rows of a table; a sheet has room for 1,048,576."""

Kind = Literal["text", "prose", "number", "signed", "share", "date", "input", "hidden"]

MADE = datetime(2000, 1, 1)
"""When every workbook says that it was made; whoever saves it later says another time."""

_FIRST_YEAR = 1900
_WIDTHS: dict[str, tuple[int, int]] = {"prose": (24, 60), "input": (14, 14), "share": (9, 9)}
_FEW, _MANY = 9, 32
_A4, _MARGIN = 9, Decimal("0.4")
_ROW_HEIGHT = 15
_MOST_DECIMALS = 30

GOOD = {"bg_color": "#DDEFE0", "font_color": "#17602B"}
DOUBTFUL = {"bg_color": "#FBEBC8", "font_color": "#7A4B00"}
BAD = {"bg_color": "#F8D9D6", "font_color": "#8C1D18"}
NEUTRAL = {"bg_color": "#E9ECEF", "font_color": "#3D4751"}


@dataclass(frozen=True)
class Column:
    """A column of a table.

    Attributes:
        title: Its title.
        kind: What is in it: `prose` is text that wraps, `input` what people fill in.
        source: The column of the frame; the title by default.
        formula: Instead: a formula for each row, with `{row}` for its number.
        choices: What people may choose from.
        colours: The colours of some of its texts.
        width: Its width in characters, where its content does not say.
        comment: What a person who fills it in should know.
    """

    title: str
    kind: Kind = "text"
    source: str = ""
    formula: str = ""
    choices: Sequence[str] = ()
    colours: dict[str, dict[str, str]] = field(default_factory=dict)
    width: int = 0
    comment: str = ""

    @property
    def name(self) -> str:
        """The column of the frame."""
        return self.source or self.title


class Book:
    """A workbook that is being written; use it as a context manager."""

    def __init__(self, path: Path, title: str) -> None:
        """Begin a workbook."""
        options = {
            "constant_memory": True,
            "strings_to_formulas": False,
            "strings_to_urls": False,
            "strings_to_numbers": False,
        }
        self._path, self._bare = path, path.with_suffix(".bare")
        self._book = xlsxwriter.Workbook(str(self._bare), options)
        self._book.set_properties({"title": title, "created": MADE})
        self._title = title
        self._styles: dict[tuple[tuple[str, Any], ...], Format] = {}
        self._sheets = 0
        self._tables: dict[str, Rows] = {}

    def __enter__(self) -> Book:
        """Begin."""
        return self

    def __exit__(self, failed: type[BaseException] | None, *_: object) -> None:
        """Write the file; after a failure as well, for only then its work files go."""
        self._book.close()
        if failed is None:
            put_rows(self._bare, self._path, self._tables)
        self._bare.unlink()

    def style(self, **look: Any) -> Format:
        """A cell format; the same look gives the same one."""
        key = tuple(sorted(look.items()))
        if key not in self._styles:
            self._styles[key] = self._book.add_format({"valign": "top", **look})
        return self._styles[key]

    def sheet(self, name: str) -> Sheet:
        """Add a sheet, fit for A4 across."""
        sheet: Worksheet = self._book.add_worksheet(name)
        sheet.set_landscape()
        sheet.set_paper(_A4)
        sheet.fit_to_pages(1, 0)
        sheet.set_margins(left=_MARGIN, right=_MARGIN, top=_MARGIN, bottom=2 * _MARGIN)
        title = self._title.replace("&", "&&")
        sheet.set_footer(f"&L&8{title[:80]}&C&8&A&R&8&P of &N")
        self._sheets += 1
        return Sheet(self, sheet, self._sheets)

    def fill(self, sheet: int, rows: Rows) -> None:
        """Have the rows of a table put onto a sheet, once the rest is written."""
        self._tables[f"xl/worksheets/sheet{sheet}.xml"] = rows


class Sheet:
    """A sheet; its rows are written from above to below."""

    def __init__(self, book: Book, sheet: Worksheet, number: int) -> None:
        """Take a new sheet of a workbook, its first, second and so on."""
        self._number_of_sheet = number
        self._book, self._sheet = book, sheet
        self._widths: Sequence[int] = ()
        self.row = 0

    def widths(self, *characters: int) -> None:
        """Set the widths of the first columns."""
        self._widths = characters
        for column, width in enumerate(characters):
            self._sheet.set_column(column, column, width)

    def title(self, text: str) -> None:
        """Write what the sheet is about."""
        self._sheet.set_row(self.row, 2 * _ROW_HEIGHT)
        self.line(text, bold=True, font_size=16)

    def line(self, *values: str | int | Decimal | date | None, **look: Any) -> None:
        """Write one row; numbers with as many decimals as each needs."""
        for column, value in enumerate(values):
            if isinstance(value, str):
                self._text(self.row, column, value, self._book.style(**look))
            elif isinstance(value, date):
                self._date(self.row, column, value, self._book.style(**look, **_DATE))
            elif value is not None:
                self._number(column, Decimal(value), look)
        self.row += 1

    def formula(self, label: str, formula: str, value: int) -> None:
        """Write a row with a count that a spreadsheet program keeps up to date."""
        self._text(self.row, 0, label, self._book.style())
        style = self._book.style(num_format=_grouped(0))
        self._sheet.write_formula(self.row, 1, formula, style, value)
        self.row += 1

    def skip(self) -> None:
        """Leave a row empty."""
        self.row += 1

    def heading(self, *titles: str, across: int = 0) -> None:
        """Write a row of titles, underlined across so many columns; `>` stands before numbers."""
        for column in range(max(len(titles), across)):
            title = titles[column] if column < len(titles) else ""
            side = "right" if title.startswith(">") else "left"
            look = {"bold": True, "bottom": 1, "font_color": "#3D4751", "align": side}
            self._text(self.row, column, title.lstrip(">"), self._book.style(**look))
        self.row += 1

    def paragraph(self, text: str, *, first: int, last: int, term: str = "") -> None:
        """Write a text across columns, with what it is about in the first."""
        style = self._book.style(text_wrap=True)
        across = sum(self._widths[first : last + 1])
        lines = sum(1 + len(line) // across for line in text.split("\n"))
        if lines > 1:
            self._sheet.set_row(self.row, _ROW_HEIGHT * lines)
        if term:
            self._text(self.row, 0, term, self._book.style(bold=True, text_wrap=True))
        self._sheet.merge_range(self.row, first, self.row, last, "", style)
        self._text(self.row, first, text, style)
        self.row += 1

    def colour(self, texts: dict[str, dict[str, str]], *cells: int) -> None:
        """Colour cells (first row, first column, last row, last column) by their texts."""
        for text, look in texts.items():
            rule = {"type": "cell", "criteria": "==", "value": f'"{text}"'}
            self._sheet.conditional_format(*cells, rule | {"format": self._book.style(**look)})

    def table(self, frame: pl.DataFrame, columns: Sequence[Column], *, wide: int = 1) -> None:
        """Write a table that fills the sheet: frozen header, filter, a header on every page.

        Args:
            frame: The rows.
            columns: Its columns.
            wide: How many of the first columns stay when one scrolls to the right.
        """
        sheet, header, left_out = self._sheet, self.row, frame.height - MOST_ROWS
        frame = frame.head(MOST_ROWS)
        columns_shown: list[_Shown] = []
        for column in columns:
            after_number = bool(columns_shown) and columns_shown[-1].right
            columns_shown.append(_Shown(self._book, column, frame, indented=after_number))
        sheet.set_row(header, 2 * _ROW_HEIGHT)
        for place, each in enumerate(columns_shown):
            hidden = {"hidden": True} if each.column.kind == "hidden" else {}
            sheet.set_column(place, place, each.width, each.style, hidden)
            self._text(header, place, each.column.title, each.header)
        last = header + max(frame.height, 1)
        for place, each in enumerate(columns_shown):
            at = (header + 1, place, last, place)
            self.colour(each.column.colours, *at)
            if each.column.choices:
                sheet.data_validation(*at, _choice(each.column))
        sheet.freeze_panes(header + 1, wide)
        sheet.repeat_rows(header)
        sheet.autofilter(header, 0, last, len(columns) - 1)
        if frame.is_empty():
            self._text(last, 0, "none", self._book.style(italic=True, font_color="#6B7680"))
        else:
            for place, each in enumerate(columns_shown):
                sheet.write_blank(header + 1, place, None, each.style)
            as_text = self._book.style(align="right", num_format="@")
            sheet.write_blank(header + 1, len(columns), None, as_text)
            rows = Rows(header + 2, tuple(each.cells for each in columns_shown))
            self._book.fill(self._number_of_sheet, rows)
        self.row = last + 1
        if left_out > 0:
            self.line(f"{left_out:,} more rows do not fit; report.csv has all of them", italic=True)

    def _text(self, row: int, column: int, text: str, style: Format) -> None:
        # XlsxWriter would take this for markup of its own and write it as it is.
        safe = f"{text} " if text.startswith("<r>") and text.endswith("</r>") else text
        self._sheet.write_string(row, column, shown(safe, "report.csv"), style)

    def _date(self, row: int, column: int, day: date, style: Format) -> None:
        if day.year < _FIRST_YEAR:  # Excel's calendar begins there
            self._text(row, column, day.isoformat(), style)
        else:
            self._sheet.write_datetime(row, column, day, style)

    def _number(self, column: int, value: Decimal, look: dict[str, Any]) -> None:
        text = plain(value)
        if not pl.select(fits(pl.lit(text))).item():
            self._text(self.row, column, text, self._book.style(**look, align="right"))
            return
        decimals = len(text.partition(".")[2])
        style = self._book.style(**{"num_format": _grouped(decimals), **look})
        self._sheet.write_number(self.row, column, Decimal(text), style)


class _Shown:
    """A column of a table with how it looks."""

    def __init__(self, book: Book, column: Column, frame: pl.DataFrame, *, indented: bool) -> None:
        self.column = column
        self.right = column.kind in ("number", "signed", "share")
        # A text that stands right of a number needs some room.
        room: dict[str, Any] = {"indent": 1, "align": "left"} if indented else {}
        look = {} if self.right else room
        self.header = book.style(
            bold=True,
            bottom=1,
            bg_color="#FFF4CC" if column.kind == "input" else "#E9ECEF",
            text_wrap=True,
            valign="bottom",
            **({"align": "right"} if self.right else look),
        )
        if column.formula:
            content: Content = "formula"
            values = pl.Series([column.formula]).new_from_index(0, frame.height)
            look["num_format"] = "0"
        elif self.right:
            content = "number"
            values = frame.select(exact_text(column.name)).to_series()
            decimals = values.str.extract(r"\.(\d*)$").str.len_chars().max()
            look["num_format"] = _format(column.kind, int(str(decimals or 0)))
        elif column.kind == "date":
            content, values = "date", frame[column.name]
            look = _DATE | look
        else:
            content, values = "text", frame[column.name]
            look["num_format"] = "@"  # what is typed into it stays a text, too
        wraps = column.kind in _WRAPPED
        if wraps:
            look["text_wrap"] = True
        self.style = book.style(**look)
        self.width = column.width or self._fitting(values)
        self.cells = Cells(content, values, self.width if wraps else None)

    def _fitting(self, values: pl.Series) -> int:
        """The width that shows the values, within reason."""
        low, high = _WIDTHS.get(self.column.kind, (_FEW, _MANY))
        longest = max(len(word) for word in self.column.title.split()) + 3
        if values.dtype == pl.String:
            content = int(str(values.str.len_chars().max() or 0))
            # Numbers have separators.
            longest = max(longest, content + 2 + (content // 3 if self.right else 0))
        elif self.column.kind == "date":
            longest = max(longest, len("2026-01-31") + 2)
        return min(max(longest, low), high)


_WRAPPED = ("prose", "input")
_DATE = {"num_format": "yyyy-mm-dd", "align": "left"}


def _choice(column: Column) -> dict[str, Any]:
    return {
        "validate": "list",
        "source": list(column.choices),
        "input_title": column.title,
        "input_message": column.comment,
        "error_title": "One of the list",
        "error_message": f"Choose one of: {', '.join(column.choices)}.",
    }


def _grouped(decimals: int) -> str:
    return "#,##0" + (f".{'0' * min(decimals, _MOST_DECIMALS)}" if decimals else "")


def _format(kind: str, decimals: int) -> str:
    if kind == "share":
        return "+0.000%;-0.000%;0.000%"
    number = _grouped(decimals)
    return f"+{number};-{number};{number}" if kind == "signed" else number
