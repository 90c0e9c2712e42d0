"""MySQL and MariaDB, in one read-only transaction: the server's own texts, made canonical.

Rows are taken as the server sends them, never held whole. A DATETIME is on the clock of the source;
a TIMESTAMP is an instant, and the session's clock is UTC, since the server says no offset with it.
"""

from __future__ import annotations

import os
import re
import socket
import ssl
from collections.abc import Generator
from contextlib import contextmanager
from datetime import date, datetime, timedelta
from urllib.parse import parse_qsl, unquote, urlsplit
from zoneinfo import ZoneInfo

import polars as pl
import pymysql
from pymysql.constants import FIELD_TYPE
from pymysql.cursors import SSCursor

from spanner_pipeline.configuration.locations import TLS_MODES
from spanner_pipeline.configuration.statement import compared
from spanner_pipeline.errors import SourceFileError
from spanner_pipeline.sources.database import (
    BATCH_ROWS,
    Question,
    check_names,
    plain_decimals,
    plain_times,
)
from spanner_pipeline.sources.typed import text_of_bytes

_CONNECT_SECONDS = 10
_SILENCE_SECONDS = 3600
"""How long a server may work before it says the next word; it counts as lost then."""

_NETWORK = {
    "TCP_KEEPIDLE": 60,
    "TCP_KEEPINTVL": 10,
    "TCP_KEEPCNT": 3,
    "TCP_USER_TIMEOUT": 60_000,
}
"""Seconds, and the last in milliseconds: a server that vanishes is missed within two minutes."""

_VARIABLE = "MYSQL_PWD"

_SQL_MODE = "ANSI_QUOTES,NO_BACKSLASH_ESCAPES,ONLY_FULL_GROUP_BY"
"""Quotes as the check of a query reads them, and no value that the server would pick by chance."""

_PASSING_STATES = re.compile(r"08|40|70100")
"""SQLSTATEs of lost connections, conflicts and interruptions."""

_PASSING = {
    *(2003, 2006, 2013),  # no connection, or a lost one
    *(1021, 1037, 1038, 1041, 1135, 1203, 1226, 1637),  # lack of disk, memory or connections
    *(1205, 1412, 3024, 4031),  # locked, changed meanwhile, timed out, disconnected
}


def answer(question: Question) -> Generator[pl.DataFrame, None, None]:
    """Yield the rows of a query as texts, in batches; the first is there even without rows.

    Raises:
        SourceFileError: When the server gives no answer, or refuses, or would round.
    """
    read = 0
    try:
        with _connected(question) as connection:
            cursor = connection.cursor()
            _ask(question, cursor)
            columns = [(str(column[0]), int(column[1])) for column in cursor.description or ()]
            names = [name for name, _ in columns]
            check_names(question, names)
            _check_kinds(question, columns)
            yield pl.DataFrame(schema=dict.fromkeys(names, pl.String))
            while rows := cursor.fetchmany(BATCH_ROWS):
                told = zip(*rows, strict=True)
                yield pl.DataFrame([_texts(*one) for one in zip(columns, told, strict=True)])
                read += len(rows)
    except (pymysql.Error, OSError, RuntimeError, UnicodeDecodeError) as error:
        refused = question.refusal(_said(question, error), read, passes=_may_pass(error))
        raise refused from refused.__cause__


@contextmanager
def _connected(question: Question) -> Generator[pymysql.Connection[SSCursor], None, None]:
    url = urlsplit(str(question.location))
    password = _password(question)
    connection = pymysql.Connection(
        host=url.hostname or "localhost",
        port=url.port or 3306,
        user=unquote(url.username) if url.username else None,
        password=password.encode(),
        database=unquote(url.path.removeprefix("/")),
        charset="utf8mb4",
        sql_mode=_SQL_MODE,
        conv={},  # no value becomes anything but the text that the server sent
        autocommit=None,
        cursorclass=SSCursor,
        read_timeout=_SILENCE_SECONDS,
        program_name="spanner_pipeline",
        ssl=_tls(dict(parse_qsl(url.query))),
        defer_connect=True,
    )
    try:
        connection.connect(_socket(connection.host, connection.port))
        yield connection
    finally:
        # The driver would read all rows that are still to come before it hangs up.
        if (result := getattr(connection, "_result", None)) is not None:
            result.unbuffered_active = False
        connection.close()


