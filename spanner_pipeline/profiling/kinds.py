"""What the texts of a column can be: numbers in a spelling, times in a format, or just texts.

A kind matches what an import would accept if the column were so declared. Belongs here: the kinds.
Not here: counting matches over a file (`columns`).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

import polars as pl

from spanner_pipeline.configuration import patterns
from spanner_pipeline.configuration.quantity import Quantity
from spanner_pipeline.configuration.values import EPOCHS, ISO8601, Timestamp
from spanner_pipeline.sources import texts
from spanner_pipeline.sources.numbers import plain_number

NULL_WORDS = ("NULL", "null", "NA", "N/A", "n/a", "None", "\\N", "NaN", "nan", "-")
"""What exports write for nothing; among numbers and times these words can be nothing else."""

ALWAYS_NULL = ("NULL", "\\N")
"""Those that are no one's name or code: they mean nothing among texts as well."""

_EARLIEST, _LATEST = datetime(1990, 1, 1), datetime(2040, 1, 1)
"""Usage is from within these years: a count or a date outside them is something else."""

_PATTERNS = (
    "%d/%b/%Y:%H:%M:%S %z",
    "%Y-%m-%d",
    "%Y-%m-%d %H:%M:%S%.f UTC",
    "%Y-%m-%d %H:%M:%S%.f %z",
    "%Y/%m/%d %H:%M:%S",
    "%Y/%m/%d %H:%M",
    "%Y/%m/%d",
    "%d/%m/%Y %H:%M:%S",
    "%m/%d/%Y %H:%M:%S",
    "%d/%m/%Y %H:%M",
    "%m/%d/%Y %H:%M",
    "%m/%d/%Y %I:%M:%S %p",
    "%d/%m/%Y",
    "%m/%d/%Y",
    "%d.%m.%Y %H:%M:%S",
    "%d.%m.%Y %H:%M",
    "%d.%m.%Y",
    "%d-%b-%Y %H:%M:%S",
    "%d-%b-%Y",
    "%b %d, %Y %I:%M:%S %p",
    "%a, %d %b %Y %H:%M:%S %z",
    "%Y%m%dT%H%M%S%z",
    "%Y%m%dT%H%M%S",
    "%Y%m%d%H%M%S",
    "%Y%m%d",
    "%Y-%m",
)
"""The strptime patterns that old systems write most."""

Family = Literal["number", "time", "text"]


@dataclass(frozen=True)
class Kind:
    """What a column's texts can be.

    Attributes:
        label: For people.
        family: What it can be used as.
        time: How a time is declared; None for others.
        aware: Whether times name their own offset.
        thousands: The sign between groups of three digits.
        decimal: The sign before the fraction.
    """

    label: str
    family: Family
    time: Timestamp | None = None
    aware: bool = False
    thousands: str = ""
    decimal: Literal[".", ","] = "."

    def matches(self, text: pl.Expr) -> pl.Expr:
        """Whether texts are of this kind."""
        if self.family == "time":
            return self.moment(text).is_not_null()
        if self.family == "number":
            return self.plain(text).is_not_null()
        return pl.lit(value=True)

    def moment(self, text: pl.Expr) -> pl.Expr:
        """The time of texts, as their own clock shows it or in UTC; null for other texts."""
        assert self.time is not None
        if not self.aware:
            moment = texts.naive_time(self.time, text)
        else:
            moment = texts.aware_time(self.time, text).dt.replace_time_zone(None)
        if self.time.format == ISO8601:
            return moment
        return pl.when(moment.is_between(_EARLIEST, _LATEST, closed="left")).then(moment)

    def plain(self, text: pl.Expr) -> pl.Expr:
        """The plain spelling of a number of this kind; null for other texts.

        An import takes `0,824` for 824 where `,` is declared to group; here it speaks against that.
        """
        if self.thousands:
            text = pl.when(~text.str.contains(rf"^[+-]?0+{re.escape(self.thousands)}")).then(text)
        return plain_number(self._declared, text)

    @property
    def _declared(self) -> Quantity:
        return Quantity.model_validate(
            {"column": "-", "decimal": self.decimal, "thousands": self.thousands}
        )


def _time(label: str, format_: str, *, aware: bool) -> Kind:
    return Kind(label, "time", Timestamp(column="-", format=format_), aware)


PLAIN = Kind("number", "number")
TEXT = Kind("text", "text")

KINDS = (
    _time("time, ISO 8601 with offset", ISO8601, aware=True),
    _time("time, ISO 8601 without offset", ISO8601, aware=False),
    *(_time(f"time, {p}", p, aware=patterns.names_offset(p)) for p in _PATTERNS),
    *(_time(f"time, {name.replace('_', ' ')}", name, aware=True) for name in EPOCHS),
    PLAIN,
    Kind("number, thousands `,`", "number", thousands=","),
    Kind("number, decimal comma", "number", decimal=","),
    Kind("number, decimal comma, thousands `.`", "number", thousands=".", decimal=","),
    Kind("number, thousands space", "number", thousands=" "),
)
"""All kinds but text; of several that match equally well the first is meant."""
