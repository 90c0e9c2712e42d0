"""Extract, key and validate one partition for one meter, streaming, into work files.

Rows flow in batches: files -> texts -> events -> keys (DuckDB) -> pandera -> Parquet parts. Memory
holds a few batches, whatever the size of the files; only the occurrence count of rows without ids
needs the whole partition, and DuckDB spills that to disk.
"""

from __future__ import annotations

import shutil
import uuid
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Final

import polars as pl

from spanner_pipeline.configuration.identity import PARTITION
from spanner_pipeline.configuration.source import Source, Usage
from spanner_pipeline.control import Total, exact_sum, totals_by_file
from spanner_pipeline.counters.measuring import measured
from spanner_pipeline.counters.readings import Readings
from spanner_pipeline.day_files import Gathering, write_day_file
from spanner_pipeline.engine import open_duckdb, through_duckdb
from spanner_pipeline.events import aside_columns, event_columns
from spanner_pipeline.keys import UNRESERVED, key_sql, key_under, scope_sql, unreserved_key
from spanner_pipeline.meters import Meter
from spanner_pipeline.root import DataRoot
from spanner_pipeline.sources.customers import Customers
from spanner_pipeline.sources.files import SourceFile
from spanner_pipeline.sources.mapping import (
    SUBJECT_TEXT,
    identity_columns,
    map_usage,
    scope_columns,
)
from spanner_pipeline.sources.rows import read_rows

if TYPE_CHECKING:
    from spanner_pipeline.validation import Validator

ACCEPTED: Final = "accepted"
REJECTED: Final = "rejected"
LEFT_OUT: Final = "left_out"
SCOPES: Final = "scopes"
FORMER: Final = "former"
REJECTED_COLUMNS = (
    "reason_code",
    "field",
    "value",
    "hint",
    "reasons",
    "source_file",
    "source_line",
    "original",
    "meter",
    "subject",
    "quantity",
    "timestamp",
    "idempotency_key",
    "source",
    "import_batch",
)
"""The columns of a rejected row; the meter's dimensions follow, null where they are unreadable."""


