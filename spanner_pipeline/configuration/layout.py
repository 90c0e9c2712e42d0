"""How the bytes of a file become rows of texts, as declared: one model a format family."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import pairwise
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from spanner_pipeline.configuration import json_paths, patterns, statement
from spanner_pipeline.configuration.values import MistakesError, Strict


class Layout(Strict):
    """What all families share: the texts that stand for null."""

    nulls: tuple[str, ...] = ("",)

    @property
    def fixed_columns(self) -> tuple[str, ...]:
        """All columns of its files, where the declaration alone says them; else none."""
        return ()


def _each_once(names: Sequence[str]) -> None:
    if twice := ", ".join(sorted({name for name in names if list(names).count(name) > 1})):
        raise ValueError(f"`columns` names {twice} twice. Give each its own name.")


class TextLayout(Layout):
    """A family whose files are lines of text."""

    encoding: Literal["utf-8", "latin-1", "utf-16", "cp1252"] = "utf-8"


class Footer(Strict):
    """The last lines of a file that are no rows; blank lines below them do not count.

    A bare number in the YAML is `lines`. With `starts_with` the first of them must begin with one
    of these texts: a file that is cut off does not, and is refused.
    """

    lines: int = Field(default=1, ge=0)
    starts_with: tuple[str, ...] = ()

    @model_validator(mode="before")
    @classmethod
    def _from_number(cls, given: Any) -> Any:
        return {"lines": given} if isinstance(given, str | int) else given

    @field_validator("starts_with", mode="before")
    @classmethod
    def _one_text(cls, given: Any) -> Any:
        return [given] if isinstance(given, str) else given

    @model_validator(mode="after")
    def _has_a_first(self) -> Footer:
        if self.starts_with and not self.lines:
            raise ValueError("has no lines that `starts_with` could be about. Remove one of them.")
        return self


class FramedLayout(TextLayout):
    """A text family whose rows may stand between `preamble` lines and a `footer`."""

    preamble: int = Field(default=0, ge=0)
    footer: Footer = Footer(lines=0)


class Delimited(FramedLayout):
    """Delimited text; `columns` lists all header names, where a new one shall be an error.

    With `header: false` the first line is a row, and `columns` names the fields in their order.
    """

    family: Literal["delimited"]
    header: bool = True
    columns: tuple[str, ...] = ()
    separator: str = Field(default=",", min_length=1, max_length=1)
    quote: str = Field(default='"', max_length=1)

    @model_validator(mode="after")
    def _named(self) -> Delimited:
        if not self.header and not self.columns:
            raise ValueError("`header: false` needs `columns`: the names of all fields, in order.")
        _each_once(self.columns)
        return self

    @property
    def fixed_columns(self) -> tuple[str, ...]:
        """The declared columns."""
        return self.columns


class JsonLines(TextLayout):
    """One JSON object a line; columns are named by paths: `data.n`, `items[0].n`, `a["b.c"]`."""

    family: Literal["json_lines"]


class Json(TextLayout):
    """One JSON document; `rows` is the path of its array of rows, empty where it is the whole.

    Columns are named by paths below a row, as in JSON Lines.
    """

    family: Literal["json"]
    rows: str = ""

    @field_validator("rows")
    @classmethod
    def _of_keys(cls, path: str) -> str:
        json_paths.keys(path)
        return path


class AccessLog(TextLayout):
    """Access logs of a web server, in a known layout."""

    family: Literal["access_log"]
    layout: Literal["combined", "common"] = "combined"


class ExtendedLog(TextLayout):
    """W3C extended log files, as of CloudFront and IIS: `#Fields:` lines name the columns."""

    family: Literal["extended_log"]
    nulls: tuple[str, ...] = ("-", "")
    separator: Literal["\t", " "] = "\t"
    quote: Literal['"', ""] = '"'


class Pattern(TextLayout):
    """Lines that a regular expression matches from end to end; its named groups are the columns.

    It is written in Rust's syntax: `(?<name>...)` is a column, `(?:...)` is none.
    """

    family: Literal["pattern"]
    pattern: str

    @field_validator("pattern")
    @classmethod
    def _named(cls, pattern: str) -> str:
        patterns.named_groups(pattern)
        return pattern

    @property
    def fixed_columns(self) -> tuple[str, ...]:
        """The names of its groups."""
        return tuple(patterns.named_groups(self.pattern))


class FixedColumn(Strict):
    """Where a column stands in a line, in characters; `start` counts from 1."""

    name: str = Field(min_length=1)
    start: int = Field(ge=1)
    width: int = Field(ge=1)

    @property
    def end(self) -> int:
        """Its last character, counted from 1."""
        return self.start + self.width - 1


class FixedWidth(FramedLayout):
    """Lines whose columns stand at fixed places, padded with spaces, without a header."""

    family: Literal["fixed_width"]
    columns: tuple[FixedColumn, ...] = Field(min_length=1)

    @field_validator("columns")
    @classmethod
    def _apart(cls, columns: tuple[FixedColumn, ...]) -> tuple[FixedColumn, ...]:
        _each_once([column.name for column in columns])
        for left, right in pairwise(sorted(columns, key=lambda column: column.start)):
            if right.start <= left.end:
                raise ValueError(
                    f"`{right.name}` starts at {right.start}, inside `{left.name}`, which goes to "
                    f"{left.end}. Take a part of a column with `extract` instead."
                )
        return columns

    @property
    def fixed_columns(self) -> tuple[str, ...]:
        """The names of its columns."""
        return tuple(column.name for column in self.columns)


class Typed(Layout):
    """A family of typed columns; `columns` lists all names, where a new one shall be an error.

    `optional` lists columns that only some files have: the others read as if they were null.
    """

    columns: tuple[str, ...] = ()
    optional: tuple[str, ...] = ()


class Parquet(Typed):
    """Parquet files."""

    family: Literal["parquet"]


class Arrow(Typed):
    """Arrow IPC files and streams; Feather of version 2 is such a file."""

    family: Literal["arrow"]


class Xlsx(Layout):
    """A sheet of an XLSX workbook: `sheet` by its name, else the first; `header_row` counts from 1.

    `columns` lists all names, where a new one shall be an error.
    """

    family: Literal["xlsx"]
    sheet: str | None = None
    header_row: int = Field(default=1, ge=1, le=1_048_576)
    columns: tuple[str, ...] = ()


class Avro(Layout):
    """Avro object container files; columns are named by paths below a record, as in JSON Lines."""

    family: Literal["avro"]


class Delta(Typed):
    """Delta tables: `files` names one; `where` says what its partition columns hold of a delivery.

    The texts of `where` take the placeholders of dates: `{day: "{year}-{month}-{day}"}`. A column
    that older data files lack is null in them, as Delta means it.
    """

    family: Literal["delta"]
    where: dict[str, str] = Field(default_factory=dict)


_NAME = r"^[A-Za-z_]\w*(\.[A-Za-z_]\w*){0,2}$"


class Sql(Typed):
    """A query or a table in PostgreSQL, MySQL or a SQLite file; `files` names the database.

    A partition is the rows from `{start}` to before `{end}`: in the query itself, or by the
    `partition_column` of a table. The password is in the environment, under `password_env` or as
    libpq takes it; MySQL's is in MYSQL_PWD else.
    """

    family: Literal["sql"]
    query: str | None = None
    table: str | None = Field(default=None, pattern=_NAME)
    partition_column: str | None = Field(default=None, pattern=_NAME)
    password_env: str | None = None

    @field_validator("query")
    @classmethod
    def _reads(cls, query: str | None) -> str | None:
        return None if query is None else statement.checked(query)

    @field_validator("password_env")
    @classmethod
    def _of_a_variable(cls, name: str | None) -> str | None:
        if name is not None and not re.fullmatch(r"[A-Z_][A-Z0-9_]*", name):
            # A password may stand there by mistake: the message must not repeat it.
            message = "must be the name of an environment variable, such as BILLING_DB_PASSWORD."
            raise MistakesError([((), message)])
        return name

    @model_validator(mode="after")
    def _one_question(self) -> Sql:
        if (self.query is None) == (self.table is None):
            raise ValueError("needs exactly one of query and table.")
        if self.partition_column is not None and self.table is None:
            raise ValueError("`partition_column` goes with `table`; a query names its own column.")
        return self

    @property
    def statement(self) -> str:
        """The query, with its placeholders."""
        if self.query is not None:
            return self.query
        at = self.partition_column
        bounds = f" WHERE {at} >= {{start}} AND {at} < {{end}}" if at else ""
        return f"SELECT * FROM {self.table}{bounds}"


Format = Annotated[
    Delimited
    | JsonLines
    | Json
    | AccessLog
    | ExtendedLog
    | Pattern
    | FixedWidth
    | Parquet
    | Arrow
    | Xlsx
    | Avro
    | Delta
    | Sql,
    Field(discriminator="family"),
]
