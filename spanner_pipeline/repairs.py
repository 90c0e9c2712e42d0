"""Rejected rows go out in the format of their source, and come back mended.

A repair file holds the rejected rows of one legacy file with all its columns, and beside them why
each was rejected. A person mends what is wrong; the rows that differ are kept in `repairs/`, stand
for the old ones whenever that file is read, and so are imported once. The legacy file itself stays.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath

import polars as pl

from spanner_pipeline.configuration.layout import Delimited
from spanner_pipeline.configuration.source import Source
from spanner_pipeline.errors import PipelineError
from spanner_pipeline.lake.ledger import batch_name
from spanner_pipeline.lake.quarantine import quarantine_file, repair_files
from spanner_pipeline.presence import one_at_a_time
from spanner_pipeline.root import DataRoot
from spanner_pipeline.sources.files import SourceFile, find_files, repair_file
from spanner_pipeline.sources.rows import is_json, raw, whole_rows
from spanner_pipeline.sources.texts import is_number
from spanner_pipeline.staging import REJECTED
from spanner_pipeline.whole import written_whole

ROW = "rejected_row"
BESIDE = (ROW, "reason_code", "field", "hint", "original_row")
"""The columns beside the source's own: which row it is, why it was rejected, and, of a row that
does not have the layout, its text."""
BESIDE_JSON = "quarantine"
"""The key that holds them in a JSON object."""

_NAME_BYTES = 100
_JSON_BESIDE = rf',?\s*"{BESIDE_JSON}"\s*:\s*\{{(?:[^{{}}"]|"(?:[^"\\]|\\.)*")*\}}'


class RepairRefusedError(PipelineError):
    """A repair file is not what was written, or the rows in it are not rejected any more."""


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


def write_repair_files(
    root: DataRoot, source: Source, files: Sequence[SourceFile], batch: str
) -> list[Path]:
    """Write a file to mend for each legacy file that has rejected rows; memory stays flat."""
    _, partition, digest = batch.split("/")
    place = root.quarantine / source.source / partition
    for old in repair_files(root, batch):
        old.unlink(missing_ok=True)
    kept = _kept(root, source, batch)
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
        ending = "jsonl" if is_json(source) else "csv"
        path = place / f"{digest}.{file.digest[:8]}.{_short(file)}.repair.{ending}"
        with written_whole(path) as work, work.open("wb") as out:
            first = True
            for rows in _with_reasons(source, file, of_file, f"{partition}/{file.digest[:16]}/"):
                text = _as_json(rows) if is_json(source) else _as_csv(source, rows, header=first)
                out.write(text)
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
            yield found.with_columns((pl.lit(name) + pl.col("line").cast(pl.String)).alias(ROW))


def _short(file: SourceFile) -> str:
    """A file's own name, as far as a longer one of ours leaves room for it."""
    name = PurePath(file.name).name.encode()
    return name[:_NAME_BYTES].decode(errors="ignore")


def _kept(root: DataRoot, source: Source, batch: str) -> list[Path]:
    """The files with the rejected rows of a delivery, one a usage that has any."""
    places = [quarantine_file(root, batch, usage.name, REJECTED) for usage in source.usage]
    return [place for place in places if place.is_file()]


def _fields(rows: pl.DataFrame) -> list[str]:
    return [name for name in rows.columns if name.startswith(raw(""))]


def _beside(fields: Sequence[str]) -> dict[str, str]:
    """What the columns beside are called, where the source has one of the same name."""
    taken = {name.removeprefix(raw("")) for name in fields}
    return {name: name if name not in taken else f"quarantine_{name}" for name in BESIDE}


def _as_csv(source: Source, rows: pl.DataFrame, *, header: bool) -> bytes:
    fields = _fields(rows)
    malformed = pl.when("malformed").then("original").alias(BESIDE[-1])
    names = _beside(fields)
    told = rows.with_columns(malformed).select(
        *(pl.col(name).alias(name.removeprefix(raw(""))) for name in fields),
        *(pl.col(name).alias(names[name]) for name in BESIDE),
    )
    separator, quote = _dialect(source)
    text = told.select(_harmless(pl.col(name)).alias(name) for name in told.columns).write_csv(
        include_header=header, include_bom=header, separator=separator, quote_char=quote
    )
    return text.encode()


