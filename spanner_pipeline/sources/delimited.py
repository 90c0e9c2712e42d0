"""Delimited text (CSV, TSV): header, quotes, quoted line breaks.

Lines are split by column-wise string functions, not by a CSV reader: those drop blank or odd lines
and lose line numbers and original texts, which quarantine and conflicts need. Reading lines and
splitting them costs about what a CSV reader costs.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Sequence

import polars as pl

from spanner_pipeline.configuration.layout import Delimited
from spanner_pipeline.errors import SourceFileError
from spanner_pipeline.sources.columns import check_columns
from spanner_pipeline.sources.files import SourceFile
from spanner_pipeline.sources.framing import read_body
from spanner_pipeline.sources.lines import LONGEST_LINE

_MOST_LINES = 100_000
"""Lines inside one pair of quotes beyond which the quote was no quote."""


def read_rows(file: SourceFile, layout: Delimited, needed: Sequence[str]) -> Iterator[pl.DataFrame]:
    """Yield `line`, `original`, `malformed` and a column `raw.<name>` for each header name."""
    header = None if layout.header else list(layout.columns)
    for records in _records(file, layout):
        if header is None:
            header = _header(file, layout, records, needed)
            records = records.slice(1)
        records = records.filter(pl.col("original") != "")
        if not records.is_empty():
            yield split_fields(records, layout.separator, layout.quote, header)


def _header(
    file: SourceFile, layout: Delimited, records: pl.DataFrame, needed: Sequence[str]
) -> list[str]:
    rows = csv.reader(
        [records["original"][0]],
        delimiter=layout.separator,
        quotechar=layout.quote or None,
        quoting=csv.QUOTE_MINIMAL if layout.quote else csv.QUOTE_NONE,
    )
    names = [name.strip() for name in next(iter(rows), [])]
    check_columns(file, names, needed, layout.columns, line=records["line"][0])
    return names


def _records(file: SourceFile, layout: Delimited) -> Iterator[pl.DataFrame]:
    """Join physical lines into records: a line break inside quotes does not end one."""
    pending: pl.DataFrame | None = None
    for lines in read_body(file, layout, layout.separator):
        if pending is not None:
            lines = pl.concat([pending, lines])
            pending = None
        if not layout.quote or not lines["original"].str.contains(layout.quote, literal=True).any():
            yield lines
            continue
        quotes = pl.col("original").str.count_matches(layout.quote, literal=True)
        lines = lines.with_columns(_open=quotes.cum_sum() % 2 == 1)
        if lines["_open"].any():
            starts = ~pl.col("_open").shift(1, fill_value=False)
            lines = lines.with_columns(_record=starts.cum_sum())
            if lines["_open"][-1]:
                last = lines["_record"][-1]
                pending = lines.filter(pl.col("_record") == last).select("line", "original")
                characters = pending["original"].str.len_chars().sum()
                if pending.height > _MOST_LINES or characters > LONGEST_LINE:
                    raise _never_closed(file, pending["line"][0])
                lines = lines.filter(pl.col("_record") != last)
            lines = lines.group_by("_record", maintain_order=True).agg(
                pl.col("line").first(), pl.col("original").str.join("\n")
            )
        if not lines.is_empty():
            yield lines.select("line", "original")
    if pending is not None:
        raise _never_closed(file, pending["line"][0])


def _never_closed(file: SourceFile, line: int) -> SourceFileError:
    return SourceFileError(
        file.name,
        "opens a quote here that is never closed: the file is cut off, or the quote is text.",
        'fetch the file again, repair the line, or declare `quote: ""`.',
        line=line,
    )


def split_fields(
    records: pl.DataFrame, separator: str, quote: str, header: list[str]
) -> pl.DataFrame:
    """Split the `original` of records into the columns `raw.<name>`; keeps `line`.

    Args:
        records: Rows with `line` and `original`.
        separator: One character between fields.
        quote: One character around fields that hold separators; doubled inside. Empty: none.
        header: The names of the fields; a row with another number of them is `malformed`.
    """
    if not quote:
        return _split_plain(records, separator, header)
    quoted = records["original"].str.contains(quote, literal=True)
    if not quoted.any():
        return _split_plain(records, separator, header)
    parts = [_split_quoted(records.filter(quoted), separator, quote, header)]
    if not quoted.all():
        parts.append(_split_plain(records.filter(~quoted), separator, header))
    return pl.concat(parts).sort("line")


def _split_plain(records: pl.DataFrame, separator: str, header: list[str]) -> pl.DataFrame:
    *_, last, beyond = names = [*(f"raw.{name}" for name in header), "_beyond"]
    fields = pl.col("original").str.split_exact(separator, len(header))
    split = records.select("line", "original", fields.struct.rename_fields(names).alias("_"))
    malformed = pl.col(last).is_null() | pl.col(beyond).is_not_null()
    return split.unnest("_").select("line", "original", malformed.alias("malformed"), *names[:-1])


def _split_quoted(
    records: pl.DataFrame, separator: str, quote: str, header: list[str]
) -> pl.DataFrame:
    one, around = re.escape(separator), re.escape(quote)
    field = rf"(?s){one}(?:{around}(?:[^{around}]|{around}{around})*{around}|[^{one}{around}]*)"
    pieces = (pl.lit(separator) + pl.col("original")).str.extract_all(field)
    whole = pieces.list.join("") == pl.lit(separator) + pl.col("original")
    piece = pl.element().str.slice(1)
    unquoted = (
        pl.when(piece.str.starts_with(quote))
        .then(
            piece.str.slice(1, piece.str.len_chars() - 2).str.replace_all(
                quote * 2, quote, literal=True
            )
        )
        .otherwise(piece)
    )
    malformed = ~whole | (pieces.list.len() != len(header))
    names = [str(index) for index in range(len(header))]
    fields = pieces.list.eval(unquoted).list.to_struct(fields=names)
    renamed = fields.struct.rename_fields([f"raw.{name}" for name in header])
    return records.select(
        "line", "original", malformed.alias("malformed"), renamed.alias("_")
    ).unnest("_")
