"""JSON Lines: one object a line, columns named by dotted paths such as `data.tokens`.

JSON libraries read numbers as floats. So numbers outside strings are quoted first, and a quantity
reaches its decimal with the digits that the file has.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import polars as pl

from spanner_pipeline.configuration.source import Format
from spanner_pipeline.errors import SourceFileError
from spanner_pipeline.sources.files import SourceFile
from spanner_pipeline.sources.lines import read_lines

# A string, or a number; JSON strings hold no raw control characters, so they can mark the numbers.
_LEXEME = r'("(?:[^"\\]|\\.)*")|(-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?)'
_OPEN, _CLOSE = "\x01", "\x02"


def read_rows(file: SourceFile, layout: Format, needed: Sequence[str]) -> Iterator[pl.DataFrame]:
    """Yield `line`, `original`, `malformed` and a column `raw.<path>` for each path needed.

    Raises:
        SourceFileError: When a needed path is in no row of the file.
    """
    seen: set[str] = set()
    for lines in read_lines(file, layout.encoding):
        rows = lines.filter(pl.col("original").str.strip_chars() != "").with_columns(
            _quoted_numbers(pl.col("original")).alias("_json")
        )
        document = pl.col("_json").str.json_path_match("$")
        rows = rows.with_columns(
            (~document.str.starts_with("{").fill_null(value=False)).alias("malformed"),
            *(_at(name).alias(f"raw.{name}") for name in needed),
        )
        seen.update(name for name in needed if rows[f"raw.{name}"].null_count() < rows.height)
        yield rows.drop("_json")
    absent = [name for name in needed if name not in seen]
    if absent:
        raise SourceFileError(
            file.name,
            f"has other columns than declared: no row has {', '.join(absent)}.",
            "correct the paths in the source's YAML, or fetch the right file.",
            column=absent[0],
        )


def _quoted_numbers(text: pl.Expr) -> pl.Expr:
    marked = text.str.replace_all(_LEXEME, f"${{1}}{_OPEN}${{2}}{_CLOSE}")
    unmarked = marked.str.replace_all(_OPEN + _CLOSE, "", literal=True)
    return unmarked.str.replace_many([_OPEN, _CLOSE], ['"', '"'])


def _at(name: str) -> pl.Expr:
    path = "$" + "".join(f"['{part}']" for part in name.split("."))
    return pl.col("_json").str.json_path_match(path)
