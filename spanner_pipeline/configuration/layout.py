"""How the bytes of a file become rows of texts, as declared: one model a format family."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator

from spanner_pipeline.configuration import json_paths
from spanner_pipeline.configuration.values import Strict


class Layout(Strict):
    """What all families share: the texts that stand for null."""

    nulls: tuple[str, ...] = ("",)


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


Format = Annotated[
    Delimited | JsonLines | Json | AccessLog | Parquet | Arrow | Xlsx | Avro,
    Field(discriminator="family"),
]