def _harmless(text: pl.Expr) -> pl.Expr:
    """A cell that no spreadsheet takes for a formula; `_as_it_was` undoes it."""
    formula = text.str.contains(r"^'*[=+\-@\t\r]") & ~is_number(text)
    return pl.when(formula).then(pl.lit("'") + text).otherwise(text)


def _as_it_was(text: pl.Expr) -> pl.Expr:
    return pl.when(text.str.contains(r"^'+[=+\-@\t\r]")).then(text.str.slice(1)).otherwise(text)


def _dialect(source: Source) -> tuple[str, str]:
    if isinstance(source.format, Delimited):
        return source.format.separator, source.format.quote or '"'
    return ",", '"'


def _as_json(rows: pl.DataFrame) -> bytes:
    malformed = pl.when("malformed").then("original").alias(BESIDE[-1])
    beside = rows.with_columns(malformed).select(pl.struct(*BESIDE).struct.json_encode())
    body = pl.when("malformed").then(pl.lit("{")).otherwise(_without_end(pl.col("original")))
    comma = pl.when(body == "{").then(pl.lit("")).otherwise(pl.lit(", "))
    told = rows.with_columns(beside.to_series().alias("_beside")).select(
        pl.concat_str(body, comma, pl.lit(f'"{BESIDE_JSON}": '), "_beside", pl.lit("}\n"))
    )
    return "".join(told.to_series()).encode()


def _without_end(text: pl.Expr) -> pl.Expr:
    """A JSON object up to its closing brace, without blanks before that."""
    return text.str.strip_chars().str.strip_suffix("}").str.strip_chars_end()


def take_repairs(root: DataRoot, source: Source, path: Path) -> Repaired:
    """Keep the mended rows of a repair file, to be read in place of those that were rejected.

    Args:
        root: The data root.
        source: The source that the rows are of.
        path: A file that `write_repair_files` wrote, and a person mended.

    Raises:
        RepairRefusedError: When the file cannot be read, or a row in it is not rejected now.
    """
    given = _read_json(path) if is_json(source) else _read_csv(source, path)
    where = given[ROW].str.extract_groups(
        r"^(?<partition>[^/]+)/(?<digest>[0-9a-f]{16})/(?<line>\d{1,18})$"
    )
    given = given.with_columns(where.struct.unnest())
    given = given.with_columns(pl.col("line").cast(pl.Int64))
    if (bad := given.filter(pl.col("line").is_null())).height:
        raise _refused(
            path,
            bad["_at"][0],
            f"`{ROW}` does not say which row it is",
            "put back what stood there",
        )
    if (twice := given.filter(pl.col(ROW).is_duplicated())).height:
        raise _refused(path, twice["_at"][-1], f"{twice[ROW][-1]} stands twice", "keep one of them")
    mended: dict[str, int] = {}
    untouched = 0
    overlays: list[tuple[Path, pl.DataFrame]] = []
    for (partition, digest), rows in given.partition_by(
        "partition", "digest", as_dict=True
    ).items():
        key = str(partition)
        file, rejected = _rejected(root, source, key, str(digest), path)
        if (odd := rows.join(rejected, on="line", how="anti")).height:
            raise _refused(
                path,
                odd["_at"][0],
                f"row {odd[ROW][0]} is not rejected now",
                "import the partition again, and mend the new file",
            )
        changed = _changed(source, file, rows, path)
        untouched += rows.height - changed.height
        if changed.is_empty():
            continue
        mended[key] = mended.get(key, 0) + changed.height
        if file.repair is not None:
            kept = pl.read_parquet(file.repair).join(changed, on="line", how="anti")
            changed = pl.concat([kept, changed.select(kept.columns)])
        overlays.append((repair_file(root, source, key, file), changed.sort("line")))
    with one_at_a_time(root):
        for place, rows in overlays:
            with written_whole(place) as work:
                rows.write_parquet(work)
    return Repaired(mended, untouched)


