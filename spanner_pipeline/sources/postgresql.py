"""PostgreSQL, in one read-only transaction: the server's own texts, made canonical.

The server spells numbers, so numerics are exact and doubles as short as can be. A cursor gives the
rows in batches; it takes nothing but one query, and binds the bounds of the partition as values.
"""

from __future__ import annotations

import os
import re
from collections.abc import Generator

import polars as pl
import psycopg
from psycopg.adapt import AdaptersMap
from psycopg.types.numeric import IntDumper
from psycopg.types.string import StrDumperUnknown, TextLoader

from spanner_pipeline.sources.database import (
    BATCH_ROWS,
    Question,
    check_names,
    plain_decimals,
    plain_times,
)

_VARIABLE = "PGPASSWORD"

_NETWORK = {
    "connect_timeout": 10,
    "keepalives_idle": 60,
    "keepalives_interval": 10,
    "keepalives_count": 3,
    "tcp_user_timeout": 60_000,
}
"""Seconds, and the last in milliseconds: a server that vanishes is missed within two minutes."""

_SESSION = {
    "DateStyle": "ISO, YMD",
    "IntervalStyle": "iso_8601",
    "extra_float_digits": "1",
    "bytea_output": "hex",
}
_BOOL, _NUMERIC, _TIMESTAMP, _TIMESTAMPTZ = 16, 1700, 1114, 1184

_PASSING = re.compile(r"08|53|40|57P0|55P03|58")
"""SQLSTATEs of lost connections, lack of resources, conflicts, shutdowns, locks, the system."""

_LASTING = re.compile(
    r"password|authentication|pg_hba|does not exist|permission denied|certificate|SSL|invalid"
    r"|translate host name|Name or service not known",
    re.IGNORECASE,
)
"""What a connection is refused for; it has no SQLSTATE to be known by."""


def answer(question: Question) -> Generator[pl.DataFrame, None, None]:
    """Yield the rows of a query as texts, in batches; the first is there even without rows.

    Raises:
        SourceFileError: When the server gives no answer, or refuses.
    """
    read = 0
    try:
        with _connected(question) as connection, connection.cursor("rows_of_usage") as cursor:
            _ask(question, cursor)
            names = [column.name for column in cursor.description or ()]
            kinds = [column.type_code for column in cursor.description or ()]
            check_names(question, names)
            # By place: `*` and `^a$` would be patterns to Polars.
            schema = {str(at): pl.String for at in range(len(names))}
            spelled = [
                _canonical(str(at), kind).alias(name)
                for at, (name, kind) in enumerate(zip(names, kinds, strict=True))
            ]
            yield pl.DataFrame(schema=dict.fromkeys(names, pl.String))
            while rows := cursor.fetchmany(BATCH_ROWS):
                yield pl.DataFrame(rows, schema=schema, orient="row").select(spelled)
                read += len(rows)
    except (psycopg.Error, UnicodeDecodeError) as error:
        told = question.refusal(question.said(str(error), _VARIABLE), read, passes=_may_pass(error))
        raise told from told.__cause__


def _connected(question: Question) -> psycopg.Connection[tuple[str | None, ...]]:
    texts = AdaptersMap()
    texts.register_loader(0, TextLoader)  # 0 is the loader of every type that has none
    texts.register_dumper(int, IntDumper)  # the driver's own: how many rows to fetch
    texts.register_dumper(str, StrDumperUnknown)  # the server takes a bound as it is compared
    connection: psycopg.Connection[tuple[str | None, ...]] = psycopg.connect(
        str(question.location),
        password=_password(question),
        context=texts,
        client_encoding="UTF8",
        application_name="spanner_pipeline",
        **_NETWORK,  # type: ignore[arg-type]
    )
    connection.read_only = True
    connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
    return connection


def _ask(question: Question, cursor: psycopg.ServerCursor[tuple[str | None, ...]]) -> None:
    for name, value in {**_SESSION, "TimeZone": question.zone}.items():
        cursor.connection.execute("SELECT set_config(%s, %s, true)", [name, value])
    query, bounds = question.as_sent()
    cursor.execute(query.encode(), bounds)


def _password(question: Question) -> str | None:
    """The password; None leaves it to libpq: PGPASSWORD, or the password file."""
    if question.password_env is None:
        return None
    password = os.environ.get(question.password_env)
    if not password:
        raise psycopg.OperationalError(f"no password: set {question.password_env}")
    return password


def _canonical(name: str, kind: int) -> pl.Expr:
    """A column as typed files spell it; what has no such spelling stays as the server wrote it."""
    text = pl.col(name)
    if kind == _BOOL:
        return text.replace({"t": "true", "f": "false"})
    if kind == _NUMERIC:
        return plain_decimals(text)
    if kind == _TIMESTAMP:
        return plain_times(text)
    if kind == _TIMESTAMPTZ:
        time = text.str.to_datetime("%Y-%m-%d %H:%M:%S%.f%#z", strict=False, time_zone="UTC")
        return pl.coalesce(time.dt.strftime("%Y-%m-%dT%H:%M:%S%.9fZ"), text)
    return text


def _may_pass(error: Exception) -> bool:
    if not isinstance(error, psycopg.OperationalError | psycopg.InterfaceError):
        return False
    if error.sqlstate is not None:
        return _PASSING.match(error.sqlstate) is not None
    return _LASTING.search(str(error)) is None
