"""Rows of a partition, as texts, whatever the format family.

A batch of rows has `source_file`, `line`, `original` (the row as it stood in the file),
`malformed` (the row does not have the declared layout), `content` (all fields, unambiguously
joined; only where asked for), `revision` (of its file; null unless the source declares an order of
deliveries) and one text column `raw.<name>` for each source column that the source reads.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import PurePath
from typing import Any

import polars as pl

from spanner_pipeline.configuration.layout import (
    Avro,
    ExtendedLog,
    Format,
    Json,
    JsonLines,
    Layout,
    TextLayout,
)
from spanner_pipeline.configuration.source import Source
from spanner_pipeline.configuration.values import SOURCE_FILE
from spanner_pipeline.errors import SourceFileError
from spanner_pipeline.sources import (
    access_log,
    arrow,
    avro,
    delimited,
    delta,
    extended_log,
    fixed_width,
    json_document,
    json_lines,
    parquet,
    pattern,
    xlsx,
)
from spanner_pipeline.sources.content import joined
from spanner_pipeline.sources.files import SourceFile
from spanner_pipeline.sources.json_lines import parse_objects
from spanner_pipeline.sources.lines import ends_with

Reader = Callable[[SourceFile, Any, Sequence[str]], Iterator[pl.DataFrame]]
"""Reads a file of one family, as its layout declares; the last argument is the columns to read."""

_FAMILIES: dict[str, Reader] = {
    "access_log": access_log.read_rows,
    "arrow": arrow.read_rows,
    "avro": avro.read_rows,
    "delimited": delimited.read_rows,
    "delta": delta.read_rows,
    "extended_log": extended_log.read_rows,
    "fixed_width": fixed_width.read_rows,
    "json": json_document.read_rows,
    "json_lines": json_lines.read_rows,
    "parquet": parquet.read_rows,
    "pattern": pattern.read_rows,
    "sql": parquet.read_rows,  # of the copy of the answer
    "xlsx": xlsx.read_rows,
}


def raw(name: str) -> str:
    """The column of a batch that holds a source column."""
    return f"raw.{name}"


def read_rows(source: Source, files: Sequence[SourceFile]) -> Iterator[pl.DataFrame]:
    """Read all rows of a partition's files, in batches, in file and line order.

    Raises:
        SourceFileError: When a file cannot be read as declared.
    """
    with_content = source.identity is not None and source.identity.multiset
    for file in files:
        rows = 0
        absent = set(source.essential_columns)
        for batch in whole_rows(source, file):
            rows += batch.height
            absent -= {name for name in absent if batch[raw(name)].null_count() < batch.height}
            yield _with_origin(file, source, batch, with_content)
        if rows == 0 and source.format.family != "sql":  # a database that answers has answered
            raise SourceFileError(
                file.name, "holds no rows.", "fetch it again, or exclude it from `files`."
            )
        if absent and is_json(source):
            raise SourceFileError(
                file.name,
                f"has other columns than declared: no row has {', '.join(sorted(absent))}.",
                "correct the paths in the source's YAML, or fetch the right file.",
                column=min(absent),
            )


def whole_rows(source: Source, file: SourceFile) -> Iterator[pl.DataFrame]:
    """Read one file as its family gives it, with every column; mended rows stand for the old ones.

    Raises:
        SourceFileError: When the file cannot be read as declared.
    """
    mended = _mended_rows(source, file)
    for batch in rows_as_laid_out(file, source.format, source.columns):
        if mended is not None:
            batch = batch.join(mended, on="line", how="anti")
        if not batch.is_empty():
            yield batch
    if mended is not None:
        yield mended


def rows_as_laid_out(
    file: SourceFile, layout: Format, needed: Sequence[str]
) -> Iterator[pl.DataFrame]:
    """Read one file as its family gives it, with every column; no batch is empty.

    Raises:
        SourceFileError: When the file cannot be read as declared.
    """
    for batch in _FAMILIES[layout.family](file, layout, needed):
        if not batch.is_empty():
            _refuse_cut_end(file, layout, batch)
            yield batch


def _mended_rows(source: Source, file: SourceFile) -> pl.DataFrame | None:
    """The mended rows of a file, with the columns of its family; None where there are none."""
    if file.repair is None:
        return None
    rows = pl.read_parquet(file.repair)
    return parse_objects(rows, source.columns) if is_json(source) else rows


def is_json(source: Source) -> bool:
    """Whether rows are JSON objects: each names its own columns; one is missing if none has it."""
    return isinstance(source.format, Avro | Json | JsonLines)


def _with_origin(
    file: SourceFile, source: Source, batch: pl.DataFrame, with_content: bool
) -> pl.DataFrame:
    fields = [name for name in batch.columns if name.startswith(raw(""))]
    columns = [pl.lit(file.name).alias("source_file"), pl.col("line"), pl.col("original")]
    columns.append(pl.col("malformed"))
    if with_content:
        own = "content" in batch.columns  # the family's own, where rows have no fixed columns
        by_name = isinstance(source.format, ExtendedLog)
        told = extended_log.content_of(fields) if by_name else joined(fields)
        content = pl.col("content") if own else told
        # Malformed rows must not count among the occurrences of a good row that looks like them.
        malformed = pl.lit("malformed ") + pl.col("original")
        columns.append(pl.when("malformed").then(malformed).otherwise(content).alias("content"))
    nulls = list(source.format.nulls)
    columns += [
        pl.when(~pl.col(raw(name)).is_in(nulls)).then(pl.col(raw(name))).alias(raw(name))
        for name in source.columns
    ]
    columns.append(pl.lit(PurePath(file.name).name).alias(raw(SOURCE_FILE)))
    columns.append(pl.lit(file.revision, dtype=pl.Int64).alias("revision"))
    # Where columns are cut differently, Polars would copy all of them at every further step.
    return batch.select(columns).rechunk()


def _refuse_cut_end(file: SourceFile, layout: Layout, batch: pl.DataFrame) -> None:
    if not isinstance(layout, TextLayout) or not batch["malformed"][-1]:
        return
    if ends_with(file, layout.encoding, batch["original"][-1]):
        raise SourceFileError(
            file.name,
            "ends inside a row: the file is cut off.",
            "fetch it again from the old system.",
            line=batch["line"][-1],
        )
