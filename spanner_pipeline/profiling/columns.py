"""What each column of a file holds: nulls, distinct values, kind, span; counted over all rows.

A sample says which kinds are possible, the whole file which one it is and what does not fit it.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field, replace
from datetime import datetime
from decimal import Decimal
from typing import Any

import duckdb
import polars as pl

from spanner_pipeline.profiling.kinds import ALWAYS_NULL, KINDS, NULL_WORDS, PLAIN, TEXT, Kind
from spanner_pipeline.profiling.stored import Stored, literal
from spanner_pipeline.sources import texts

_SAMPLE = 2_000
_POSSIBLE = 10
"""A kind is possible when at most one in so many values is of another."""

_DECIMALS = 15
_EXAMPLES = 3
_SHOWN = 60
_MANY = 30
"""Grouped numbers that are enough to tell thousands from fractions."""


@dataclass(frozen=True)
class Column:
    """What one column holds.

    Attributes:
        name: As the source's YAML names it.
        place: Its place in the file, from 0.
        rows: All rows of the file.
        nulls: Rows in which it is empty or holds a word that stands for null.
        words: The words that stand for null in it, and how often.
        distinct: How many different texts it holds.
        kind: What they are.
        others: Other kinds that fit as well: only a person can say which is meant.
        strays: Rows that hold something else than the kind.
        stray: One such text.
        examples: A few texts, in file order.
        least: The smallest number or time; None for texts.
        most: The largest.
        not_positive: Rows whose number is zero or below.
        fractions: Rows whose number is not whole.
        exponents: Rows whose number is in E notation.
        unfit: Rows whose number has more digits than a quantity can hold.
        finer: Rows whose time has digits below the microsecond.
    """

    name: str
    place: int
    rows: int
    nulls: int
    words: dict[str, int]
    distinct: int
    kind: Kind
    others: tuple[Kind, ...] = ()
    strays: int = 0
    stray: str | None = None
    examples: tuple[str, ...] = ()
    least: Decimal | datetime | None = None
    most: Decimal | datetime | None = None
    not_positive: int = 0
    fractions: int = 0
    exponents: int = 0
    unfit: int = 0
    finer: int = 0

    @property
    def constant(self) -> bool:
        """Whether all rows hold the same text."""
        return self.distinct == 1 and not self.nulls

    @property
    def is_measure(self) -> bool:
        """Whether it looks like an amount: one that a correction would change."""
        return self.kind.family == "number" and bool(
            self.fractions or self.not_positive or self.exponents or self.kind != PLAIN
        )

    def shown(self, value: Decimal | datetime | None) -> str:
        """One of its numbers or times, for people; empty where there is none."""
        if isinstance(value, Decimal):
            text = f"{value:f}"
            return text.rstrip("0").rstrip(".") if "." in text else text
        return "" if value is None else str(value)

    @property
    def sql(self) -> str:
        """The column in a query over the stored rows."""
        return f"c{self.place}"


@dataclass
class _Tally:
    """Counts of one column under one kind, over the parts that were read."""

    matches: int = 0
    stray: str | None = None
    least: Any = None
    most: Any = None
    grouped: int = 0
    counts: Counter[str] = field(default_factory=Counter)


def examine_columns(stored: Stored, connection: duckdb.DuckDBPyConnection) -> list[Column]:
    """Say what each column holds."""
    columns = [_counted(stored, connection, place) for place in range(len(stored.names))]
    words = _words_of_file(stored, columns)
    return [_with_nulls(column, words) for column in columns]


def null_words(columns: tuple[Column, ...]) -> tuple[str, ...]:
    """The words that stand for null in a file."""
    return tuple(sorted({word for column in columns for word in column.words}))


def _counted(stored: Stored, connection: duckdb.DuckDBPyConnection, place: int) -> Column:
    column = f"c{place}"
    listed = ", ".join(literal(word) for word in NULL_WORDS)
    words = connection.execute(
        f"SELECT {column}, count(*) FROM {stored.table} WHERE {column} IN ({listed}) GROUP BY 1"
    ).fetchall()
    filled, distinct = connection.execute(
        f"SELECT coalesce(sum(n), 0)::BIGINT, count(*) FROM (SELECT count(*) AS n FROM "
        f"{stored.table} WHERE {column} <> '' GROUP BY {column})"
    ).fetchall()[0]
    first = connection.execute(
        f"SELECT {column} FROM {stored.table} WHERE {column} <> '' AND {column} NOT IN ({listed}) "
        f"ORDER BY line LIMIT {_SAMPLE}"
    ).fetchall()
    sample = pl.Series([text for (text,) in first], dtype=pl.String)
    found = Column(
        stored.names[place],
        place,
        stored.rows,
        nulls=stored.rows - filled,
        words=dict(words),
        distinct=distinct,
        kind=TEXT,
        examples=tuple(_short(text) for text in sample.unique(maintain_order=True)[:_EXAMPLES]),
    )
    possible = _possible(sample)
    return _of_kind(stored, found, possible) if possible else found


def _short(text: str) -> str:
    text = re.sub(r"[\x00-\x1f\x7f-\x9f]", "·", text)  # nothing that a terminal obeys
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 1]}…"


def _possible(sample: pl.Series) -> list[Kind]:
    if sample.is_empty():
        return []
    fits = (
        sample.rename("text")
        .to_frame()
        .select(
            kind.matches(pl.col("text")).fill_null(value=False).sum().alias(str(n))
            for n, kind in enumerate(KINDS)
        )
        .row(0)
    )
    needed = sample.len() - sample.len() // _POSSIBLE
    return [kind for kind, matching in zip(KINDS, fits, strict=True) if matching >= needed]


def _of_kind(stored: Stored, column: Column, possible: list[Kind]) -> Column:
    tallies = [_Tally() for _ in possible]
    for part in stored.parts:
        text = pl.read_parquet(part, columns=[column.sql]).rename({column.sql: "text"})
        text = text.filter((pl.col("text") != "") & ~pl.col("text").is_in(list(NULL_WORDS)))
        for kind, tally in zip(possible, tallies, strict=True):
            _add(text, kind, tally)
    most = max(tally.matches for tally in tallies)
    values = column.rows - column.nulls - sum(column.words.values())
    if most < values - values // _POSSIBLE:
        return column
    best, *others = [n for n, tally in enumerate(tallies) if tally.matches == most]
    tally, kind = tallies[best], possible[best]
    counts: dict[str, Any] = dict(tally.counts)
    return replace(
        column,
        kind=kind,
        others=tuple(possible[n] for n in others if _is_rival(kind, possible[n], tally, values)),
        strays=values - most,
        stray=tally.stray,
        least=tally.least,
        most=tally.most,
        **counts,
    )


def _is_rival(kind: Kind, other: Kind, tally: _Tally, values: int) -> bool:
    """Whether both readings of a column are sensible, and differ."""
    if kind.family == "time" and other.family == "time":
        return kind.aware == other.aware
    if kind.family != "number" or not kind.thousands or other.decimal == kind.decimal:
        return False
    # Fractions of always three digits are possible; beside numbers without any they are not.
    return tally.grouped < _MANY or tally.grouped == values


def _add(rows: pl.DataFrame, kind: Kind, tally: _Tally) -> None:
    fits = rows.select(kind.matches(pl.col("text")).fill_null(value=False)).to_series()
    tally.matches += int(fits.sum())
    if tally.stray is None and not fits.all():
        tally.stray = _short(rows.filter(~fits)["text"][0])
    rows = rows.filter(fits)
    if rows.is_empty():
        return
    values = _times(rows, kind, tally) if kind.family == "time" else _numbers(rows, kind, tally)
    least, most = values.min(), values.max()
    if least is not None:
        tally.least = least if tally.least is None else min(tally.least, least)
        tally.most = most if tally.most is None else max(tally.most, most)


def _times(rows: pl.DataFrame, kind: Kind, tally: _Tally) -> pl.Series:
    assert kind.time is not None
    finer = rows.select(texts.finer_than_microseconds(kind.time, pl.col("text"))).to_series()
    tally.counts["finer"] += int(finer.sum())
    return rows.select(kind.moment(pl.col("text"))).to_series()


def _numbers(rows: pl.DataFrame, kind: Kind, tally: _Tally) -> pl.Series:
    if kind.thousands:
        tally.grouped += int(rows["text"].str.contains(kind.thousands, literal=True).sum())
    plain = rows.select(kind.plain(pl.col("text")))
    values = plain.select(texts.exact_decimal(plain, "text", _DECIMALS)).to_series()
    tally.counts["unfit"] += values.null_count()
    tally.counts["not_positive"] += int((values <= 0).sum())
    tally.counts["exponents"] += int(plain["text"].str.contains("[eE]").sum())
    tally.counts["fractions"] += int(plain["text"].str.contains(r"\.0*[1-9]").sum())
    return values


def _words_of_file(stored: Stored, columns: list[Column]) -> set[str]:
    """Words that stand for null in this file: a source declares them for all its columns."""
    if stored.layout.family != "delimited":
        return set()
    return {
        word
        for column in columns
        for word in column.words
        if word in ALWAYS_NULL or column.kind.family != "text"
    }


def _with_nulls(column: Column, words: set[str]) -> Column:
    """Take the file's words for nulls; others are texts, or strays among numbers and times."""
    null = {word: rows for word, rows in column.words.items() if word in words}
    strays = {word: rows for word, rows in column.words.items() if word not in words}
    changed = replace(
        column,
        words=null,
        nulls=column.nulls + sum(null.values()),
        distinct=column.distinct - len(null),
    )
    if column.kind.family == "text" or not strays:
        return changed
    return replace(
        changed, strays=column.strays + sum(strays.values()), stray=column.stray or min(strays)
    )
