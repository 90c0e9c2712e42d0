"""Taking back what a person mended."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import polars as pl

from spanner_pipeline.configuration.layout import Delimited
from spanner_pipeline.configuration.source import Source
from spanner_pipeline.lake.ledger import batch_name
from spanner_pipeline.lake.quarantine import rejected_files
from spanner_pipeline.presence import one_at_a_time
from spanner_pipeline.repairs.layout import ROW, dialect, fields_of, read, refused, without_end
from spanner_pipeline.root import DataRoot
from spanner_pipeline.sources.copies import Copies
from spanner_pipeline.sources.files import SourceFile, find_files, repair_file
from spanner_pipeline.sources.rows import is_json, raw, whole_rows
from spanner_pipeline.whole import written_whole

_IMPORT_AGAIN = "import the partition again, and mend the new file"


@dataclass(frozen=True)
class Repaired:
    """What a repair file brought.

    Attributes:
        mended: Rows that were mended, by partition.
        untouched: Rows that are as they were, and stay rejected.
    """

    mended: dict[str, int]
    untouched: int

    def describe(self) -> str:
        """Say it to a person."""
        rows, left = sum(self.mended.values()), self.untouched
        left_text = f"; {left} are as they were and stay rejected" if left else ""
        return f"{rows} mended rows of {', '.join(self.mended) or 'no partition'}{left_text}."


def take_repairs(root: DataRoot, source: Source, path: Path) -> Repaired:
    """Keep the mended rows of a repair file, to be read in place of those that were rejected.

    Args:
        root: The data root.
        source: The source that the rows are of.
        path: A file that `write_repair_files` wrote, and a person mended.

    Raises:
        RepairRefusedError: When the file cannot be read, or a row in it is not rejected now.
    """
    given = _identified(source, path)
    mended: dict[str, int] = {}
    untouched = 0
    overlays: list[tuple[Path, pl.DataFrame]] = []
    for (partition, digest), rows in given.partition_by(
        "partition", "digest", as_dict=True
    ).items():
        key = str(partition)
        file, rejected = _rejected(root, source, key, str(digest), path)
        if (odd := rows.join(rejected, on="line", how="anti")).height:
            problem = f"row {odd[ROW][0]} is not rejected now"
            raise refused(path, odd["_at"][0], problem, _IMPORT_AGAIN)
        with Copies(root, [file]) as copies:
            copies.fetch()
            changed = _changed(source, file, rows, path)
        untouched += rows.height - changed.height
        if changed.is_empty():
            continue
        mended[key] = mended.get(key, 0) + changed.height
        overlays.append((repair_file(root, source, key, file), changed))
    with one_at_a_time(root):  # whoever takes other rows of the same file keeps them beside these
        for place, rows in overlays:
            if place.is_file():
                kept = pl.read_parquet(place).join(rows, on="line", how="anti")
                rows = pl.concat([kept, rows.select(kept.columns)])
            with written_whole(place) as work:
                rows.sort("line").write_parquet(work)
    return Repaired(mended, untouched)


def _identified(source: Source, path: Path) -> pl.DataFrame:
    """The rows of a repair file, with the `partition`, `digest` and `line` that each came from."""
    given = read(source, path)
    where = given[ROW].str.extract_groups(
        r"^(?<partition>[^/]+)/(?<digest>[0-9a-f]{16})/(?<line>\d{1,18})$"
    )
    given = given.with_columns(where.struct.unnest()).with_columns(pl.col("line").cast(pl.Int64))
    if (bad := given.filter(pl.col("line").is_null())).height:
        problem = f"`{ROW}` does not say which row it is"
        raise refused(path, bad["_at"][0], problem, "put back what stood there")
    if (twice := given.filter(pl.col(ROW).is_duplicated())).height:
        raise refused(path, twice["_at"][-1], f"{twice[ROW][-1]} stands twice", "keep one of them")
    return given


def _rejected(
    root: DataRoot, source: Source, partition: str, digest: str, path: Path
) -> tuple[SourceFile, pl.DataFrame]:
    """The legacy file of repaired rows as it is now, and the lines of it that are rejected."""
    files = find_files(root, source, partition)
    file = next((file for file in files if file.digest.startswith(digest)), None)
    if file is None:
        raise refused(
            path,
            None,
            f"no file of {source.source} {partition} has the bytes that these rows came from",
            _IMPORT_AGAIN,
        )
    kept = rejected_files(root, source, batch_name(source, partition, files))
    lines = [
        pl.scan_parquet(one).filter(pl.col("source_file") == file.name).select(line="source_line")
        for one in kept
    ]
    if not lines:
        raise refused(
            path,
            None,
            f"nothing of {source.source} {partition} is rejected now",
            _IMPORT_AGAIN,
        )
    return file, pl.concat(lines).unique().collect()


def _changed(source: Source, file: SourceFile, rows: pl.DataFrame, path: Path) -> pl.DataFrame:
    """The rows that a person changed, with `line`, `original` and the columns of the family."""
    lines = rows.select("line")
    before = pl.concat(
        [batch.join(lines, on="line", how="semi") for batch in whole_rows(source, file)]
    )
    if is_json(source):
        both = rows.join(before.select("line", "malformed", old="original"), on="line")
        same = (
            pl.when("malformed")
            .then(pl.col("original") == "{}")
            .otherwise(without_end(pl.col("original")) == without_end(pl.col("old")))
        )
        return both.filter(~same).select("line", "original")
    fields = fields_of(before)
    if wrong := set(fields) ^ set(fields_of(rows)):
        told = ", ".join(
            f"{'misses' if name in fields else 'also has'} {name.removeprefix(raw(''))}"
            for name in sorted(wrong)
        )
        raise refused(path, 1, f"has other columns than {file.name}: {told}", "put them back")
    blank = before.with_columns(pl.col(fields).fill_null("")).select("line", *fields)
    after = rows.select("line", *fields)
    changed = after.join(blank, on=["line", *fields], how="anti")
    if not isinstance(source.format, Delimited):  # where a field can be absent, a blank means that
        changed = changed.with_columns(pl.when(pl.col(name) != "").then(name) for name in fields)
    spelled = [
        pl.lit('"') + pl.col(name).fill_null("").str.replace_all('"', '""', literal=True) + '"'
        for name in fields
    ]
    separator, _ = dialect(source)
    return changed.select(
        "line",
        pl.concat_str(spelled, separator=separator).alias("original"),
        pl.lit(value=False).alias("malformed"),
        *fields,
    )
