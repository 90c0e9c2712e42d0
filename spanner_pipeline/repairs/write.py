"""Writing the rejected rows of a delivery as files to mend."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path, PurePath

import polars as pl

from spanner_pipeline.configuration.source import Source
from spanner_pipeline.lake.quarantine import rejected_files, repair_files
from spanner_pipeline.repairs import layout
from spanner_pipeline.root import DataRoot
from spanner_pipeline.sources.files import SourceFile
from spanner_pipeline.sources.rows import whole_rows
from spanner_pipeline.whole import written_whole

_NAME_BYTES = 100


def write_repair_files(
    root: DataRoot, source: Source, files: Sequence[SourceFile], batch: str
) -> list[Path]:
    """Write a file to mend for each legacy file that has rejected rows; memory stays flat."""
    _, partition, digest = batch.split("/")
    place = root.quarantine / source.source / partition
    for old in repair_files(root, batch):
        old.unlink(missing_ok=True)
    kept = rejected_files(root, source, batch)
    if not kept:
        return []
    rejected = pl.concat(
        pl.scan_parquet(one).select(
            "source_file", pl.col("source_line").alias("line"), "reason_code", "field", "hint"
        )
        for one in kept
    )
    written = []
    for file in files:
        of_file = rejected.filter(pl.col("source_file") == file.name).drop("source_file")
        if of_file.head(1).collect().is_empty():
            continue
        path = place / f"{digest}.{file.digest[:8]}.{_short(file)}.repair.{layout.ending(source)}"
        with written_whole(path) as work, work.open("wb") as out:
            first = True
            for rows in _with_reasons(source, file, of_file, f"{partition}/{file.digest[:16]}/"):
                out.write(layout.written(source, rows, first=first))
                first = False
        written.append(path)
    return written


def _with_reasons(
    source: Source, file: SourceFile, rejected: pl.LazyFrame, name: str
) -> Iterator[pl.DataFrame]:
    for rows in whole_rows(source, file):
        lines = pl.col("line").is_between(rows["line"].min(), rows["line"].max())
        reasons = rejected.filter(lines).collect().unique("line", keep="first")
        found = rows.join(reasons, on="line", maintain_order="left")
        if not found.is_empty():
            yield found.with_columns(
                (pl.lit(name) + pl.col("line").cast(pl.String)).alias(layout.ROW),
                pl.when("malformed").then("original").alias(layout.ORIGINAL),
            )


def _short(file: SourceFile) -> str:
    """A file's own name, as far as a longer one of ours leaves room for it."""
    name = PurePath(file.name).name.encode()
    return name[:_NAME_BYTES].decode(errors="ignore")
