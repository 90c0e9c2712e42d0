"""The events that corrections replaced and snapshots removed, kept so that imports can be reverted.

One Parquet file a commit that took something out, below `_replaced/` in the table's folder, beside
what Delta and its readers look at. The commit and the ledger name it; a file that neither names was
left by a process that died.
"""

from __future__ import annotations

import uuid
from datetime import date
from pathlib import Path
from types import TracebackType

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from spanner_pipeline.lake.writing import DAY

REPLACED = "_replaced"


class Replaced:
    """A file that takes events which leave a table; there is none until the first comes."""

    def __init__(self, folder: Path, schema: pa.Schema) -> None:
        """Choose a name.

        Args:
            folder: The table's folder.
            schema: The table's schema.
        """
        self._name = f"{REPLACED}/{uuid.uuid4().hex}.parquet"
        self._schema = schema
        self._writer: pq.ParquetWriter | None = None
        self.path = folder / self._name

    @property
    def name(self) -> str | None:
        """How commit and ledger name the file; None when it holds nothing."""
        return self._name if self._writer else None

    def take(self, events: pl.DataFrame, day: date) -> None:
        """Take events of one day."""
        if events.is_empty():
            return
        if self._writer is None:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._writer = pq.ParquetWriter(self.path, self._schema, compression="zstd")
        missing = pa.nulls(events.height)
        columns = [
            events[f.name].to_arrow() if f.name in events.columns else missing for f in self._schema
        ]
        columns[self._schema.get_field_index(DAY)] = pa.repeat(day, events.height)
        arrays = [c.cast(f.type) for c, f in zip(columns, self._schema, strict=True)]
        self._writer.write_table(pa.table(arrays, schema=self._schema))

    def __enter__(self) -> Replaced:
        """Begin."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Finish the file."""
        if self._writer is not None:
            self._writer.close()
