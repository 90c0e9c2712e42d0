"""Which columns make a row itself, proven over all rows of a file.

A key is a set of columns that no two different rows share and that no row lacks. Few columns come
before many, ids and times before amounts: an amount may be corrected, and its row would be another.
Rows that are alike to the last field are real repeats or copies; no columns can tell them apart.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from functools import cached_property
from itertools import combinations

import duckdb
import polars as pl

from spanner_pipeline.profiling.columns import Column
from spanner_pipeline.profiling.kinds import PLAIN
from spanner_pipeline.profiling.stored import Stored

_SEARCHED = 14
"""Columns of which pairs and triples are tried."""

_WIDEST = 8
_TRIED = 24
_KEPT = 5
_SAMPLE = 50_000
_LARGE = 10**15
"""Amounts below it sum exactly in DuckDB."""

_ID = re.compile(
    r"\b(?:[a-z]*id|uuid|guid|key|ref|reference|number|num|no|nr|code|seq|sequence|offset|line"
    r"|interval|hash|identifier)\b"
)


@dataclass(frozen=True)
class Repeats:
    """Rows that are alike to the last field.

    Attributes:
        rows: All rows.
        distinct: Different rows.
        affected: Rows that have a twin.
        most: How often the most frequent row comes.
    """

    rows: int
    distinct: int
    affected: int
    most: int

    @property
    def extra(self) -> int:
        """Rows that repeat an earlier one."""
        return self.rows - self.distinct


@dataclass(frozen=True)
class Key:
    """A set of columns, and how it fared over the whole file.

    Attributes:
        columns: The columns.
        distinct: How many different values they have together.
        repeats: Different rows that share their values with an earlier one; 0 for a key.
        cancelling: Amounts that sum to exactly 0 in each group of rows that share their values: a
            charge and its void.
    """

    columns: tuple[Column, ...]
    distinct: int
    repeats: int = 0
    cancelling: tuple[str, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """The names of its columns."""
        return tuple(column.name for column in self.columns)

    @property
    def only_time(self) -> bool:
        """Whether nothing but a time tells rows apart."""
        return all(column.kind.family == "time" for column in self.columns)

    @property
    def with_amounts(self) -> bool:
        """Whether it needs an amount, which a correction would change."""
        return any(column.is_measure for column in self.columns)


@dataclass(frozen=True)
class Proof:
    """What a file says about the identity of its rows.

    Attributes:
        repeats: Rows that are alike.
        keys: Proven keys, the best first.
        nearest: Where amounts alone tell some rows apart, or nothing does: the columns without
            amounts that tell most rows apart.
    """

    repeats: Repeats
    keys: tuple[Key, ...]
    nearest: Key | None


def prove(
    stored: Stored,
    columns: Sequence[Column],
    connection: duckdb.DuckDBPyConnection,
    without: Iterable[str] = (),
) -> Proof:
    """Search for keys, smallest first.

    Args:
        stored: The rows.
        columns: What their columns hold.
        connection: Counts.
        without: Columns that are known not to be stable, and are left out.
    """
    repeats = _repeats(stored, connection)
    left_out = set(without)
    usable = [c for c in columns if not c.nulls and c.distinct > 1 and c.name not in left_out]
    usable.sort(key=_cost)
    search = _Search(stored, usable, connection, repeats.distinct)
    keys, nearest = search.singles() or search.small(), None
    if not keys and not repeats.extra:  # beside repeats a key of many columns proves nothing
        keys, nearest = search.wide(), search.nearest()
    return Proof(repeats, tuple(keys[:_KEPT]), nearest)


def _repeats(stored: Stored, connection: duckdb.DuckDBPyConnection) -> Repeats:
    distinct, affected, most = connection.execute(
        f"SELECT count(*), coalesce(sum(n) FILTER (n > 1), 0)::BIGINT, max(n) FROM "
        f"(SELECT count(*) AS n FROM {stored.table} GROUP BY {stored.content})"
    ).fetchall()[0]
    return Repeats(stored.rows, distinct, affected, most)


def looks_like_id(name: str) -> bool:
    """Whether a column is named like an id."""
    last = re.split(r"[./]", name)[-1]
    words = re.sub(r"([a-z0-9])([A-Z])", r"\1 \2", last).replace("_", " ").lower()
    return _ID.search(words) is not None


def _cost(column: Column) -> tuple[int, int]:
    """The order in which columns are tried: ids, times, texts, amounts; then as they stand."""
    if column.is_measure:
        return 3, column.place
    if looks_like_id(column.name):
        return 0, column.place
    return (1 if column.kind.family == "time" else 2), column.place


class _Search:
    """Tries sets of columns on a sample, and proves those that pass on the whole file."""

    def __init__(
        self,
        stored: Stored,
        usable: list[Column],
        connection: duckdb.DuckDBPyConnection,
        distinct: int,
    ) -> None:
        self._stored = stored
        self._connection = connection
        self._distinct = distinct
        self._usable = usable
        self._solid = [column for column in usable if not column.is_measure]
        self._sample = pl.read_parquet(
            stored.parts[0], columns=[c.sql for c in usable] or ["line"], n_rows=_SAMPLE
        )
        self._sampled = self._sample.n_unique()

    def singles(self) -> list[Key]:
        """Single columns that are keys; an amount that happens to differ everywhere is none."""
        return [Key((c,), c.distinct) for c in self._solid if c.distinct == self._distinct]

    def small(self) -> list[Key]:
        """Pairs, else triples, that are keys."""
        # Columns with many values tell most rows apart.
        chosen = sorted(self._solid, key=lambda c: (-c.distinct, c.place))[:_SEARCHED]
        for size in (2, 3):
            sets = sorted(combinations(sorted(chosen, key=_cost), size), key=_costs)
            tried = [columns for columns in sets if self._may_be_key(columns)][:_TRIED]
            keys = [key for key in map(self._prove, tried) if not key.repeats]
            if keys:
                return keys
        return []

    def wide(self) -> list[Key]:
        """One key of more columns, with amounts where it must be."""
        key = self._grow(self._without_amounts, self._usable)
        return [key] if key is not None and not key.repeats else []

    def nearest(self) -> Key | None:
        """The columns without amounts that tell most rows apart; None where they are a key."""
        key = self._without_amounts
        if key is None or not key.repeats:
            return None
        return replace(key, cancelling=self._cancelling(key.columns))

    @cached_property
    def _without_amounts(self) -> Key | None:
        return self._grow(None, self._solid)

    def _may_be_key(self, columns: tuple[Column, ...]) -> bool:
        possible = 1
        for column in columns:
            possible *= column.distinct
        return possible >= self._distinct and _told_apart(self._sample, columns) == self._sampled

    def _grow(self, key: Key | None, more: list[Column]) -> Key | None:
        """Add columns to a key while they tell more rows apart.

        At first these are rows of a sample, then those that are not told apart in the whole file.
        """
        rows = self._sample if key is None else self._alike(key)
        while key is None or key.repeats:
            before = () if key is None else key.columns
            grown = _grown(rows, before, more)
            if len(grown) == len(before):
                break
            key = self._prove(grown)
            rows = self._alike(key)
        return key

    def _alike(self, key: Key) -> pl.DataFrame:
        """Rows that share their values of a key with another."""
        listed = ", ".join(column.sql for column in key.columns)
        wanted = ", ".join(column.sql for column in self._usable)
        rows = self._connection.sql(
            f"SELECT {wanted} FROM {self._stored.table} SEMI JOIN (SELECT {listed} FROM "
            f"{self._stored.table} GROUP BY {listed} HAVING count(*) > 1) alike USING ({listed}) "
            f"LIMIT {_SAMPLE}"
        )
        return pl.DataFrame(rows.to_arrow_table())

    def _prove(self, columns: tuple[Column, ...]) -> Key:
        listed = ", ".join(column.sql for column in columns)
        (distinct,) = self._connection.execute(
            f"SELECT count(*) FROM (SELECT DISTINCT {listed} FROM {self._stored.table})"
        ).fetchall()[0]
        ordered = tuple(sorted(columns, key=lambda column: column.place))
        return Key(ordered, distinct, self._distinct - distinct)

    def _cancelling(self, columns: tuple[Column, ...]) -> tuple[str, ...]:
        """Amounts that sum to 0 in each group of rows that these columns do not tell apart."""
        signed = [column for column in self._usable if _may_cancel(column)]
        if not signed:
            return ()
        listed = ", ".join(column.sql for column in columns)
        amounts = [(f"s{c.place}", f"m{c.place}", f"{c.sql}::DECIMAL(38, 15)") for c in signed]
        sums = ", ".join(f"sum({sql}) AS {s}, max({sql}) AS {m}" for s, m, sql in amounts)
        cancels = ", ".join(f"bool_and({s} = 0) AND bool_or({m} > 0)" for s, m, _ in amounts)
        found = self._connection.execute(
            f"SELECT {cancels} FROM (SELECT {sums} FROM {self._stored.table} "
            f"GROUP BY {listed} HAVING count(*) > 1)"
        ).fetchall()[0]
        return tuple(c.name for c, zero in zip(signed, found, strict=True) if zero)


def _may_cancel(column: Column) -> bool:
    sound = column.kind == PLAIN and not column.strays + column.unfit + column.exponents
    if not sound or not isinstance(column.least, Decimal) or not isinstance(column.most, Decimal):
        return False
    return column.least < 0 < column.most and max(-column.least, column.most) < _LARGE


def _told_apart(rows: pl.DataFrame, columns: tuple[Column, ...]) -> int:
    return rows.select(c.sql for c in columns).n_unique() if columns else min(rows.height, 1)


def _grown(
    rows: pl.DataFrame, columns: tuple[Column, ...], more: list[Column]
) -> tuple[Column, ...]:
    """Columns, and those more that tell most of some rows apart, until none tells more."""
    known, all_ = _told_apart(rows, columns), rows.n_unique()
    while len(columns) < _WIDEST and known < all_:
        rest = [column for column in more if column not in columns]
        gains = [(_told_apart(rows, (*columns, c)), c.distinct, c) for c in rest]
        if not gains:
            break
        gain, _, best = max(gains, key=lambda gain: gain[:2])
        if gain <= known:
            break
        known, columns = gain, (*columns, best)
    return columns


def _costs(columns: tuple[Column, ...]) -> tuple[int, int]:
    costs = [_cost(column) for column in columns]
    return sum(cost for cost, _ in costs), sum(place for _, place in costs)
