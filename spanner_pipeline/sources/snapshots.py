"""The answer of a database, copied once: read again and again, and known by what it holds.

A database gives rows in any order. The copy has them by their identity, then by every other column,
so that the same rows make the same copy, with the same row numbers and the same digest. DuckDB
sorts, on disk where memory is short.
"""

from __future__ import annotations

import hashlib
import tempfile
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from spanner_pipeline.engine import open_duckdb
from spanner_pipeline.sources.content import joined
from spanner_pipeline.whole import written_whole

_BATCH_ROWS = 50_000


@dataclass(frozen=True)
class Snapshot:
    """One answer.

    Attributes:
        path: The copy, in Parquet; every column is a text.
        digest: SHA-256 of its rows and column names, in hexadecimal.
        size: The bytes of its rows.
    """

    path: Path
    digest: str
    size: int


def take(frames: Iterator[pl.DataFrame], first: Sequence[str], place: Path) -> Snapshot:
    """Copy an answer into a folder, under a name of its own.

    Args:
        frames: Its rows as texts; the first frame says the columns.
        first: The columns to sort by before all others; those that it lacks are passed over.
        place: The folder.

    Raises:
        SourceFileError: When the database gives no answer or refuses.
    """
    place.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=place.parent, prefix="answer-") as folder:
        spool = Path(folder) / "rows.parquet"
        columns = _write(frames, spool)
        leading = [column for column in first if column in columns]
        order = [*leading, *sorted(set(columns) - set(leading))]
        by = ", ".join('"' + column.replace('"', '""') + '" NULLS FIRST' for column in order)
        path = place / f"{uuid.uuid4().hex}.parquet"
        with written_whole(path) as work, open_duckdb(Path(folder) / "spill") as connection:
            rows_in_order = connection.read_parquet(str(spool)).order(by)
            rows_in_order.write_parquet(str(work), compression="zstd")
    digest, size = _digest(path, columns)
    return Snapshot(path, digest, size)


def _write(frames: Iterator[pl.DataFrame], spool: Path) -> list[str]:
    head = next(frames)
    schema = pa.schema([(name, pa.large_string()) for name in head.columns])
    with pq.ParquetWriter(spool, schema, compression="zstd", compression_level=1) as out:
        for frame in frames:
            out.write_table(frame.to_arrow().cast(schema))
    return head.columns


def _digest(path: Path, columns: Sequence[str]) -> tuple[str, int]:
    digest, size = hashlib.sha256(), 0
    digest.update("\n".join(sorted(columns)).encode())
    with pq.ParquetFile(path) as rows:
        for batch in rows.iter_batches(_BATCH_ROWS):
            # `*` and `^a$` would be patterns to Polars.
            plain = pl.DataFrame(batch).rename(lambda name: f"column {name}")
            told = plain.select(joined(plain.columns).alias("row"))["row"]
            text = ("\n" + told).str.join().item().encode()
            digest.update(text)
            size += len(text)
    return digest.hexdigest(), size
