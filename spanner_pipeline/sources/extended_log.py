"""W3C extended log files: CloudFront's standard logs, IIS and proxies.

Lines that begin with `#` are directives, not rows. `#Fields:` names the columns of the rows below
it; a server that is set up anew writes another one into the same file.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import polars as pl

from spanner_pipeline.configuration.layout import ExtendedLog
from spanner_pipeline.errors import SourceFileError
from spanner_pipeline.sources.columns import check_columns
from spanner_pipeline.sources.delimited import split_fields
from spanner_pipeline.sources.files import SourceFile
from spanner_pipeline.sources.lines import read_lines

_FIELDS = "#Fields:"


def read_rows(
    file: SourceFile, layout: ExtendedLog, needed: Sequence[str]
) -> Iterator[pl.DataFrame]:
    """Yield `line`, `original`, `malformed` and a column `raw.<name>` for each name of the file.

    A column that the `#Fields:` above a row does not name is null there.

    Raises:
        SourceFileError: When rows stand above the first `#Fields:`, or one lacks a needed column.
    """
    directives = _directives(file, layout, needed)
    every = list(dict.fromkeys(name for names in directives.values() for name in names))
    names: list[str] | None = None
    for lines in read_lines(file, layout.encoding):
        # What rows a directive is for is known by how many of them stand above a row.
        above = pl.col("original").str.starts_with(_FIELDS).cum_sum()
        for part in lines.with_columns(_above=above).partition_by("_above", maintain_order=True):
            names = directives.get(part["line"][0], names)
            rows = part.filter(
                (pl.col("original") != "") & ~pl.col("original").str.starts_with("#")
            )
            if rows.is_empty():
                continue
            if names is None:
                raise SourceFileError(
                    file.name,
                    f"has a row above its first `{_FIELDS}` line, so its columns have no name.",
                    "fetch the whole file, or declare another `format`, such as `delimited` with "
                    "`header: false`.",
                    line=rows["line"][0],
                )
            split = split_fields(rows, layout.separator, layout.quote, names)
            absent = [pl.lit(None, pl.String).alias(f"raw.{n}") for n in every if n not in names]
            fields = [f"raw.{name}" for name in every]
            yield split.with_columns(absent).select("line", "original", "malformed", *fields)


def content_of(fields: Sequence[str]) -> pl.Expr:
    """The fields that a row has, by name, whatever columns other rows of its file have.

    So a row reads the same wherever a file is cut, and when a column was added below it.
    """
    parts: list[pl.Expr] = []
    for column in sorted(fields):
        name = column.removeprefix("raw.")
        length = pl.col(column).str.len_bytes().cast(pl.String)
        spelled = pl.concat_str(pl.lit(f"{name}="), length, pl.lit(":"), pl.col(column))
        parts.append(pl.when(pl.col(column) != "").then(spelled).otherwise(pl.lit("")))
    return pl.concat_str(parts)


def _directives(
    file: SourceFile, layout: ExtendedLog, needed: Sequence[str]
) -> dict[int, list[str]]:
    """The column names that each `#Fields:` line gives, by line; the file is read once for them.

    All batches of a file must have the same columns, and the last line may name a new one.
    """
    found: dict[int, list[str]] = {}
    for lines in read_lines(file, layout.encoding):
        named = lines.filter(pl.col("original").str.starts_with(_FIELDS))
        for line, text in named.select("line", "original").iter_rows():
            found[line] = text.removeprefix(_FIELDS).split()
            check_columns(file, found[line], needed, line=line)
    return found
