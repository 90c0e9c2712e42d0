"""The lines of a file without what stands above and below its rows.

Belongs here: dropping the declared preamble and footer, and a blank tail. Not here: what a line
means. The numbers of the lines stay those of the file. Only the lines that may be the file's last
are held back, so memory does not grow with the file.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import polars as pl

from spanner_pipeline.configuration.layout import Footer, FramedLayout
from spanner_pipeline.errors import SourceFileError
from spanner_pipeline.sources.files import SourceFile
from spanner_pipeline.sources.lines import read_lines

_MOST_HELD = 100_000
"""Lines held back, beyond which blank ones are no tail; they are read as rows then."""


def read_body(
    file: SourceFile, layout: FramedLayout, separator: str = ""
) -> Iterator[pl.DataFrame]:
    """Yield frames of `line` and `original`, as `read_lines` does; none is empty.

    Lines at the file's end that hold nothing but blanks, or nothing but separators as a
    spreadsheet writes below its table, are no rows.

    Args:
        file: The file.
        layout: Declares `preamble` and `footer`.
        separator: What stands between the fields of a line, where one character does.

    Raises:
        SourceFileError: When the footer does not start as declared: the file is cut off.
    """
    only_separators = f"|{re.escape(separator)}+" if separator else ""
    blank = rf"^(?:[\s\x1a]*{only_separators})$"  # 1A ends files of DOS
    held = pl.DataFrame(schema={"line": pl.Int64, "original": pl.String})
    last = 0
    for lines in read_lines(file, layout.encoding):
        last = lines["line"][-1]
        if lines["line"][0] <= layout.preamble:
            lines = lines.filter(pl.col("line") > layout.preamble)
        lines = pl.concat([held, lines])
        tail = min(_tail(lines["original"], blank, layout.footer.lines), _MOST_HELD)
        body, held = lines.head(lines.height - tail), lines.tail(tail)
        if not body.is_empty():
            yield body
    _check_footer(file, layout.footer, held.filter(~pl.col("original").str.contains(blank)), last)


def _tail(texts: pl.Series, blank: str, footer: int) -> int:
    """How many of the last lines may be the footer and the blanks below it."""
    if texts.is_empty() or (footer == 0 and not texts.tail(1).str.contains(blank).item()):
        return 0
    filled = (~texts.str.contains(blank)).arg_true()
    if len(filled) <= footer - 1 or (footer == 0 and filled.is_empty()):
        return len(texts)
    return len(texts) - (int(filled[-footer]) if footer else int(filled[-1]) + 1)


def _check_footer(file: SourceFile, footer: Footer, found: pl.DataFrame, last: int) -> None:
    if not footer.starts_with:
        return
    complete = found.height == footer.lines
    if complete and found["original"][0].startswith(footer.starts_with):
        return
    wanted = " or ".join(f"`{text}`" for text in footer.starts_with)
    where = "its last line does" if footer.lines == 1 else f"its last {footer.lines} lines do"
    raise SourceFileError(
        file.name,
        f"ends without its footer: {where} not start with {wanted}.",
        "fetch it again if it is cut off, else correct `footer` in the source's YAML.",
        line=found["line"][0] if complete else max(last, 1),
    )
