"""The rows of a file as texts, in Parquet parts that Polars and DuckDB go over again and again.

Columns are named by their places (`c0`, `c1`, ...): names of old systems differ in case alone, or
hold quotes. Memory holds one batch, whatever the size of the file.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import polars as pl

from spanner_pipeline.configuration.layout import Format
from spanner_pipeline.errors import SourceFileError
from spanner_pipeline.profiling.layouts import encodings, find_layout
from spanner_pipeline.sources.files import SourceFile
from spanner_pipeline.sources.rows import raw, rows_as_laid_out

MOST_COLUMNS = 400
"""Paths of JSON objects that are looked at; keys that are data, such as host names, have no end."""


@dataclass(frozen=True)
class Stored:
    """The sound rows of a file.

    Attributes:
        file: The file.
        layout: How it was read.
        names: Its columns, in order; `c0` holds the first.
        folder: Holds the parts.
        rows: Sound rows.
        malformed: Rows that do not have the layout, and are not stored.
        first_malformed: The line of the first of them.
        unreachable: Keys of JSON objects that no dotted path can name, or that are too many.
    """

    file: SourceFile
    layout: Format
    names: tuple[str, ...]
    folder: Path
    rows: int
    malformed: int
    first_malformed: int | None
    unreachable: tuple[str, ...] = ()

    @property
    def parts(self) -> list[Path]:
        """The Parquet parts, in file order."""
        return sorted(self.folder.glob("*.parquet"))

    @property
    def table(self) -> str:
        """The rows, for the FROM of a query."""
        return parquet_table(self.folder)

    @property
    def content(self) -> str:
        """SQL for a digest of all that a row says; no two different rows share it."""
        if self.layout.family in ("json", "json_lines"):
            return "md5_number(content)"
        return digest(range(len(self.names)))


def parquet_table(folder: Path) -> str:
    """All Parquet files of a folder, for the FROM of a query."""
    return f"read_parquet({literal(str(folder / '*.parquet'))})"


def literal(text: str) -> str:
    """A text in SQL."""
    return "'" + text.replace("'", "''") + "'"


def digest(columns: Sequence[int]) -> str:
    """SQL for a digest of some columns of a row, each with its length."""
    fields = [f"coalesce(strlen(c{n})::VARCHAR, '-') || ':' || coalesce(c{n}, '')" for n in columns]
    return f"md5_number({' || '.join(fields) or literal('')})"


def store(file: SourceFile, folder: Path, connection: duckdb.DuckDBPyConnection) -> Stored:
    """Find a file's layout and store its rows.

    Args:
        file: The file.
        folder: A folder that does not exist yet.
        connection: Looks for the keys of JSON objects.

    Raises:
        SourceFileError: When it has no known layout, is cut off, or holds no sound row.
    """
    *likely, last = encodings(file)
    for encoding in likely:
        try:
            return _store(file, find_layout(file, encoding), folder, connection)
        except SourceFileError as error:
            if not isinstance(error.__cause__, UnicodeError):
                raise
    return _store(file, find_layout(file, last), folder, connection)


def _store(
    file: SourceFile, layout: Format, folder: Path, connection: duckdb.DuckDBPyConnection
) -> Stored:
    shutil.rmtree(folder, ignore_errors=True)  # what another encoding left
    folder.mkdir()
    names: tuple[str, ...] = ()
    unreachable: tuple[str, ...] = ()
    if layout.family in ("json", "json_lines"):
        names, unreachable = _paths(file, layout, folder, connection)
    rows, malformed, first = 0, 0, None
    for index, batch in enumerate(rows_as_laid_out(file, layout, names)):
        names = names or tuple(
            name.removeprefix(raw("")) for name in batch.columns if name.startswith(raw(""))
        )
        wrong = batch.filter("malformed")
        malformed += wrong.height
        if first is None and wrong.height:
            first = int(wrong["line"][0])
        sound = batch.filter(~pl.col("malformed"))
        rows += sound.height
        kept = [pl.col("line"), *([pl.col("content")] if "content" in sound.columns else [])]
        kept += [pl.col(raw(name)).alias(f"c{n}") for n, name in enumerate(names)]
        sound.select(kept).write_parquet(folder / f"{index:06}.parquet", compression="zstd")
    if not rows:
        raise SourceFileError(
            file.name, "holds no sound row.", "fetch it again from the old system.", line=first
        )
    return Stored(file, layout, names, folder, rows, malformed, first, unreachable)


def _paths(
    file: SourceFile, layout: Format, folder: Path, connection: duckdb.DuckDBPyConnection
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The dotted paths of all values in a file's objects, and the keys that have none."""
    reachable: dict[str, None] = {}
    unreachable: dict[str, None] = {}
    part = folder.with_suffix(".content")
    for batch in rows_as_laid_out(file, layout, ()):
        objects = batch.filter(~pl.col("malformed")).select("content")
        if objects.is_empty():
            continue
        objects.write_parquet(part)
        query = (
            "SELECT json_group_structure(content::JSON)::VARCHAR "
            f"FROM read_parquet({literal(str(part))})"
        )
        for path, has_path in _leaves(json.loads(connection.execute(query).fetchall()[0][0]), ()):
            few = path in reachable or len(reachable) < MOST_COLUMNS
            (reachable if has_path and few else unreachable)[path] = None
    part.unlink(missing_ok=True)
    return tuple(reachable), tuple(unreachable)


def _leaves(structure: Any, above: tuple[str, ...]) -> Iterator[tuple[str, bool]]:
    if isinstance(structure, dict) and structure:
        for key, below in structure.items():
            yield from _leaves(below, (*above, key))
    elif above:
        yield ".".join(above), not any("." in key or "'" in key or not key for key in above)
