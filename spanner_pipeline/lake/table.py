"""The Delta table of one meter.

Plain Delta, so that any engine reads it; DuckDB reads the files of the current version directly.
"""

from __future__ import annotations

import re
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import polars as pl
import pyarrow as pa
from deltalake import CommitProperties, DeltaTable, Schema
from deltalake.exceptions import CommitFailedError, TableNotFoundError
from deltalake.transaction import AddAction, RemoveAction

from spanner_pipeline.errors import PipelineError
from spanner_pipeline.events import event_columns
from spanner_pipeline.lake.names import file_name
from spanner_pipeline.lake.sums import literal
from spanner_pipeline.lake.writing import DAY, STATISTICS, WrittenFile
from spanner_pipeline.meters import MAX_PRECISION, Meter
from spanner_pipeline.root import DataRoot

_DIMENSION_TYPES: dict[str, pa.DataType] = {
    "string": pa.string(),
    "number": pa.decimal128(MAX_PRECISION, 9),
    "boolean": pa.bool_(),
}
_UNUSABLE = re.compile(r"[\[\]\\^|\x00-\x1f]|%[0-9A-Fa-f]{2}")
"""What delta-rs reads as something else, or not at all, in the path of a table."""


@dataclass(frozen=True)
class LakeFile:
    """A Parquet file of a table.

    Attributes:
        name: How the table names it.
        location: Where it is.
        day: The UTC day of its events.
        rows: How many it has; None where a foreign writer did not say.
        size: Its bytes.
    """

    name: str
    location: Path
    day: date
    rows: int | None
    size: int


def by_day(files: Iterable[LakeFile]) -> dict[date, list[LakeFile]]:
    """Files by the day of their events."""
    days: dict[date, list[LakeFile]] = defaultdict(list)
    for file in files:
        days[file.day].append(file)
    return days


_CONFIGURATION = {
    # Else PyArrow takes the columns without statistics for empty, and skips files.
    "delta.dataSkippingStatsColumns": ",".join(STATISTICS),
    # Else whoever opens a table of daily imports reads up to a hundred commits.
    "delta.checkpointInterval": "20",
}