def _rejected(
    root: DataRoot, source: Source, partition: str, digest: str, path: Path
) -> tuple[SourceFile, pl.DataFrame]:
    """The legacy file of repaired rows as it is now, and the lines of it that are rejected."""
    files = find_files(root, source, partition)
    file = next((file for file in files if file.digest.startswith(digest)), None)
    if file is None:
        raise _refused(
            path,
            None,
            f"no file of {source.source} {partition} has the bytes that these rows came from",
            "import the partition again, and mend the new file",
        )
    kept = _kept(root, source, batch_name(source, partition, files))
    lines = [
        pl.scan_parquet(one).filter(pl.col("source_file") == file.name).select(line="source_line")
        for one in kept
    ]
    if not lines:
        raise _refused(
            path,
            None,
            f"nothing of {source.source} {partition} is rejected now",
            "import the partition again, and mend the new file",
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
            .otherwise(_without_end(pl.col("original")) == _without_end(pl.col("old")))
        )
        return both.filter(~same).select("line", "original")
    fields = _fields(before)
    if wrong := set(fields) ^ set(_fields(rows)):
        told = ", ".join(
            f"{'misses' if name in fields else 'also has'} {name.removeprefix(raw(''))}"
            for name in sorted(wrong)
        )
        raise _refused(path, 1, f"has other columns than {file.name}: {told}", "put them back")
    blank = before.with_columns(pl.col(fields).fill_null("")).select("line", *fields)
    after = rows.select("line", *fields)
    changed = after.join(blank, on=["line", *fields], how="anti")
    if not isinstance(source.format, Delimited):  # where a field can be absent, a blank means that
        changed = changed.with_columns(pl.when(pl.col(name) != "").then(name) for name in fields)
    spelled = [
        pl.lit('"') + pl.col(name).fill_null("").str.replace_all('"', '""', literal=True) + '"'
        for name in fields
    ]
    separator, _ = _dialect(source)
    return changed.select(
        "line",
        pl.concat_str(spelled, separator=separator).alias("original"),
        pl.lit(value=False).alias("malformed"),
        *fields,
    )


def _read_csv(source: Source, path: Path) -> pl.DataFrame:
    separator, quote = _dialect(source)
    try:
        rows = pl.read_csv(
            path,
            separator=separator,
            quote_char=quote,
            infer_schema=False,
            empty_string_is_null=False,
        )
    except (OSError, pl.exceptions.PolarsError) as error:
        raise _refused(
            path,
            None,
            f"cannot be read: {str(error).splitlines()[0]}",
            f"save it as UTF-8 CSV with the separator `{separator}`",
        ) from error
    prefixed = {name: f"quarantine_{name}" for name in BESIDE}
    names = {name: other if other in rows.columns else name for name, other in prefixed.items()}
    marks = list(names.values())
    if names[ROW] not in rows.columns:
        raise _refused(path, 1, f"has no column `{ROW}`", "put it back: it says which row is which")
    return rows.select(
        pl.int_range(2, pl.len() + 2).alias("_at"),
        pl.col(names[ROW]).alias(ROW),
        *(_as_it_was(pl.col(name)).alias(raw(name)) for name in rows.columns if name not in marks),
    )


def _read_json(path: Path) -> pl.DataFrame:
    try:
        lines = path.read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise _refused(path, None, f"cannot be read: {error}", "save it as UTF-8") from error
    rows: list[tuple[int, str, str]] = []
    for at, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            beside = json.loads(line)[BESIDE_JSON][ROW]
        except (ValueError, KeyError, TypeError):
            raise _refused(
                path,
                at,
                f"is no JSON object with `{BESIDE_JSON}.{ROW}`",
                "mend it; one row is one line",
            ) from None
        rows.append((at, str(beside), line.strip()))
    frame = pl.DataFrame(rows, ["_at", ROW, "original"], orient="row")
    bare = pl.col("original").str.replace(_JSON_BESIDE, "")
    return frame.with_columns(bare.str.replace(r"^\{\s*,\s*", "{").alias("original"))


def _refused(path: Path, line: int | None, problem: str, remedy: str) -> RepairRefusedError:
    where = f"{path.name}:{line}" if line is not None else path.name
    return RepairRefusedError(f"{where}: {problem}. Remedy: {remedy}.")