def _socket(host: str, port: int) -> socket.socket:
    made = socket.create_connection((host, port), _CONNECT_SECONDS)
    made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in _NETWORK.items():
        if (option := getattr(socket, name, None)) is not None:  # not every system has each
            made.setsockopt(socket.IPPROTO_TCP, option, value)
    return made


def _tls(settings: dict[str, str]) -> ssl.SSLContext | None:
    """What TLS must be like; None takes it where the server has it."""
    mode = settings.get("ssl-mode", TLS_MODES[0])
    if mode == TLS_MODES[0]:
        return None
    context = ssl.create_default_context(cafile=settings.get("ssl-ca"))
    context.check_hostname = mode == "VERIFY_IDENTITY"
    context.verify_mode = ssl.CERT_NONE if mode == "REQUIRED" else ssl.CERT_REQUIRED
    return context


def _ask(question: Question, cursor: SSCursor) -> None:
    for setting in (
        "SET time_zone = '+00:00'",
        "SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ",
        "START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY",
    ):
        cursor.execute(setting)
    cursor.execute(*question.as_sent())


def _check_kinds(question: Question, columns: list[tuple[str, int]]) -> None:
    """Refuse what would come out other than it is stored, or be asked for on another clock."""
    for name, kind in columns:
        if kind == FIELD_TYPE.FLOAT:
            raise SourceFileError(
                question.name,
                "is a FLOAT, which the server rounds to six digits as it tells it.",
                f"ask for all of it: SELECT {name} + 0e0 AS {name}, ...",
                column=name,
            )
        asked = kind == FIELD_TYPE.TIMESTAMP and name.casefold() in compared(question.statement)
        if asked and _leaves_utc(question):
            raise SourceFileError(
                question.name,
                f"is a TIMESTAMP, which is compared in UTC; the days are those of {question.zone}.",
                "write `zone: UTC`; or compare a DATETIME.",
                column=name,
            )


def _leaves_utc(question: Question) -> bool:
    zone = ZoneInfo(question.zone)
    days = [date.fromisoformat(bound) for bound in question.bounds.values()]
    return any(
        datetime(d.year, d.month, d.day, tzinfo=zone).utcoffset() != timedelta(0) for d in days
    )


def _texts(column: tuple[str, int], values: tuple[str | bytes | None, ...]) -> pl.Series:
    """A column as typed files spell it; what has no such spelling stays as the server wrote it."""
    name, kind = column
    plain = _of_bits if kind == FIELD_TYPE.BIT else text_of_bytes
    told = [plain(value) if isinstance(value, bytes) else value for value in values]
    # Not under its own name: `*` and `^a$` would be patterns to Polars.
    frame = pl.DataFrame({"": pl.Series(told, dtype=pl.String)})
    return frame.select(_canonical(pl.col(""), kind)).to_series().alias(name)


def _of_bits(content: bytes) -> str:
    return str(int.from_bytes(content, "big"))


def _canonical(text: pl.Expr, kind: int) -> pl.Expr:
    if kind in (FIELD_TYPE.DECIMAL, FIELD_TYPE.NEWDECIMAL, FIELD_TYPE.DOUBLE):
        return plain_decimals(text)
    if kind in (FIELD_TYPE.DATETIME, FIELD_TYPE.TIMESTAMP):
        return plain_times(text, "Z" if kind == FIELD_TYPE.TIMESTAMP else "")
    return text


def _password(question: Question) -> str:
    name = question.password_env or _VARIABLE
    password = os.environ.get(name, "")
    if not password and question.password_env is not None:
        raise pymysql.OperationalError(f"no password: set {name}")
    return password


def _may_pass(error: Exception) -> bool:
    if isinstance(error, pymysql.Error):
        cause = getattr(error, "original_exception", None)
        if cause is not None:
            return _may_pass(cause)
        number = error.args[0] if error.args else None
        state = getattr(error, "sqlstate", None) or ""
        return number in _PASSING or _PASSING_STATES.match(state) is not None
    if isinstance(error, socket.gaierror):
        return error.errno == socket.EAI_AGAIN
    return isinstance(error, OSError) and not isinstance(error, ssl.SSLError | FileNotFoundError)


def _said(question: Question, error: Exception) -> str:
    """What went wrong, in one line; never a password."""
    told = error.args[-1] if isinstance(error, pymysql.Error) and error.args else error
    return question.said(str(told), _VARIABLE) or type(error).__name__
