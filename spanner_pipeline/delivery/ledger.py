"""The ledger of deliveries: what was sent to a service, and how it answered. It has no expiry.

A Delta table for each live meter, below `deliveries/` in the data root and not in the lake, which
can be made anew: the service forgets a key when retention deletes its event, and would then count
it again. What is about to be sent is written before it is sent, so that a process may be killed at
any moment: what has no answer then is sent again under the same keys.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

import polars as pl
import pyarrow as pa
from deltalake import DeltaTable, write_deltalake
from deltalake.exceptions import TableNotFoundError

from spanner_pipeline.delivery.target import Target, TargetError
from spanner_pipeline.lake.names import file_name
from spanner_pipeline.lake.sums import literal
from spanner_pipeline.root import DataRoot
from spanner_pipeline.whole import written_whole

Status = Literal["sent", "accepted", "duplicate", "duplicate_differs", "failed", "netted"]
"""`sent` is ambiguous: no answer was written down. What became of a `netted` event is said of the
one under whose key it went."""

SETTLED = ("accepted", "duplicate", "duplicate_differs")
"""What the service has; it is never sent again."""

SCHEMA = pa.schema(
    [
        ("idempotency_key", pa.string()),
        ("status", pa.string()),
        ("step", pa.int64()),  # grows with every writing; the last word on a key holds
        ("digest", pa.string()),  # of the event as it stood in the lake
        ("subject", pa.string()),  # as in the lake
        ("quantity", pa.string()),  # exact
        ("timestamp", pa.timestamp("us", "UTC")),
        ("code", pa.string()),  # of a failure
        ("message", pa.string()),
        ("sent", pa.string()),  # both payloads of a duplicate that differs
        ("theirs", pa.string()),
        ("net", pa.string()),  # the key that several events went under as one; null for one alone
        ("retention_days", pa.int32()),  # of the service when it was sent
    ]
)

_FILES_TO_COMPACT = 32


class DeliveryLedger:
    """What was delivered into one live meter. The meter's id tells its workspace, too."""

    def __init__(self, root: DataRoot, target: Target, meter: Mapping[str, Any]) -> None:
        """Open the ledger, which may not exist yet.

        Args:
            root: The data root.
            target: The service; its key is not looked at, for keys change.
            meter: The live meter.
        """
        parts = urlsplit(target.base_url)
        place = f"{(parts.netloc + parts.path).lower()}"
        self.path: Path = (
            root.deliveries / file_name(place) / f"{file_name(meter['name'])}+{meter['id']}"
        )
        self._netting = self.path.with_name(f"{self.path.name}.netting")
        self.pulled_files = f"legacy/pulled/{self.path.name}/"
        """Where the meter's own events are, as `pull_events` wrote them, below the data root."""
        self.pulled_sql = f"starts_with(source_file, {literal(self.pulled_files)})"
        """Whether an event of the lake is one of them."""
        try:
            self._delta: DeltaTable | None = DeltaTable(self.path)
        except TableNotFoundError:
            self._delta = None
        self._step = self._last_step()

    @property
    def netting(self) -> str | None:
        """The buckets in which events are netted; None where they never were."""
        return self._netting.read_text("utf-8").strip() if self._netting.exists() else None

    def keep_netting(self, bucket: str) -> None:
        """Have later deliveries net as this one: one that did not would send what cancelled out."""
        if self.netting is None:
            with written_whole(self._netting) as work:
                work.write_text(f"{bucket}\n", encoding="utf-8")

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Keep other processes from delivering into the same meter.

        Raises:
            TargetError: When one does.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        opened = os.open(self.path, os.O_RDONLY)
        try:
            try:
                fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise TargetError(
                    "another delivery into this meter is at work. Wait for it, or stop it."
                ) from None
            yield
        finally:
            os.close(opened)

    def files(self) -> list[Path]:
        """Its Parquet files."""
        if self._delta is None:
            return []
        # Not by pyarrow, which would load all of pandas for it.
        actions = pl.DataFrame(self._delta.get_add_actions())
        return [self.path / name for name in actions["path"].to_list()]

    def last_words_sql(self, where: str = "true") -> str:
        """SQL for the last word on every key: the columns of `SCHEMA` without `step`.

        Args:
            where: Which words to look at.
        """
        if not (files := self.files()):
            return self.nothing_sql()
        names = [name for name in SCHEMA.names if name not in ("idempotency_key", "step")]
        last = ", ".join(f"word.{name} AS {name}" for name in names)
        packed = ", ".join(f"{name} := {name}" for name in names)
        listing = ", ".join(literal(file) for file in files)
        # A ledger that was begun before there was a column lacks it.
        return f"""SELECT idempotency_key, {last} FROM (
            SELECT idempotency_key, arg_max(struct_pack({packed}), step) AS word
            FROM ({self.nothing_sql()} UNION ALL BY NAME
                SELECT * FROM read_parquet([{listing}], union_by_name = true))
            WHERE {where} GROUP BY idempotency_key)"""

    def heads_sql(self) -> str:
        """SQL as of `last_words_sql`, of the keys under which several events went as one."""
        return self.last_words_sql("net = idempotency_key")

    @staticmethod
    def nothing_sql() -> str:
        """SQL as of `last_words_sql`, of a ledger in which nothing stands."""
        types = {"timestamp": "TIMESTAMPTZ", "retention_days": "INTEGER"}
        names = (name for name in SCHEMA.names if name != "step")
        columns = ", ".join(f"NULL::{types.get(name, 'VARCHAR')} AS {name}" for name in names)
        return f"SELECT {columns} WHERE false"

    def write(self, rows: pl.DataFrame) -> None:
        """Write down what is about to be sent, or what was answered, for good.

        Args:
            rows: Columns of `SCHEMA` without `step`; those that it lacks are null.
        """
        self._step += 1
        lacking = [
            pl.lit(None).alias(name) for name in SCHEMA.names if name not in (*rows.columns, "step")
        ]
        whole = rows.with_columns(*lacking, step=pl.lit(self._step, dtype=pl.Int64))
        table = whole.select(SCHEMA.names).to_arrow().cast(SCHEMA)
        if self._delta is None:
            write_deltalake(self.path, table)
            self._delta = DeltaTable(self.path)
        else:
            # It then knows its new version.
            write_deltalake(self._delta, table, mode="append", schema_mode="merge")

    def tidy(self) -> None:
        """Put small files together; nothing that they say changes."""
        if self._delta is not None and len(self.files()) > _FILES_TO_COMPACT:
            self._delta.optimize.compact()
            self._delta.create_checkpoint()

    def _last_step(self) -> int:
        if not (files := self.files()):
            return 0
        steps = pl.scan_parquet(files, extra_columns="ignore", missing_columns="insert")
        return steps.select(pl.col("step").max()).collect().item() or 0
