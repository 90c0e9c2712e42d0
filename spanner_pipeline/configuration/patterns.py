"""Patterns that a data engineer writes, tried on load with the engine that will run them.

Each check returns what it was given, or raises a ValueError that says what to write instead.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from string import Formatter
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import polars as pl

_SAMPLE = datetime(2021, 12, 31, 23, 59, 58, tzinfo=UTC)
_OFFSET = re.compile(r"%[:#]*z|%\+")
_UNTRUE = {
    "%f": "reads .5 as 5 nanoseconds; write %.f, with no point before it.",
    "%Z": "would be ignored: names such as EST are no offsets. Use %z, or cut it off (`extract`).",
    "%s": "is not the clock of a zone; use `format: epoch_seconds` or `epoch_milliseconds`.",
}


def time_zone(name: str) -> str:
    """Check that an IANA time zone exists, here and in Polars."""
    try:
        ZoneInfo(name)
        pl.select(pl.lit(_SAMPLE).dt.convert_time_zone(name))
    except (ZoneInfoNotFoundError, ValueError, OSError, pl.exceptions.ComputeError):
        raise ValueError(
            f"`{name}` is no time zone. Use an IANA name such as America/New_York."
        ) from None
    return name


def names_offset(pattern: str) -> bool:
    """Whether texts of this strptime pattern name their own offset from UTC."""
    return _OFFSET.search(pattern) is not None


def time_pattern(pattern: str) -> str:
    """Check a strptime pattern: a sample written with it must be read back as the same time."""
    for directive, why in _UNTRUE.items():
        if directive in pattern.replace("%%", ""):
            raise ValueError(f"{directive} {why}")
    zone = "UTC" if names_offset(pattern) else None
    sample = pl.Series([_SAMPLE.replace(tzinfo=None)])
    try:
        text = sample.dt.replace_time_zone(zone).dt.strftime(pattern)
        read = text.str.to_datetime(pattern, time_zone=zone, strict=False).item()
    except pl.exceptions.ComputeError as error:
        raise ValueError(f"not a time format: {str(error).splitlines()[0]}") from None
    periods = {(_SAMPLE.month, _SAMPLE.day), (_SAMPLE.month, 1), (1, 1)}
    if read is None or read.year != _SAMPLE.year or (read.month, read.day) not in periods:
        raise ValueError(
            "does not give a date. Use `iso8601`, `epoch_seconds`, `epoch_milliseconds` or a "
            "strptime format such as %Y-%m-%d %H:%M:%S."
        )
    return pattern


ISO_SPELLINGS = ("%Y-%m-%dT%H:%M:%S", "%Y-%m-%d %H:%M:%S")
"""ISO 8601 as strptime patterns, to compare it with others."""

COUNT = "%s"
"""Stands for a count since 1970, to compare it with patterns."""

_DOUBTFUL = (datetime(2021, 2, 1, 3, 4, 5), datetime(2012, 11, 10, 9, 8, 7))
"""Times whose parts may trade places."""


def told_apart_by(one: str, other: str) -> str | None:
    """A text that two patterns both read, as different times; None where none was found."""
    for written, read in ((one, other), (other, one)):
        zone = "UTC" if names_offset(written) else None
        moments = pl.Series(_DOUBTFUL).dt.replace_time_zone(zone)
        texts = moments.dt.strftime(written)
        mine, others = _read(texts, written), _read(texts, read)
        for text, first, second in zip(texts, mine, others, strict=True):
            if first is not None and second is not None and first != second:
                return str(text)
    return None


def _read(texts: pl.Series, pattern: str) -> pl.Series:
    if pattern == COUNT:
        return texts.cast(pl.Int64, strict=False)
    zone = "UTC" if names_offset(pattern) else None
    return texts.str.to_datetime(pattern, time_unit="us", time_zone=zone, strict=False)


def one_group(pattern: str) -> str:
    """Check a regular expression that keeps one part of a text."""
    if len(_groups(pattern)) != 1:
        raise ValueError("needs exactly one group in parentheses: the part to keep.")
    return pattern


WHOLE_LINE = "whole_line_"
"""The group around a pattern that is to match whole lines."""


def whole_line(pattern: str) -> str:
    """The regular expression of lines that match a pattern from their first to last character."""
    return f"^(?<{WHOLE_LINE}>{pattern})$"


def named_groups(pattern: str) -> list[str]:
    """The names of the groups of a regular expression that matches whole lines.

    Raises:
        ValueError: When it is none, or a group has no name.
    """
    names = _groups(pattern)
    if not names:
        raise ValueError("has no group. Write (?<name>...) around each column.")
    if unnamed := ", ".join(f"number {name}" for name in names if name.isdecimal()):
        raise ValueError(
            f"has groups without a name ({unnamed}). Write (?<name>...) around a column, and "
            "(?:...) around what is none."
        )
    try:
        _groups(whole_line(pattern))
    except ValueError:
        raise ValueError("cannot stand inside a group. Remove a comment at its end.") from None
    return names


def _groups(pattern: str) -> list[str]:
    """The groups of a regular expression; those without a name are called by their number."""
    try:
        found = pl.Series([""]).str.extract_groups(pattern)
    except pl.exceptions.ComputeError as error:
        *_, reason = str(error).strip().splitlines()
        raise ValueError(f"not a regular expression: {reason.removeprefix('error: ')}.") from None
    return list(found.struct.fields)


def template(text: str) -> str:
    """Check a template such as `{year}-{month}`."""
    try:
        fields = [field for _, *field in Formatter().parse(text) if field[0] is not None]
    except ValueError as error:
        raise ValueError(f"{error}; write {{column}}, and {{{{ for a brace.") from None
    if not fields:
        raise ValueError("names no {column}. Use `constant` for a fixed text.")
    if any(not name or spec or conversion for name, spec, conversion in fields):
        raise ValueError("write each column as {name}, with nothing else inside the braces.")
    return text
