"""How the bytes of a file become rows of texts, as declared."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from spanner_pipeline.configuration.values import Strict


class Format(Strict):
    """How the bytes of a file become rows of texts."""

    family: Literal["delimited", "json_lines", "access_log", "parquet"]
    columns: tuple[str, ...] = ()
    separator: str = Field(default=",", min_length=1, max_length=1)
    quote: str = Field(default='"', max_length=1)
    encoding: Literal["utf-8", "latin-1", "utf-16", "cp1252"] = "utf-8"
    layout: Literal["combined", "common"] = "combined"
    nulls: tuple[str, ...] = ("",)
