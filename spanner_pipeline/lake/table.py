"""The Delta table of one meter.

Plain Delta, so that any engine reads it; DuckDB reads the files of the current version directly.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pyarrow as pa
from deltalake import CommitProperties, DeltaTable, WriterProperties, write_deltalake
from deltalake.exceptions import CommitFailedError, TableNotFoundError

from spanner_pipeline.errors import PipelineError
from spanner_pipeline.events import event_columns
from spanner_pipeline.lake.names import file_name
from spanner_pipeline.meters import MAX_PRECISION, Meter
from spanner_pipeline.root import DataRoot

DAY = "event_date"
"""The partition column: the UTC day of the event's timestamp."""

_DIMENSION_TYPES: dict[str, pa.DataType] = {
    "string": pa.string(),
    "number": pa.decimal128(MAX_PRECISION, 9),
    "boolean": pa.bool_(),
}
_UNUSABLE = re.compile(r"[\[\]\\^|\x00-\x1f]|%[0-9A-Fa-f]{2}")
"""What delta-rs reads as something else, or not at all, in the path of a table."""

_WRITER = WriterProperties(compression="ZSTD", compression_level=3)


class EventTable:
    """The events of one meter, at the version that was current when it was opened."""

    def __init__(self, root: DataRoot, meter: Meter) -> None:
        """Open the table, which may not exist yet.

        Raises:
            PipelineError: When the root's path cannot hold a lake, or the table holds the meter's
                columns as other types than it declares.
        """
        self.meter = meter
        self.path: Path = root.lake / "events" / file_name(meter.name)
        _refuse_path(root.path, {*event_columns(meter), DAY})
        try:
            self._delta: DeltaTable | None = DeltaTable(self.path)
        except TableNotFoundError:
            self._delta = None
        self._declared = _declared(meter)
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
        for field in self._declared:
            if field.name in held.names and held.field(field.name).type != field.type:
                raise PipelineError(
                    f"meter {self.meter.name} declares {field.name} as {_sql(field.type)}, but the "
                    f"lake holds {_sql(held.field(field.name).type)}. Nothing was changed. Remedy: "
                    "declare it as before, or import into a new meter or another data root."
                )
        return [field for field in held if field.name not in self._declared.names]

    def count(self) -> int:
        """How many events the table holds."""
        return 0 if self._delta is None else self._delta.count()

    def empty(self) -> str:
        """SQL that selects no events, with the columns and types of the schema."""
        columns = ", ".join(f'NULL::{_sql(f.type)} AS "{f.name}"' for f in self.schema())
        return f"SELECT {columns} WHERE false"

    def select(self, where: str = "true") -> str:
        """SQL that selects the table's events in schema order; a dimension it lacks is null.

        Args:
            where: A condition on the events, in SQL.
        """
        files = [] if self._delta is None else [unquote(uri) for uri in self._delta.file_uris()]
        if self._delta is None or not files:
            return self.empty()
        known = {f.name for f in self._delta.schema().fields}
        columns = ", ".join(
            f'"{f.name}"' if f.name in known else f'NULL::{_sql(f.type)} AS "{f.name}"'
            for f in self.schema()
        )
        listing = ", ".join(literal(file) for file in files)
        return (
            f"SELECT {columns} FROM read_parquet([{listing}], union_by_name = true, "
            f"hive_partitioning = true, hive_types = {{'{DAY}': DATE}}) WHERE {where}"
        )

    def append(self, events: pa.RecordBatchReader, properties: Mapping[str, str]) -> int:
        """Add events in one commit; see `replace_days` for arguments and errors."""
        return self._write(events, properties, None)

    def replace_days(
        self, days: list[str], events: pa.RecordBatchReader, properties: Mapping[str, str]
    ) -> int:
        """Replace whole days in one commit.

        Args:
            days: ISO dates of the days.
            events: All events of those days from now on.
            properties: What the commit says about itself.

        Returns:
            The new version.

        Raises:
            deltalake.exceptions.CommitFailedError: When another process committed since this
                table was opened. Nothing has changed then.
        """
        listing = ", ".join(f"'{day}'" for day in days)
        return self._write(events, properties, f"{DAY} IN ({listing})")

    def _write(
        self, events: pa.RecordBatchReader, properties: Mapping[str, str], predicate: str | None
    ) -> int:
        if self._delta is None:
            self._delta = DeltaTable.create(
                self.path,
                schema=self.schema(),
                mode="ignore",
                partition_by=[DAY],
                description=self.meter.description or None,
            )
            if self._delta.version() != 0:
                raise CommitFailedError("another process created the table meanwhile")
        # No retries by the library: a commit that lost must look at what the winner wrote.
        commit = CommitProperties(custom_metadata=dict(properties), max_commit_retries=0)
        evolved = {f.name for f in self._delta.schema().fields} != set(self.schema().names)
        mode: Any = "append" if predicate is None else "overwrite"
        write_deltalake(
            self._delta,
            events,
            mode=mode,
            predicate=predicate,
            schema_mode="merge" if evolved else None,
            commit_properties=commit,
            writer_properties=_WRITER,
        )
        return self._delta.version()


def _declared(meter: Meter) -> pa.Schema:
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


def literal(text: object) -> str:
    """A text as SQL spells it."""
    return "'" + str(text).replace("'", "''") + "'"


def _sql(kind: pa.DataType) -> str:
    if pa.types.is_decimal(kind):
        return f"DECIMAL({kind.precision}, {kind.scale})"
    if pa.types.is_timestamp(kind):
        return "TIMESTAMPTZ"
    names = {pa.string(): "VARCHAR", pa.int64(): "BIGINT", pa.bool_(): "BOOLEAN"}
    return "DATE" if kind == pa.date32() else names[kind]
