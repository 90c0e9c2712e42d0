"""A question to a database of whatever kind, and what its answer and its refusals look like.

Each kind gives its rows as frames of canonical texts, the first of them perhaps empty, so that the
columns are known even where there is no row.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from spanner_pipeline.configuration.statement import bound_names, with_parameters
from spanner_pipeline.errors import SourceFileError

BATCH_ROWS = 5_000


class DatabaseNotReadyError(ConnectionError):
    """A database gave no answer, or was busy: another try may succeed."""


@dataclass(frozen=True)
class Question:
    """A query of one partition.

    Attributes:
        name: How rows and messages name the answer.
        location: The database: its URL, or the path of a SQLite file.
        statement: The query, with its placeholders.
        bounds: What the placeholders stand for: dates on the clock of `zone`.
        zone: The clock of times without a zone, and of the query's own functions.
        password_env: The environment variable with the password; None where the driver knows.
    """

    name: str
    location: str | Path
    statement: str
    bounds: dict[str, str]
    zone: str
    password_env: str | None = None

    def as_sent(self) -> tuple[str, list[str]]:
        """The query as a server's driver takes it, and the bounds in the order of their places."""
        query = with_parameters(
            self.statement, lambda name: "%s", lambda text: text.replace("%", "%%")
        )
        return query, [self.bounds[name] for name in bound_names(self.statement)]

    def said(self, text: str, variable: str) -> str:
        """What a driver said, in one line and without the password.

        Args:
            text: Its words.
            variable: The environment variable that it takes a password from by itself.
        """
        line = " ".join(text.split())
        for name in (variable, self.password_env):
            if name is not None and (secret := os.environ.get(name)):
                line = line.replace(secret, f"<{name}>")
        return line

    def refusal(self, why: str, rows: int, *, passes: bool) -> SourceFileError:
        """The error that says what the database said, after how many rows; it has its cause."""
        if passes:
            problem, remedy = "the database gives no answer", "try again; is it up, and reachable?"
        else:
            problem = "the database refuses the query"
            remedy = "correct the query, the columns or the rights of the user."
        after = f" after {rows:,} rows" if rows else ""
        error = SourceFileError(self.name, f"{problem}{after}: {why.rstrip('.')}.", remedy)
        error.__cause__ = DatabaseNotReadyError(why) if passes else None
        return error


def plain_decimals(text: pl.Expr) -> pl.Expr:
    """Numbers without the zeros that end their fraction; what has an exponent stays as it is."""
    plain = text.str.strip_chars_end("0").str.strip_suffix(".")
    return pl.when(text.str.contains(r"^[^e]*\.[^e]*$")).then(plain).otherwise(text)


def plain_times(text: pl.Expr, zone: str = "") -> pl.Expr:
    """Times without an offset in ISO 8601, with `zone` behind them; what is none stays as it is."""
    time = text.str.to_datetime("%Y-%m-%d %H:%M:%S%.f", time_unit="us", strict=False)
    return pl.coalesce(time.dt.strftime(f"%Y-%m-%dT%H:%M:%S%.9f{zone}"), text)


def check_names(question: Question, names: list[str]) -> None:
    """Refuse an answer in which two columns have one name, or one but for capitals.

    Raises:
        SourceFileError: When there are such.
    """
    folded = [name.casefold() for name in names]
    if twice := [name for name in names if folded.count(name.casefold()) > 1]:
        raise SourceFileError(
            question.name,
            f"the query gives two columns named {twice[0]}.",
            "name each its own: SELECT a.id AS account_id, ...",
            column=twice[0],
        )
