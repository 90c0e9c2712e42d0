"""A Delta table as its log has it: which data files hold a partition, at which version.

Belongs here: all that reads the log, and its errors in a person's words. Rows are `delta`'s.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import IO
from urllib.parse import unquote

import polars as pl
import pyarrow as pa
from deltalake import DeltaTable
from deltalake.exceptions import DeltaError, DeltaProtocolError, TableNotFoundError

from spanner_pipeline.configuration.locations import is_url
from spanner_pipeline.errors import SourceFileError
from spanner_pipeline.sources import object_store
from spanner_pipeline.sources.typed import as_text

_FEATURES = {"deletionVectors", "timestampNtz", "v2Checkpoint", "vacuumProtocolCheck"}
"""What a table may ask of its readers; others would make us read wrong values."""

_PARTITION = "partition."


@dataclass(frozen=True)
class DataFile:
    """A data file of one version.

    Attributes:
        path: Below the table.
        size: Bytes.
        values: The texts of its partition columns.
        kept: Which of its rows are not deleted; None where all are there.
    """

    path: str
    size: int
    values: Mapping[str, str | None]
    kept: pl.Series | None


class DeltaLog:
    """One version of a table.

    Attributes:
        name: How messages name it.
        version: Its number.
    """

    def __init__(self, name: str, location: str, version: int | None = None) -> None:
        """Read the log.

        Args:
            name: How messages name the table.
            location: Its folder, or its URL in an object store.
            version: Which version; the newest when None.

        Raises:
            SourceFileError: When there is no such table, or it asks more of a reader than we know.
        """
        self.name, self._location = name, location
        options = object_store.delta_options() if is_url(location) else None
        with self._told():
            self._table = DeltaTable(location, version=version, storage_options=options)
            self._refuse_unknown_features()
            self.version = self._table.version()

    @property
    def columns(self) -> dict[str, str]:
        """The columns and what Delta calls their types; `nested` for those with parts."""
        fields = self._table.schema().fields
        return {f.name: str(getattr(f.type, "type", "nested")) for f in fields}

    @cached_property
    def changed(self) -> int:
        """When it was last written to, in nanoseconds since 1970."""
        with self._told():
            [last] = self._table.history(1) or [{}]
        return int(last.get("timestamp") or 0) * 10**6

    def files(self, where: Mapping[str, str]) -> list[DataFile]:
        """The data files whose partition columns hold these values, by path.

        Raises:
            SourceFileError: When the table is not partitioned by them.
        """
        held = [
            name.removeprefix(_PARTITION) for name in self._kinds if name.startswith(_PARTITION)
        ]
        if unknown := [name for name in where if name not in held]:
            raise SourceFileError(
                self.name,
                f"is not partitioned by {unknown[0]} (its partition columns: "
                f"{', '.join(held) or 'none'}).",
                "correct `where` in the source's `format`.",
                column=unknown[0],
            )
        wanted = [pl.col(f"{_PARTITION}{n}") == self._spelled(n, text) for n, text in where.items()]
        found = self._adds.filter(pl.all_horizontal(True, *wanted)) if wanted else self._adds
        return [
            DataFile(
                row["path"],
                row["size_bytes"],
                {name: row[f"{_PARTITION}{name}"] for name in held},
                self._kept.get(row["path"]),
            )
            for row in found.sort("path").iter_rows(named=True)
        ]

    @contextmanager
    def open(self, file: DataFile) -> Iterator[str | IO[bytes] | pa.NativeFile]:
        """What PyArrow reads a data file from."""
        if not is_url(self._location):
            yield str(Path(self._location) / unquote(file.path))
            return
        with object_store.opened(f"{self._location.rstrip('/')}/{unquote(file.path)}") as stream:
            yield stream

    def _spelled(self, column: str, text: str) -> str:
        """A text as the column spells it: month `01` of a number is `1`."""
        kind = self._kinds[f"{_PARTITION}{column}"]
        if not (kind.is_integer() or kind == pl.Date):
            return text
        given = pl.Series(column, [text])
        value = given.str.to_date("%Y-%m-%d", strict=False) if kind == pl.Date else given
        value = value.cast(kind, strict=False)
        if value.null_count():
            raise SourceFileError(
                self.name,
                f"`{text}` is no value of the partition column {column}, which holds {kind}.",
                "correct `where` in the source's `format`.",
                column=column,
            )
        return str(value.to_frame().select(as_text(column, kind)).item())

    @cached_property
    def _stored(self) -> pl.DataFrame:
        with self._told():
            adds = pl.DataFrame(self._table.get_add_actions(flatten=True))
        held = [name for name in adds.columns if name.startswith(_PARTITION)]
        return adds.select("path", "size_bytes", *held)

    @property
    def _kinds(self) -> Mapping[str, pl.DataType]:
        return self._stored.schema

    @cached_property
    def _adds(self) -> pl.DataFrame:
        """The data files, with partition columns as texts."""
        texts = [
            as_text(name, kind).alias(name) if name.startswith(_PARTITION) else pl.col(name)
            for name, kind in self._kinds.items()
        ]
        found = self._stored.select(texts)
        outside = found.filter(pl.col("path").str.contains(r"^/|^[A-Za-z][A-Za-z0-9+.-]*:"))
        if not outside.is_empty():
            raise SourceFileError(
                self.name,
                f"has a data file outside of it, {outside['path'][0]}: it is a shallow clone.",
                "name the table that it was cloned from, or make a whole copy.",
            )
        return found

    @cached_property
    def _kept(self) -> dict[str, pl.Series]:
        """By path, which rows of a data file are not deleted."""
        if "deletionVectors" not in (self._table.protocol().reader_features or ()):
            return {}
        start = self._table.table_uri.rstrip("/") + "/"
        kept: dict[str, pl.Series] = {}
        with self._told():
            for batch in self._table.deletion_vectors():
                for uri, rows in pl.DataFrame(batch).iter_rows():
                    path = uri.removeprefix(start) if uri.startswith(start) else uri
                    kept[path] = pl.Series(rows, dtype=pl.Boolean)
        known = set(self._stored["path"]) | {unquote(path) for path in self._stored["path"]}
        if lost := kept.keys() - known:
            raise SourceFileError(
                self.name,
                f"deletes rows of {min(lost)}, which is none of its data files.",
                "write the table anew without deletion vectors (REORG TABLE ... APPLY (PURGE)).",
            )
        return kept

    def _refuse_unknown_features(self) -> None:
        asked = set(self._table.protocol().reader_features or ()) - _FEATURES
        mode = self._table.metadata().configuration.get("delta.columnMapping.mode", "none")
        if mode != "none":
            asked.add("columnMapping")
        if asked:
            raise SourceFileError(
                self.name,
                f"needs a reader that knows {', '.join(sorted(asked))}.",
                "write it anew without, or export it as Parquet.",
            )

    @contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except TableNotFoundError as error:
            raise SourceFileError(
                self.name, "is no Delta table.", "correct `files`, or put the table there."
            ) from error
        except DeltaProtocolError as error:
            raise SourceFileError(
                self.name, f"cannot be read: {error}.", "export it as Parquet."
            ) from error
        except (DeltaError, OSError, pa.ArrowException) as error:
            why = object_store.without_secrets(" ".join(str(error).split())[:300]).rstrip(".")
            raise SourceFileError(
                self.name, f"its log cannot be read: {why}.", "is the table whole?"
            ) from error


def digest_of(files: Sequence[DataFile]) -> str:
    """What a partition holds, in hexadecimal: its data files, which never change, and deletions."""
    digest = hashlib.sha256()
    for file in files:
        deleted = "" if file.kept is None else hashlib.sha256(_bits(file.kept)).hexdigest()
        digest.update(f"{file.path}\n{file.size}\n{deleted}\n".encode())
    return digest.hexdigest()


def _bits(kept: pl.Series) -> bytes:
    return kept.cast(pl.UInt8).to_numpy().tobytes()
