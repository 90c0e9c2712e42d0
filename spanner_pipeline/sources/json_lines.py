"""JSON Lines: one object a line, columns named by paths such as `data.tokens` or `items[0].n`.

JSON libraries read numbers as floats. So numbers outside strings are quoted first, and a quantity
reaches its decimal with the digits that the file has.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import polars as pl

from spanner_pipeline.configuration.json_paths import steps
from spanner_pipeline.configuration.layout import JsonLines
from spanner_pipeline.sources.files import SourceFile
from spanner_pipeline.sources.lines import read_lines

# A string, or a number; JSON strings hold no raw control characters, so they can mark the numbers.
_LEXEME = r'("(?:[^"\\]|\\.)*")|(-?[0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?)'
_OPEN, _CLOSE = "\x01", "\x02"


def read_rows(file: SourceFile, layout: JsonLines, needed: Sequence[str]) -> Iterator[pl.DataFrame]:
    """Yield `line`, `original`, `malformed`, `content` and a column `raw.<path>` for each needed.

    A path that a row does not have is null there: an optional key need not be in every file.
    """
    for lines in read_lines(file, layout.encoding):
        yield parse_objects(lines.filter(pl.col("original").str.strip_chars() != ""), needed)


def parse_objects(lines: pl.DataFrame, needed: Sequence[str]) -> pl.DataFrame:
    """Give `line` and `original`, a JSON object, the other columns that `read_rows` yields.

    An object that has a key twice is malformed: which value is meant, nobody knows.
    """
    rows = lines.with_columns(_quoted_numbers(pl.col("original")).alias("_json"))
    # `content` has each key once, and as many colons as the text unless a key was dropped.
    is_object = (
        pl.col("original").str.contains(r"^\s*\{")
        & pl.col("content").is_not_null()
        & (_colons(pl.col("_json")) == _colons(pl.col("content")))
    )
    rows = rows.with_columns(pl.col("_json").str.json_path_match("$").alias("content"))
    return rows.with_columns(
        is_object.not_().alias("malformed"),
        *(_at(name).alias(f"raw.{name}") for name in needed),
    ).drop("_json")


def _colons(text: pl.Expr) -> pl.Expr:
    return text.str.replace_all(r"\\u003[aA]", ":").str.count_matches(":", literal=True)


def _quoted_numbers(text: pl.Expr) -> pl.Expr:
    marked = text.str.replace_all(_LEXEME, f"${{1}}{_OPEN}${{2}}{_CLOSE}")
    unmarked = marked.str.replace_all(_OPEN + _CLOSE, "", literal=True)
    return unmarked.str.replace_many([_OPEN, _CLOSE], ['"', '"'])


def _at(name: str) -> pl.Expr:
    path = "$"
    for step in steps(name):
        quote = '"' if "'" in str(step) else "'"
        path += f"[{step}]" if isinstance(step, int) else f"[{quote}{step}{quote}]"
    return pl.col("_json").str.json_path_match(path)
