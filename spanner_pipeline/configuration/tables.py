"""Sources that are tables, not files: what of them a partition is, and where they may lie."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator

from spanner_pipeline.configuration.layout import Delta, Format, Sql
from spanner_pipeline.configuration.locations import is_database, is_url
from spanner_pipeline.configuration.statement import BOUNDS, bound_names
from spanner_pipeline.configuration.values import Mistake

_DATE = re.compile(r"\{(\w*)\}")


def placeholders(format_: Format, files: str) -> set[str]:
    """The dates that make one partition differ from the next, in `files` and in `where`."""
    texts = [files, *(format_.where.values() if isinstance(format_, Delta) else ())]
    return {name for text in texts for name in _DATE.findall(text)}


def location_mistakes(format_: Format, files: str) -> Iterator[Mistake]:
    """What is wrong with where a table is said to be."""
    if not isinstance(format_, Delta | Sql):
        if is_database(files):
            yield ("files",), "is a database. Write `format: {family: sql, query: SELECT ...}`."
        return
    if is_database(files) != (isinstance(format_, Sql) and is_url(files)):
        where = "postgresql://user@host/database, mysql://... or a SQLite file"
        wanted = "a folder or a bucket's URL" if isinstance(format_, Delta) else where
        yield ("files",), f"must be where a {format_.family} source lies: {wanted}."
    elif re.search(r"[*?\[]", files.partition("?")[0] if is_database(files) else files):
        yield ("files",), "takes no wildcards here: it names one table or database."


def period_mistakes(sql: Sql, files: str, expected: Collection[str]) -> Iterator[Mistake]:
    """What is wrong with how a query takes its period; `expected` are the grain's placeholders."""
    key = ("format", "query" if sql.query is not None else "table")
    named, bound = placeholders(sql, files), set(bound_names(sql.statement))
    if is_database(files) and named:
        yield ("files",), "takes no placeholders: bind {start} and {end} in the query."
    if named - set(expected):
        yield ("files",), f"has placeholders that the grain does not have; found {files}"
    if bound and not expected:
        yield key, "binds a period, and grain `whole` has none. Take {start} and {end} out."
    if not bound and expected and named != set(expected):
        remedy = "WHERE at >= {start} AND at < {end}" if sql.query else "partition_column: at"
        yield key, f"asks for all rows for each partition. Bound them: {remedy}"
    elif bound and bound != set(BOUNDS):
        yield key, "binds one end of its period only. Write both {start} and {end}."
