"""SQLite files, opened read-only: every value becomes the text of what is stored.

SQLite types values, not columns: a NUMERIC column stores 0.1 as a double, whatever it was declared
as, and its shortest spelling is taken. Decimals that were stored as texts are exact.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Generator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import quote

import polars as pl

from spanner_pipeline.configuration.statement import with_parameters
from spanner_pipeline.sources.database import BATCH_ROWS, Question, check_names
from spanner_pipeline.sources.typed import text_of_bytes

_BUSY_SECONDS = 30
_PASSING = (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_NOMEM)


def answer(question: Question) -> Generator[pl.DataFrame, None, None]:
    """Yield the rows of a query as texts, in batches; the first is there even without rows.

    Raises:
        SourceFileError: When the file is no SQLite database, is busy, or refuses the query.
    """
    read = 0
    try:
        with closing(_opened(question.location)) as connection:
            cursor = connection.execute(
                with_parameters(question.statement, lambda name: f":{name}", str), question.bounds
            )
            names = [str(column[0]) for column in cursor.description]
            check_names(question, names)
            yield _texts([], names)
            while rows := cursor.fetchmany(BATCH_ROWS):
                yield _texts(rows, names)
                read += len(rows)
    except sqlite3.Error as error:
        passes = (getattr(error, "sqlite_errorcode", 0) or 0) & 0xFF in _PASSING
        told = question.refusal(str(error), read, passes=passes)
        raise told from told.__cause__


def newest_change(path: Path) -> int:
    """When a database was last written to, in nanoseconds since 1970; its log counts."""
    log = path.with_name(f"{path.name}-wal")
    seen = [path.stat(), *([log.stat()] if log.exists() else [])]
    return max(max(one.st_mtime_ns, one.st_ctime_ns) for one in seen)


def _opened(path: str | Path) -> sqlite3.Connection:
    address = f"file:{quote(str(path))}?mode=ro"
    connection = sqlite3.connect(address, uri=True, timeout=_BUSY_SECONDS)
    connection.execute("PRAGMA query_only = ON")
    connection.text_factory = text_of_bytes
    return connection


def _texts(rows: Sequence[tuple[Any, ...]], names: Sequence[str]) -> pl.DataFrame:
    columns = zip(*rows, strict=True) if rows else ([] for _ in names)
    return pl.DataFrame(
        [
            pl.Series(name, [_text(value) for value in column], dtype=pl.String)
            for name, column in zip(names, columns, strict=True)
        ]
    )


def _text(value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bytes):
        return text_of_bytes(value)
    return str(value).removesuffix(".0")
