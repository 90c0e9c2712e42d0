"""Whether a key stays what it is from one export of a period to another.

An id that the old system makes anew for each export tells rows apart within a file, and yet counts
them all again when the period is exported again. Only two exports can show that.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

import duckdb

from spanner_pipeline.profiling.columns import Column
from spanner_pipeline.profiling.identity import Key
from spanner_pipeline.profiling.stored import Stored, digest, literal

_MOST = 2
"""Rows are followed without a column of their key where half of them still differ."""

_MANY = 100
"""Ids change when at least one in so many of the compared rows has another id."""


@dataclass(frozen=True)
class Stability:
    """What became of the rows of a key, between two exports.

    Attributes:
        key: The key.
        same: Rows that are in both, with the same content.
        corrected: Rows whose key is in both, and whose content differs.
        changes: By column, in how many of them it differs; most first.
        renamed: By column of the key: rows that are alike but for it, one in each export only.
        only_first: Other rows that only the first export has.
        only_second: Other rows that only the second has.
        repeats_in_second: Different rows of the second that share a key with an earlier one.
    """

    key: Key
    same: int
    corrected: int
    changes: dict[str, int]
    renamed: dict[str, int]
    only_first: int
    only_second: int
    repeats_in_second: int

    @property
    def unstable(self) -> list[str]:
        """The columns of the key whose values change between exports."""
        compared = self.same + self.corrected
        return [n for n, rows in self.renamed.items() if rows * _MANY >= compared + rows]

    @property
    def holds(self) -> bool:
        """Whether the key is one in the second export too, and stays."""
        return not self.unstable and not self.repeats_in_second


@dataclass(frozen=True)
class Overlap:
    """Whole rows of two exports, each as often as it comes.

    Attributes:
        both: Rows that are in both, alike to the last shared field.
        only_first: Rows that only the first has, or has more often.
        only_second: Rows that only the second has, or has more often.
    """

    both: int
    only_first: int
    only_second: int


def overlap(first: Stored, second: Stored, connection: duckdb.DuckDBPyConnection) -> Overlap:
    """Count the rows that two exports share, whatever identifies them."""
    shared = [name for name in first.names if name in second.names]
    a, b = (
        f"SELECT {_digest(stored, shared)} AS content, count(*) AS n FROM {stored.table} GROUP BY 1"
        for stored in (first, second)
    )
    (both,) = connection.execute(
        f"SELECT coalesce(sum(least(a.n, b.n)), 0)::BIGINT FROM ({a}) a JOIN ({b}) b "
        f"USING (content)"
    ).fetchall()[0]
    return Overlap(both, first.rows - both, second.rows - both)


def compare_exports(
    first: Stored,
    second: Stored,
    key: Key,
    connection: duckdb.DuckDBPyConnection,
    folder: Path,
    without: Collection[str] = (),
) -> Stability:
    """Follow the rows of a key from one export to the other.

    Args:
        first: The export in which the key was found.
        second: Another of the same period; has all columns of the key.
        key: The key.
        connection: Compares.
        folder: An existing folder for work files.
        without: Columns that are known to change between exports: they make no row another.
    """
    shared = [name for name in first.names if name in second.names and name not in without]
    a = _digests(first, key, shared, folder / "a.digests", connection)
    b = _digests(second, key, shared, folder / "b.digests", connection)
    return _Comparison(first, second, key, shared, a, b, connection).outcome()


def _digests(
    stored: Stored, key: Key, shared: list[str], path: Path, connection: duckdb.DuckDBPyConnection
) -> str:
    """Write digests of key and content, and of the content without each part of the key."""
    columns = [f"{_key_digest(stored, key)} AS k", f"{_digest(stored, shared)} AS content"]
    for number, part in enumerate(key.names):
        rest = [name for name in shared if name != part]
        columns.append(f"{_digest(stored, rest)} AS rest{number}")
    connection.execute(
        f"COPY (SELECT DISTINCT {', '.join(columns)} FROM {stored.table}) "
        f"TO {literal(str(path))} (FORMAT parquet)"
    )
    return f"read_parquet({literal(str(path))})"


def _digest(stored: Stored, names: list[str]) -> str:
    return digest([stored.names.index(name) for name in names])


def _key_digest(stored: Stored, key: Key) -> str:
    return _digest(stored, list(key.names))


def _is_id(column: Column) -> bool:
    """Whether a part of a key is a name, not a time or an amount: those may be corrected."""
    return column.kind.family != "time" and not column.is_measure


@dataclass(frozen=True)
class _Comparison:
    """Counts over the digests of two exports."""

    first: Stored
    second: Stored
    key: Key
    shared: list[str]
    a: str
    b: str
    connection: duckdb.DuckDBPyConnection

    def outcome(self) -> Stability:
        """All counts."""
        rows, keys = self._row(f"SELECT count(*), count(DISTINCT k) FROM {self.b}")
        same, corrected = self._row(
            f"SELECT count(*) FILTER (a.content = b.content), "
            f"count(*) FILTER (a.content <> b.content) FROM {self.a} a JOIN {self.b} b USING (k)"
        )
        renamed = {c.name: self._renamed(n) for n, c in enumerate(self.key.columns) if _is_id(c)}
        moved = max(renamed.values(), default=0)
        (only_first,) = self._row(f"SELECT count(*) FROM {self.a} a ANTI JOIN {self.b} b USING (k)")
        (only_second,) = self._row(
            f"SELECT count(*) FROM {self.b} b ANTI JOIN {self.a} a USING (k)"
        )
        return Stability(
            self.key,
            same,
            corrected,
            self._changes() if corrected else {},
            {name: rows for name, rows in renamed.items() if rows},
            only_first - moved,
            only_second - moved,
            rows - keys,
        )

    def _renamed(self, part: int) -> int:
        """Rows that are in one export each, and alike but for one column of the key."""
        rest = f"rest{part}"
        rows, told_apart = self._row(f"SELECT count(*), count(DISTINCT {rest}) FROM {self.a}")
        if told_apart * _MOST < rows:  # too many are alike without it to say which is which
            return 0
        a, b = (
            # DuckDB finds no column of a file that has no name of its own here.
            f"SELECT {rest}, count(*) AS n FROM {one} x ANTI JOIN {other} y USING (k) GROUP BY 1"
            for one, other in ((self.a, self.b), (self.b, self.a))
        )
        (alike,) = self._row(
            f"SELECT coalesce(sum(least(a.n, b.n)), 0)::BIGINT FROM ({a}) a JOIN ({b}) b "
            f"USING ({rest})"
        )
        return alike

    def _changes(self) -> dict[str, int]:
        """In how many corrected rows each column differs."""
        others = [name for name in self.shared if name not in self.key.names]
        corrected = (
            f"SELECT k FROM {self.a} a JOIN {self.b} b USING (k) WHERE a.content <> b.content"
        )
        a, b = (
            f"SELECT * FROM (SELECT *, {_key_digest(stored, self.key)} AS k FROM {stored.table}) x "
            f"SEMI JOIN ({corrected}) y USING (k)"
            for stored in (self.first, self.second)
        )
        differs = ", ".join(
            f"count(*) FILTER (a.c{self.first.names.index(name)} "
            f"IS DISTINCT FROM b.c{self.second.names.index(name)})"
            for name in others
        )
        counts = self._row(f"SELECT {differs} FROM ({a}) a JOIN ({b}) b USING (k)")
        found = {name: rows for name, rows in zip(others, counts, strict=True) if rows}
        return dict(sorted(found.items(), key=lambda item: -item[1]))

    def _row(self, query: str) -> tuple[int, ...]:
        return tuple(self.connection.execute(query).fetchall()[0])