class EventTable:
    """The events of one meter, at the version that was current when it was opened."""

    def __init__(self, root: DataRoot, meter: Meter) -> None:
        """Open the table, which may not exist yet.

        Raises:
            PipelineError: When the root's path cannot hold a lake, or the table holds the meter's
                columns as other types than it declares.
        """
        self.root = root
        self.meter = meter
        self.path: Path = root.lake / "events" / file_name(meter.name)
        _refuse_path(root.lake.parent, {*event_columns(meter), DAY})
        try:
            self._delta: DeltaTable | None = DeltaTable(self.path)
        except TableNotFoundError:
            self._delta = None
        self._declared = declared_schema(meter)
        self._lost = self._columns_the_meter_lost()

    @property
    def version(self) -> int | None:
        """The Delta version, None before the first import."""
        return None if self._delta is None else self._delta.version()

    @property
    def identity(self) -> str | None:
        """What tells this table from one made anew in its place; None before the first import."""
        return None if self._delta is None else str(self._delta.metadata().id)

    def schema(self) -> pa.Schema:
        """The Arrow schema of the events: the meter's columns, and those it had before."""
        return pa.schema([*self._declared, *self._lost])

    def _columns_the_meter_lost(self) -> list[pa.Field]:
        if self._delta is None:
            return []
        held = pa.schema(self._delta.schema().to_arrow())
        declared = {name.lower(): name for name in self._declared.names}
        for name in held.names:
            if declared.get(name.lower(), name) != name:
                raise PipelineError(
                    f"meter {self.meter.name} declares {declared[name.lower()]}, the lake holds "
                    f"{name}, and engines do not tell them apart. Nothing was changed. Remedy: "
                    "spell the dimension as before, or give it another name."
                )
        for field in self._declared:
            if field.name in held.names and held.field(field.name).type != field.type:
                declared_as, held_as = sql_type(field.type), sql_type(held.field(field.name).type)
                raise PipelineError(
                    f"meter {self.meter.name} declares {field.name} as {declared_as}, but the "
                    f"lake holds {held_as}. Nothing was changed. Remedy: "
                    "declare it as before, or import into a new meter or another data root."
                )
        return [field for field in held if field.name not in self._declared.names]

    def count(self) -> int:
        """How many events the table holds."""
        return 0 if self._delta is None else self._delta.count()

    def files(self) -> list[LakeFile]:
        """The Parquet files of this version."""
        if self._delta is None:
            return []
        # Not by pyarrow, which would load all of pandas for it.
        adds = pl.DataFrame(self._delta.get_add_actions(flatten=True))
        return [
            LakeFile(path, self.path / unquote(path), day, rows, size)
            for path, day, rows, size in zip(
                *(
                    adds[name].to_list()
                    for name in ("path", f"partition.{DAY}", "num_records", "size_bytes")
                ),
                strict=True,
            )
        ]

    def empty(self) -> str:
        """SQL that selects no events, with the columns and types of the schema."""
        columns = ", ".join(f'NULL::{sql_type(f.type)} AS "{f.name}"' for f in self.schema())
        return f"SELECT {columns} WHERE false"

    def select(
        self, where: str = "true", files: Sequence[LakeFile] | None = None, *, named: bool = False
    ) -> str:
        """SQL that selects the table's events in schema order; a dimension it lacks is null.

        Args:
            where: A condition on the events, in SQL.
            files: Only the events of these files.
            named: Add an event's place: `lake_file`, its file, and `lake_row`, its row there.
        """
        if files is None:
            files = self.files()
        columns = ", ".join(f'"{name}"' for name in self.schema().names)
        place = ", lake_file, lake_row" if named else ""
        if not files:
            added = ", NULL::VARCHAR AS lake_file, NULL::BIGINT AS lake_row" if named else ""
            return f"SELECT *{added} FROM ({self.empty()})"
        listing = ", ".join(literal(file.location) for file in files)
        found = ", filename AS lake_file, file_row_number AS lake_row" if named else ""
        # The empty part gives old files the columns that the meter got since.
        return (
            f"SELECT {columns}{place} FROM ({self.empty()} UNION ALL BY NAME "
            f"SELECT *{found} FROM read_parquet([{listing}], union_by_name = true, "
            f"hive_partitioning = true, hive_types = {{'{DAY}': DATE}})) WHERE {where}"
        )

    def commit(
        self,
        added: Sequence[WrittenFile],
        removed: Sequence[LakeFile],
        properties: Mapping[str, str],
        *,
        changed: bool = True,
    ) -> int:
        """Put written files into the table and take others out, at once.

        Args:
            added: Files below the table's folder.
            removed: Files of this version.
            properties: What the commit says about itself.
            changed: Whether the events differ; false when they were only arranged anew.

        Returns:
            The new version.

        Raises:
            deltalake.exceptions.CommitFailedError: When another process committed since this
                table was opened. Nothing has changed then.
        """
        self.prepare()
        assert self._delta is not None
        now = time.time_ns() // 1_000_000
        adds = [
            AddAction(
                path=file.name,
                size=file.size,
                partition_values={DAY: str(file.day)},
                modification_time=now,
                data_change=changed,
                stats=file.statistics,
            )
            for file in added
        ]
        removes = [
            RemoveAction(file.name, changed, now, file.size, {DAY: str(file.day)})
            for file in removed
        ]
        self._delta.create_write_transaction(
            [*adds, *removes],
            mode="append",
            schema=self._delta.schema(),
            partition_by=[DAY],
            commit_properties=_properties(properties),
        )
        self._delta.update_incremental()
        return self._delta.version()

    def prepare(self) -> int:
        """Create the table where it is missing, and the columns that its meter got since.

        Returns:
            The version that the next commit makes.

        Raises:
            deltalake.exceptions.CommitFailedError: As for `commit`.
        """
        if self._delta is None:
            delta = DeltaTable.create(
                self.path,
                schema=self.schema(),
                mode="ignore",
                partition_by=[DAY],
                description=self.meter.description or None,
                configuration=_CONFIGURATION,
                commit_properties=_properties({}),
            )
            if delta.version() != 0:
                raise CommitFailedError("another process created the table meanwhile")
            self._delta = delta
        known = {field.name for field in self._delta.schema().fields}
        missing = [field for field in self.schema() if field.name not in known]
        if missing:
            fields = Schema.from_arrow(pa.schema(missing)).fields
            self._delta.alter.add_columns(fields, commit_properties=_properties({}))
        return self._delta.version() + 1

    def unneeded(self, keep: timedelta) -> list[Path]:
        """Files below the table's folder that no version of the last time needs.

        The library's own vacuum would make two new versions at every run.

        Args:
            keep: How long ago a version must have been left.
        """
        if self._delta is None:
            return []
        names = self._delta.vacuum(
            retention_hours=-(-keep // timedelta(hours=1)),
            dry_run=True,
            enforce_retention_duration=False,
            full=True,
        )
        paths = {self.path / unquote(name) for name in names}
        return sorted(path for path in paths if path.is_file())

    def shorten_log(self) -> None:
        """Write a checkpoint, and delete log entries older than the table's log retention."""
        assert self._delta is not None
        checkpoint = f"{self._delta.version():020}.checkpoint.parquet"
        if not (self.path / "_delta_log" / checkpoint).is_file():
            self._delta.create_checkpoint()
        self._delta.cleanup_metadata()

    def history(self) -> Iterator[dict[str, Any]]:
        """What the commits said about themselves, newest first; few are read when few are used."""
        seen = 0
        for limit in (1, 20, None):
            commits = [] if self._delta is None else self._delta.history(limit)
            yield from commits[seen:]
            seen = len(commits)


def declared_schema(meter: Meter) -> pa.Schema:
    """The Arrow schema that a meter declares for its events, the partition column last."""
    types: dict[str, pa.DataType] = {
        "timestamp": pa.timestamp("us", "UTC"),
        "quantity": pa.decimal128(MAX_PRECISION, meter.decimals),
        "revision": pa.int64(),
        "source_line": pa.int64(),
        **{d.column: _DIMENSION_TYPES[d.type] for d in meter.dimensions},
    }
    columns = [(name, types.get(name, pa.string())) for name in event_columns(meter)]
    return pa.schema([*columns, (DAY, pa.date32())])


def _refuse_path(path: Path, columns: set[str]) -> None:
    """Refuse a data root whose path an engine would misread.

    Raises:
        PipelineError: When it would.
    """
    if found := _UNUSABLE.search(str(path)):
        raise PipelineError(
            f"{path}: Delta tables cannot be kept below a folder with {found[0]!r} in its name. "
            "Remedy: rename the folder, or choose another data root."
        )
    for part in path.parts:
        if part.partition("=")[0] in columns and "=" in part:
            raise PipelineError(
                f"{path}: engines would take the folder {part} for a column of the events. "
                "Remedy: rename the folder, or choose another data root."
            )


def _properties(said: Mapping[str, str]) -> CommitProperties:
    # No retries by the library: a commit that lost must look at what the winner wrote, and who
    # lost the race to create the table would put another identity over it.
    return CommitProperties(custom_metadata=dict(said), max_commit_retries=0)


def sql_type(kind: pa.DataType) -> str:
    """The SQL type of a column of events."""
    if pa.types.is_decimal(kind):
        return f"DECIMAL({kind.precision}, {kind.scale})"
    if pa.types.is_timestamp(kind):
        return "TIMESTAMPTZ"
    names = {pa.string(): "VARCHAR", pa.int64(): "BIGINT", pa.bool_(): "BOOLEAN"}
    return "DATE" if kind == pa.date32() else names[kind]