class WorkFolder:
    """A folder of this import's own below `staging/`, gone when the import ends."""

    def __init__(self, root: DataRoot) -> None:
        """Choose a name that no other process has."""
        self.path = root.staging / uuid.uuid4().hex

    def __enter__(self) -> Path:
        """Create it."""
        self.path.mkdir(parents=True)
        return self.path

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Delete it with all it holds."""
        shutil.rmtree(self.path, ignore_errors=True)


@dataclass
class Staged:
    """One partition of one usage, keyed and validated, not yet merged.

    Attributes:
        folder: Holds the Parquet parts `accepted-*.parquet`, `rejected-*.parquet`,
            `left_out-*.parquet`; of a snapshot `scopes-*.parquet`; and `former-*.parquet`, with
            the keys that accepted rows would have had by earlier lookup files.
        readings: What its readings say of their counters, where the quantity is cumulative.
        read: What each file held.
        accepted: What each file brings to the merge.
        rejected: What was rejected, by file.
        out_of_scope: What was left out by declaration, by file and why.
        reasons: Rejected rows by reason code.
        without_key: Rows that have no key because a part of it is missing.
        ambiguous_times: Rows whose hour existed twice.
        day_files: The parts of accepted rows that are files as the lake keeps them.
    """

    source: Source
    usage: Usage
    meter: Meter
    batch: str
    folder: Path
    customers: Customers | None = None
    former: pl.DataFrame | None = None
    readings: Readings | None = None
    read: dict[str, Total] = field(default_factory=lambda: defaultdict(Total))
    accepted: dict[str, Total] = field(default_factory=lambda: defaultdict(Total))
    rejected: dict[str, Total] = field(default_factory=lambda: defaultdict(Total))
    out_of_scope: dict[tuple[str, str], Total] = field(default_factory=lambda: defaultdict(Total))
    reasons: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    without_key: int = 0
    ambiguous_times: int = 0
    day_files: list[Path] = field(default_factory=list)
    _parts: Counter[str] = field(default_factory=Counter)

    @property
    def partition(self) -> str:
        """The partition."""
        return self.batch.split("/")[1]

    def parts(self, kind: str) -> list[Path]:
        """The Parquet parts of one kind, in order."""
        return sorted(self.folder.glob(f"{kind}-*.parquet"))

    def write(self, kind: str, rows: pl.DataFrame) -> None:
        """Write one more part."""
        rows.write_parquet(self._next_part(kind), compression="lz4", statistics=False)

    def write_day_file(self, accepted: pl.DataFrame, day: date) -> None:
        """Write one more part of accepted rows, all of a day, as the lake keeps them."""
        file = self._next_part(ACCEPTED)
        write_day_file(accepted, day, file)
        self.day_files.append(file)

    def _next_part(self, kind: str) -> Path:
        self._parts[kind] += 1
        return self.folder / f"{kind}-{self._parts[kind]:06}.parquet"


def stage(
    source: Source,
    usage: Usage,
    meter: Meter,
    files: Sequence[SourceFile],
    batch: str,
    folder: Path,
    customers: Customers | None = None,
    former: pl.DataFrame | None = None,
    readings: Readings | None = None,
) -> Staged:
    """Read, key and validate all rows of a partition for one meter.

    Args:
        source: The source.
        usage: Which of its usages.
        meter: The usage's meter.
        files: The partition's files.
        batch: The import batch that events carry.
        folder: An existing empty folder for work files.
        customers: Who is who, where the usage declares a lookup.
        former: Who was someone else before, `looked_up` and `former`.
        readings: What is known of counters, where the quantity is cumulative.

    Raises:
        SourceFileError: When a file cannot be read as declared.
    """
    # pandera loads slowly, and most who load this module stage nothing: Dagster's definitions.
    from spanner_pipeline.validation import Validator

    staged = Staged(source, usage, meter, batch, folder, customers, former, readings)
    validator = Validator(source, usage, meter)
    mapped = _mapped(source, usage, meter, files, staged)
    accepted = Gathering(staged.write_day_file, partial(staged.write, ACCEPTED))
    for events in _keyed(source, usage, meter, mapped, folder, readings):
        if readings is not None:  # what was read is the usage of readings, not their sum
            readings.take(events)
            for name, total in totals_by_file(events).items():
                staged.read[name] += Total(0, total.quantity)
        accepted.add(_split(events, validator, staged, source))
    accepted.close()
    return staged


def _mapped(
    source: Source, usage: Usage, meter: Meter, files: Sequence[SourceFile], staged: Staged
) -> Iterator[pl.DataFrame]:
    for rows in read_rows(source, files):
        events = map_usage(rows, source, usage, meter, staged.customers)
        name = events["source_file"][0]
        readings = staged.readings is not None
        staged.read[name] += Total(
            rows.height, Decimal(0) if readings else exact_sum(events["quantity"])
        )
        staged.ambiguous_times += int(events["ambiguous_time"].sum())
        if source.snapshot is not None and source.snapshot.scope == PARTITION:
            events = events.with_columns(pl.lit(staged.partition).alias(scope_columns(source)[0]))
        yield events.select(c for c in events.columns if not c.startswith(("raw.", "_")))


def _keyed(
    source: Source,
    usage: Usage,
    meter: Meter,
    mapped: Iterator[pl.DataFrame],
    folder: Path,
    readings: Readings | None,
) -> Iterator[pl.DataFrame]:
    identity, scope = identity_columns(source), scope_columns(source)
    names, across = (source.source, usage.meter, usage.part), source.across_subjects
    key = key_sql(*names, identity, scope=scope, across_subjects=across)
    key = f"{key} AS idempotency_key"
    if scope:
        key = f"{key}, {scope_sql(scope)} AS scope"
    if identity is None or readings is not None:  # copies are counted, and readings compared
        rows, known = "rows", {}
        if readings is not None:
            rows = f"({measured('rows', usage.quantity, meter, readings.before.lacking)})"
            known = {"opening": readings.before.last}
        yield from through_duckdb(mapped, f"SELECT *, {key} FROM {rows}", folder / "spill", **known)
        return
    unreserved = unreserved_key(*names, identity, across_subjects=across)
    with ExitStack() as opened:
        connection = None  # most deliveries need none, and opening one costs more than their keys
        for events in mapped:  # of wide rows the key's columns alone go there and back
            named = events.select("subject", *scope, *identity)
            plain = pl.all_horizontal(pl.all().str.contains(UNRESERVED).all())
            if not scope and named.select(plain).item():
                yield events.with_columns(unreserved.alias("idempotency_key"))
                continue
            if connection is None:
                connection = opened.enter_context(open_duckdb(folder / "spill"))
                connection.execute("SET preserve_insertion_order = true")
            connection.register("rows", named.to_arrow())
            yield events.with_columns(connection.sql(f"SELECT {key} FROM rows").pl())


def _split(
    events: pl.DataFrame, validator: Validator, staged: Staged, source: Source
) -> pl.DataFrame:
    """Write rows that do not count, and give those that are accepted."""
    staged.without_key += events["idempotency_key"].null_count()
    events = events.with_columns(
        pl.lit(source.source).alias("source"),
        pl.lit(staged.batch).alias("import_batch"),
        pl.lit(staged.meter.name).alias("meter"),
    )
    if source.snapshot is not None:
        staged.write(SCOPES, _stated(events))
    outside = events.filter(pl.col("out_of_scope").is_not_null())
    for (why,), part in outside.partition_by("out_of_scope", as_dict=True).items():
        for name, total in totals_by_file(part).items():
            staged.out_of_scope[name, str(why)] += total
    accepted, rejected = validator.split(events.filter(pl.col("out_of_scope").is_null()))
    for name, total in totals_by_file(accepted).items():
        staged.accepted[name] += total
    for name, total in totals_by_file(rejected).items():
        staged.rejected[name] += total
    for code, count in rejected["reason_code"].value_counts().iter_rows():
        staged.reasons[code] += count
    dimensions = [dimension.column for dimension in staged.meter.dimensions]
    left_out = outside.filter(pl.col("quantity").is_not_null(), pl.col("timestamp").is_not_null())
    for kind, rows, columns in (
        (REJECTED, rejected, [*REJECTED_COLUMNS, *dimensions]),
        (LEFT_OUT, left_out.rename({"out_of_scope": "why"}), ["why", *aside_columns(staged.meter)]),
    ):
        if not rows.is_empty():
            staged.write(kind, rows.select(columns))
    if staged.former is not None:
        _write_former(accepted, staged.former, staged)
    return accepted.select(event_columns(staged.meter))


def _write_former(accepted: pl.DataFrame, former: pl.DataFrame, staged: Staged) -> None:
    moved = accepted.join(former, left_on=SUBJECT_TEXT, right_on="looked_up")
    if not moved.is_empty():
        then = key_under("former").alias("idempotency_key")
        staged.write(FORMER, moved.select(then, pl.col(SUBJECT_TEXT).alias("id"), "subject"))


def _stated(events: pl.DataFrame) -> pl.DataFrame:
    """The scopes of a snapshot's rows, also of those that are rejected or left out."""
    by = ("scope", "revision", "source_file")
    return events.drop_nulls("scope").group_by(by).agg(pl.col("source_line").min())
