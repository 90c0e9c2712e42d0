"""Which identity a profile speaks for, and why, in the words of the report and the YAML."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import duckdb
import polars as pl

from spanner_pipeline.configuration.values import IdentityPart
from spanner_pipeline.profiling.columns import Column
from spanner_pipeline.profiling.exports import Stability
from spanner_pipeline.profiling.identity import Key, Proof, looks_like_id
from spanner_pipeline.profiling.kinds import PLAIN
from spanner_pipeline.profiling.stored import Stored, parquet_table
from spanner_pipeline.sources import texts


@dataclass(frozen=True)
class Choice:
    """The identity that is proposed.

    Attributes:
        key: Its columns; none for a multiset.
        parts: How they are declared, in the order of the key.
        reasons: What speaks for it and against it, in sentences.
    """

    key: Key | None
    parts: tuple[IdentityPart, ...]
    reasons: tuple[str, ...]


def choose(
    stored: Stored,
    proof: Proof,
    stability: Sequence[Stability],
    connection: duckdb.DuckDBPyConnection,
) -> Choice:
    """Choose the best key that holds; a multiset where none does.

    Args:
        stored: The rows.
        proof: What their file says of their identity.
        stability: What a second export says of each key; empty without one.
        connection: Counts.
    """
    reasons = [*_of_repeats(proof), *_of_exports(stability)]
    key = _best(stored, proof, stability)
    if key is None:
        return Choice(None, (), (*reasons, *_of_multiset(stored, proof), *_of_nearest(proof)))
    parts = _declared(stored, key, connection)
    return Choice(key, parts, (*_of_key(key, proof), *reasons, *_of_nearest(proof)))


def counted(number: int, noun: str) -> str:
    """A number and what is counted: `1 row`, `5,268 rows`."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def _best(stored: Stored, proof: Proof, stability: Sequence[Stability]) -> Key | None:
    if stored.layout.family == "access_log":
        return None
    held = {found.key.names: found.holds for found in stability}
    for key in proof.keys:
        named = any(looks_like_id(c.name) and c.kind.family != "time" for c in key.columns)
        if (named or not proof.repeats.extra) and held.get(key.names, not held):
            return key
    return None


def _of_key(key: Key, proof: Proof) -> Iterator[str]:
    names, rows = ", ".join(key.names), counted(proof.repeats.rows, "row")
    together = " together" if len(key.columns) > 1 else ""
    if proof.repeats.extra:
        yield f"Rows that share {names}{together} are copies of each other, in all {rows}."
    else:
        yield f"{names}{together}: unique in all {rows}."
    if key.only_time:
        yield (
            "Nothing but a time tells the rows apart: two events of one moment would be one, and a "
            "corrected time would be another event."
        )
    if key.with_amounts:
        yield "It needs an amount: a row whose amount is corrected would count as another event."
    if others := [f"({', '.join(other.names)})" for other in proof.keys if other != key]:
        yield f"Unique as well: {', '.join(others)}."


def _of_repeats(proof: Proof) -> Iterator[str]:
    repeats = proof.repeats
    if repeats.extra:
        yield (
            f"{counted(repeats.extra, 'row')} of {repeats.rows:,} "
            f"{'repeats' if repeats.extra == 1 else 'repeat'} an earlier row to the last field "
            f"({counted(repeats.affected, 'row')} with a twin; one comes {repeats.most:,} times)."
        )


def _of_exports(stability: Sequence[Stability]) -> Iterator[str]:
    for found in stability:
        names = ", ".join(found.key.names)
        for name in found.unstable:
            yield (
                f"({names}) is no identity: {name} changes between exports, in "
                f"{counted(found.renamed[name], 'row')} that are alike in all else."
            )
        if found.repeats_in_second:
            yield (
                f"({names}) is no identity: in the second export "
                f"{counted(found.repeats_in_second, 'row')} share it with another."
            )
        if found.holds and found.same + found.corrected:
            yield (
                f"({names}) holds over both exports: {counted(found.same, 'row')} unchanged, "
                f"{found.corrected:,} with other content, {found.only_first:,} only in the first, "
                f"{found.only_second:,} only in the second."
            )
        elif found.holds:
            yield f"No value of ({names}) is in both exports, so they do not show if it is stable."


def _of_nearest(proof: Proof) -> Iterator[str]:
    nearest = proof.nearest
    if nearest is None:
        return
    yield (
        f"Without amounts, ({', '.join(nearest.names)}) tells most rows apart, and "
        f"{counted(nearest.repeats, 'row')} repeat{'s' * (nearest.repeats == 1)} it."
    )
    if nearest.cancelling:
        yield (
            f"In each of these repeats {', '.join(nearest.cancelling)} "
            f"sum{'s' * (len(nearest.cancelling) == 1)} to 0: a charge and its void. Both are "
            "rows of their own."
        )


def _of_multiset(stored: Stored, proof: Proof) -> Iterator[str]:
    if stored.layout.family == "access_log":
        yield "Lines of a log have no id, and lines that are alike are requests of their own."
    elif proof.repeats.extra:
        yield (
            "No id tells these rows apart. A multiset counts each of them: right where they are "
            "real repeats, wrong where the export wrote a row twice. Ask who made the file."
        )
    else:
        yield (
            "No set of columns that was tried identifies a row. A multiset takes a row for its "
            "content: a corrected row would count beside the old one. Where each export states its "
            "whole period anew, write `identity: {snapshot: {scope: partition}}` instead."
        )


def _declared(
    stored: Stored, key: Key, connection: duckdb.DuckDBPyConnection
) -> tuple[IdentityPart, ...]:
    """Times and amounts in their one spelling, where it tells as many rows apart as the texts."""
    parts = tuple(_part(column) for column in key.columns)
    texts_alone = tuple(IdentityPart(column=column.name) for column in key.columns)
    if parts == texts_alone:
        return parts
    folder = stored.folder.with_suffix(".spelled")
    folder.mkdir()
    for index, path in enumerate(stored.parts):
        rows = pl.read_parquet(path, columns=[column.sql for column in key.columns])
        spelled = rows.select(
            _spelled(rows, column, part).alias(column.sql)
            for column, part in zip(key.columns, parts, strict=True)
        )
        spelled.write_parquet(folder / f"{index:06}.parquet")
    columns = ", ".join(column.sql for column in key.columns)
    whole = " AND ".join(f"{column.sql} IS NOT NULL" for column in key.columns)
    distinct, lost = connection.execute(
        f"SELECT count(*) FILTER ({whole}), count(*) FILTER (NOT ({whole})) "
        f"FROM (SELECT DISTINCT {columns} FROM {parquet_table(folder)})"
    ).fetchall()[0]
    return parts if distinct == key.distinct and not lost else texts_alone


def _part(column: Column) -> IdentityPart:
    if column.kind.time is not None and not column.others and not column.strays:
        return IdentityPart(column=column.name, type="time", format=column.kind.time.format)
    if column.is_measure and column.kind == PLAIN and not column.strays:
        return IdentityPart(column=column.name, type="number")
    return IdentityPart(column=column.name)


def _spelled(rows: pl.DataFrame, column: Column, part: IdentityPart) -> pl.Expr:
    if part.type == "time":
        return texts.canonical_time(part, pl.col(column.sql))
    if part.type == "number":
        return texts.canonical_number(rows, column.sql)
    return pl.col(column.sql)
