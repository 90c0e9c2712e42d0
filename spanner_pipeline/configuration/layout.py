"""How the bytes of a file become rows of texts, as declared: one model a format family."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator

from spanner_pipeline.configuration import json_paths, patterns
from spanner_pipeline.configuration.values import Strict


class Layout(Strict):
    """What all families share: the texts that stand for null."""

    nulls: tuple[str, ...] = ("",)

    @property
    def fixed_columns(self) -> tuple[str, ...]:
        """All columns of its files, where the declaration alone says them; else none."""
        return ()


class TextLayout(Layout):
    """A family whose files are lines of text."""

    encoding: Literal["utf-8", "latin-1", "utf-16", "cp1252"] = "utf-8"


class Delimited(TextLayout):
    """Delimited text; `columns` lists all header names, where a new one shall be an error."""

    family: Literal["delimited"]
    columns: tuple[str, ...] = ()
    separator: str = Field(default=",", min_length=1, max_length=1)
    quote: str = Field(default='"', max_length=1)


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


class Parquet(Layout):
    """Parquet files; `columns` lists all names, where a new one shall be an error."""

    family: Literal["parquet"]
    columns: tuple[str, ...] = ()


Format = Annotated[
    Delimited | JsonLines | Json | AccessLog | ExtendedLog | Pattern | Parquet,
    Field(discriminator="family"),
]
