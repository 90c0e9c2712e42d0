"""Which format family a file has, and in which dialect: tried on its first lines.

Each family's own reader reads a sample of the file in each dialect; the one under which most lines
are sound rows is it. Belongs here: the guess. Not here: how a family is read (`sources`).
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import polars as pl

from spanner_pipeline.configuration.layout import (
    AccessLog,
    Delimited,
    Format,
    Json,
    JsonLines,
    Parquet,
)
from spanner_pipeline.errors import SourceFileError
from spanner_pipeline.profiling.json_arrays import LARGEST, find_rows
from spanner_pipeline.sources.files import SourceFile
from spanner_pipeline.sources.lines import read_lines
from spanner_pipeline.sources.rows import rows_as_laid_out

SAMPLE_LINES = 3_000
_SEPARATORS = (",", ";", "\t", "|")
_QUOTES = ('"', "", "'")
_ENCLOSED = """^(?s:'.*'|".*")$"""
_PARQUET = b"PAR1"
_UTF_16 = ("\xff\xfe", "\xfe\xff")
_OF_TEN = 10
_ENOUGH = 5
"""Tenths of the sample's lines that must be sound rows for a layout to be taken at all."""


@dataclass(frozen=True)
class _Tried:
    """How a layout fits a sample.

    Attributes:
        layout: The layout.
        tenths: Tenths of the sample's lines that are sound rows.
        columns: Columns.
        enclosed: Fields that are still enclosed in quotes: these are another dialect's.
        error: Why the sample cannot be read so.
    """

    layout: Format
    tenths: int
    columns: int
    enclosed: int
    error: SourceFileError | None


def open_file(path: Path) -> SourceFile:
    """A file that a user names, as readers take it.

    Raises:
        SourceFileError: When it is none or is empty.
    """
    if not path.is_file():
        raise SourceFileError(str(path), "is no file.", "name one file that is there.")
    if not (size := path.stat().st_size):
        raise SourceFileError(str(path), "is empty.", "fetch it again from the old system.")
    return SourceFile(str(path), path, digest="", size=size)


def encodings(file: SourceFile) -> tuple[str, ...]:
    """The encodings to try, likeliest first; the last of several reads any bytes."""
    if _is_parquet(file):
        return ("utf-8",)
    first = _first_lines(file, "latin-1")[0]
    return ("utf-16",) if first.startswith(_UTF_16) else ("utf-8", "cp1252", "latin-1")


def find_layout(file: SourceFile, encoding: str) -> Format:
    """The layout under which a file's first lines are sound rows.

    Raises:
        SourceFileError: When no family fits, or the text is not in this encoding.
    """
    if _is_parquet(file):
        return Parquet(family="parquet")
    with tempfile.TemporaryDirectory() as folder:
        sample = _sample(file, encoding, Path(folder) / "sample")
        tried = [_try(sample, layout) for layout in _layouts(sample)]
        many = len(sample.path.read_bytes().splitlines()) > 1
    if tried[0].layout.family == "json_lines" and not (many and tried[0].tenths >= _ENOUGH):
        rows = find_rows(file, encoding)
        if rows is not None:
            return Json(family="json", rows=rows).model_copy(update={"encoding": encoding})
    fitting = [trial for trial in tried if trial.tenths >= _ENOUGH]
    if not fitting:
        _refuse(file, tried)
    best = max(fitting, key=lambda trial: (trial.tenths, trial.columns, -trial.enclosed))
    return best.layout.model_copy(update={"encoding": encoding})


def _is_parquet(file: SourceFile) -> bool:
    with file.path.open("rb") as stream:
        return stream.read(len(_PARQUET)) == _PARQUET


def _first_lines(file: SourceFile, encoding: str) -> pl.Series:
    lines = next(read_lines(file, encoding), None)
    if lines is None:
        raise SourceFileError(file.name, "holds no text.", "fetch it again from the old system.")
    return lines["original"].head(SAMPLE_LINES)


def _sample(file: SourceFile, encoding: str, path: Path) -> SourceFile:
    path.write_text("\n".join(_first_lines(file, encoding)) + "\n", encoding="utf-8")
    return SourceFile(file.name, path, digest="", size=path.stat().st_size)


def _layouts(sample: SourceFile) -> Iterator[Format]:
    start = sample.path.read_text(encoding="utf-8").lstrip()[:1]
    if start in ("{", "["):
        yield JsonLines(family="json_lines")
        return
    yield AccessLog(family="access_log", layout="combined")
    yield AccessLog(family="access_log", layout="common")
    for separator in _SEPARATORS:
        for quote in _QUOTES:
            yield Delimited(family="delimited", separator=separator, quote=quote)


def _try(sample: SourceFile, layout: Format) -> _Tried:
    total = next(read_lines(sample, "utf-8")).filter(pl.col("original") != "").height
    sound, columns, enclosed, error = 0, 0, 0, None
    try:
        for rows in rows_as_laid_out(sample, layout, ()):
            fields = [pl.col(name) for name in rows.columns if name.startswith("raw.")]
            columns = len(fields)
            if fields:
                found = rows.select(field.str.contains(_ENCLOSED).sum() for field in fields)
                enclosed += sum(found.row(0))
            originals = rows.filter(~pl.col("malformed"))["original"]
            sound += originals.len() + int(originals.str.count_matches("\n").sum())
    except SourceFileError as found:  # a sample may end inside quotes
        error = found
    if layout.family == "delimited":
        total -= 1
        sound = sound if columns > 1 else 0
    return _Tried(layout, sound * _OF_TEN // max(total, 1), columns, enclosed, error)


def _refuse(file: SourceFile, tried: list[_Tried]) -> NoReturn:
    if tried[0].layout.family == "json_lines":
        raise SourceFileError(
            file.name,
            "is JSON, but neither one object a line nor a document with an array of objects (of at "
            f"most {LARGEST >> 20} Mi characters).",
            "write each record as one line, for example with `jq -c '.[]'`; or write the `format` "
            "of its source by hand: `{family: json, rows: path.of.the.array}`.",
        )
    # A header that no dialect can have, such as one with a name twice, says more than "unknown".
    for trial in tried:
        if trial.error is not None and "has twice" in str(trial.error):
            raise trial.error
    raise SourceFileError(
        file.name,
        "is in no format that is known: no Parquet, no JSON, no access log, and no text with "
        "a header and columns between separators.",
        "convert it to one of these, or write the `format` of its source by hand.",
    )
