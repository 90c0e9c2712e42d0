"""The YAML of a source that a profile speaks for, with its evidence in comments.

What only a person can know is left as `???`, or left out: loading the file names each such key.
"""

from __future__ import annotations

import json
import re
import textwrap
from collections.abc import Iterator
from pathlib import Path

from spanner_pipeline.configuration.layout import Delimited, Format, TextLayout
from spanner_pipeline.configuration.values import ISO8601, IdentityPart
from spanner_pipeline.profiling.choice import counted
from spanner_pipeline.profiling.columns import Column, null_words
from spanner_pipeline.profiling.examine import Profile

OPEN = "???"
"""Stands where only a person can choose; no key takes it."""

_WIDTH = 98
_INDENT = 4
_LISTED = 8
_DATE = re.compile(
    r"(?<!\d)((?:19|20)\d\d)([-_]?)(0[1-9]|1[0-2])(?:\2(0[1-9]|[12]\d|3[01]))?(?!\d)"
)


def propose(profile: Profile, name: str, files: str) -> str:
    """Write the YAML of a source.

    Args:
        profile: What is known of its file.
        name: What the source is called.
        files: The file as the source shall name it: relative to the data root, or whole.
    """
    return "\n".join([*_delivery(profile, name, files), *_usage(profile)]) + "\n"


def source_name(path: Path) -> str:
    """A source's name made from that of a file: without dates and endings."""
    stem = _DATE.sub("", path.name.split(".")[0])
    name = re.sub(r"[^A-Za-z0-9]+", "_", stem).strip("_").lower()
    return name[:64] if re.match(r"[a-z]", name) else f"source_{name}"[:64].rstrip("_")


def _delivery(profile: Profile, name: str, files: str) -> Iterator[str]:
    stored = profile.stored
    yield from _comment(
        f"Proposed from {counted(stored.rows, 'row')} of {Path(files).name}. Replace each {OPEN} "
        "and add what is missing: only you can know it. `spanner-pipeline sources check` names "
        "what is left.",
        0,
    )
    yield f"source: {_scalar(name)}"
    words = null_words(profile.columns)
    yield f"format: {_format(stored.layout, words)}"
    if words:
        listed = ", ".join(f"`{word}`" for word in words)
        yield from _comment(
            f"{listed} stand for nothing, in all columns. Remove what is a value.", 0
        )
    if profile.seems_headless:
        yield from _comment(
            "Line 1 looks like a row, not like names: add a line of names first.", 0
        )
    if stored.unreachable:
        yield from _comment(
            f"{counted(len(stored.unreachable), 'key')} cannot be named by a path, such as "
            f"{stored.unreachable[0]}.",
            0,
        )
    if stored.malformed:
        yield from _comment(
            f"Rows that are not laid out so: {stored.malformed:,}, the first in line "
            f"{stored.first_malformed}. They are rejected and kept.",
            0,
        )
    # A brace would be a placeholder, and the others wildcards.
    yield f"files: {_scalar(re.sub(r'[][{}*?]', '?', files))}"
    yield "partitions: {grain: whole}"
    yield from _period(files)
    yield from _zone(profile)
    yield from _identity(profile)


def _usage(profile: Profile) -> Iterator[str]:
    yield "usage:"
    yield f"  - meter: {OPEN}"
    yield from _comment("Which of the meters in meters/ counts this usage?")
    yield from _subject(profile)
    yield from _quantity(profile)
    yield from _timestamp(profile)
    if columns := profile.roles.dimensions:
        listed = ", ".join(f"{c.name} ({c.distinct})" for c in columns[:_LISTED])
        more = f" and {len(columns) - _LISTED} more" if columns[_LISTED:] else ""
        yield from _comment(f"May be dimensions, with the number of values: {listed}{more}.")


def _comment(text: str, indent: int = _INDENT) -> Iterator[str]:
    """Lines of a comment: what a file holds, a line break too, stays behind the sign."""
    margin = " " * indent + "# "
    lines = textwrap.wrap(text, _WIDTH - len(margin), break_on_hyphens=False)
    yield from (margin + line for line in lines)


def _scalar(text: str) -> str:
    plain = re.fullmatch(r"[A-Za-z_]([\w./ -]*[\w/])?", text, re.ASCII)
    return text if plain and text != "null" else json.dumps(text, ensure_ascii=False)


def _mapping(pairs: dict[str, str]) -> str:
    return "{" + ", ".join(f"{key}: {value}" for key, value in pairs.items()) + "}"


def _format(layout: Format, words: tuple[str, ...]) -> str:
    pairs: dict[str, str] = {"family": layout.family}
    if isinstance(layout, Delimited):
        pairs |= {"separator": json.dumps(layout.separator)} if layout.separator != "," else {}
        pairs |= {"quote": json.dumps(layout.quote)} if layout.quote != '"' else {}
    if layout.family == "access_log":
        pairs["layout"] = layout.layout
    if layout.family == "json" and layout.rows:
        pairs["rows"] = json.dumps(layout.rows)
    if isinstance(layout, TextLayout) and layout.encoding != "utf-8":
        pairs["encoding"] = layout.encoding
    if words:
        pairs["nulls"] = json.dumps(["", *words], ensure_ascii=False)
    return _mapping(pairs)


def _period(files: str) -> Iterator[str]:
    name = Path(files).name
    found = _DATE.search(name)
    if found is None:
        return
    year, sign, month, day = found.groups()
    grain, date = ("day", f"{year}-{month}-{day}") if day else ("month", f"{year}-{month}")
    pattern = sign.join(["{year}", "{month}", *(["{day}"] if day else [])])
    many = name[: found.start()] + pattern + name[found.end() :]
    yield from _comment(
        f"One file a {grain}? Then write {many} under `files`, and "
        f"`partitions: {{grain: {grain}, from: {date}}}`.",
        0,
    )


def _zone(profile: Profile) -> Iterator[str]:
    time = profile.roles.timestamp
    if time is None or time.kind.time is None or time.kind.aware:
        return
    if time.kind.time.formats[0].endswith(" UTC"):
        yield "zone: UTC"
        return
    yield f"zone: {OPEN}"
    yield from _comment(
        f"{time.name} names no offset. Whose clock was it? An IANA name such as Europe/Berlin, or "
        "UTC; a file does not say it.",
        0,
    )
    for hours in profile.hours:
        if hours.ruled_out:
            yield from _comment(
                f"Not {hours.zone}: it skipped hours such as {hours.first}, in which "
                f"{counted(hours.rows, 'row')} stand{'s' * (hours.rows == 1)}.",
                0,
            )
    if fits := [hours.zone for hours in profile.hours if not hours.ruled_out]:
        yield from _comment(
            f"It may be {' or '.join(fits)}: no row stands in an hour that its clock skipped.", 0
        )


def _identity(profile: Profile) -> Iterator[str]:
    choice = profile.choice
    if choice.key is None:
        yield "identity: multiset"
    elif len(choice.parts) == 1:
        yield f"identity: {{native: {_part(choice.parts[0])}}}"
    else:
        yield "identity:"
        yield "  composite:"
        yield from (f"    - {_part(part)}" for part in choice.parts)
    for reason in choice.reasons:
        yield from _comment(reason, 0)


def _part(part: IdentityPart) -> str:
    assert part.column is not None
    if part.type == "text":
        return _scalar(part.column)
    pairs = {"column": _scalar(part.column), "type": part.type}
    if part.formats[0] != ISO8601:
        pairs["format"] = _scalar(part.formats[0])
    return _mapping(pairs)


def _others(columns: tuple[Column, ...], chosen: Column | None) -> list[str]:
    return [column.name for column in columns if column is not chosen]


def _subject(profile: Profile) -> Iterator[str]:
    subject = profile.roles.subject
    if subject is None:
        yield from _comment(
            "subject: whose usage is it? No column is named like a customer. Write a column, or "
            '{column: source_file, extract: "..."} where the name of the file says it.'
        )
        return
    yield f"    subject: {_scalar(subject.name)}"
    yield from _comment(f"{counted(subject.distinct, 'value')}: {', '.join(subject.examples)}.")
    if subject.nulls:
        yield from _comment(
            f"Empty in {counted(subject.nulls, 'row')}: rejected; `where: "
            f"{{{_scalar(subject.name)}: {{present: true}}}}` leaves them out."
        )
    if others := _others(profile.roles.subjects, subject):
        yield from _comment(f"Or: {', '.join(others)}.")


def _quantity(profile: Profile) -> Iterator[str]:
    quantity = profile.roles.quantity
    if profile.stored.layout.family == "access_log":
        yield "    quantity: 1"
        yield from _comment("One request a line. Or: bytes.")
        return
    others = _others(profile.roles.quantities, quantity)
    if quantity is None:
        listed = ", ".join(others) or "no column is named like one"
        yield from _comment(f"quantity: how much? 1, where each row is one unit. Or: {listed}.")
        return
    yield f"    quantity: {_spelling(quantity)}"
    yield from _of_quantity(quantity)
    yield from _comment(f"Or: {', '.join(others)}{', or ' if others else ''}1 for each row.")


def _spelling(column: Column) -> str:
    pairs = {"column": _scalar(column.name)}
    if column.kind.decimal != ".":
        pairs["decimal"] = json.dumps(column.kind.decimal)
    if column.kind.thousands:
        pairs["thousands"] = json.dumps(OPEN if column.others else column.kind.thousands)
    return _scalar(column.name) if len(pairs) == 1 else _mapping(pairs)


def _of_quantity(column: Column) -> Iterator[str]:
    span = f"from {column.shown(column.least)} to {column.shown(column.most)}"
    yield from _comment(f"{column.kind.label}, {span}.")
    if column.others:
        yield from _comment(
            f"Is {column.examples[0]} grouped by thousands, or has it a decimal comma? The file "
            "does not say it."
        )
    if column.not_positive:
        yield from _comment(
            f"{counted(column.not_positive, 'row')} at or below zero (voids, credits?): rejected, "
            "unless you declare `nonpositive: keep`."
        )
    if column.nulls:
        yield from _comment(f"Empty in {counted(column.nulls, 'row')}: rejected.")
    yield from _strays(column)


def _timestamp(profile: Profile) -> Iterator[str]:
    time = profile.roles.timestamp
    if time is None or time.kind.time is None:
        yield from _comment("timestamp: when was it? No column holds times.")
        return
    # Inside braces YAML takes a bare question mark for its own.
    format_ = json.dumps(OPEN) if time.others else _scalar(time.kind.time.formats[0])
    pairs = {"column": _scalar(time.name), "format": format_}
    yield f"    timestamp: {_scalar(time.name) if format_ == ISO8601 else _mapping(pairs)}"
    yield from _comment(f"From {time.shown(time.least)} to {time.shown(time.most)}.")
    if time.others:
        formats = [
            kind.time.formats[0] for kind in (time.kind, *time.others) if kind.time is not None
        ]
        yield from _comment(f"All rows can be read as {' or '.join(formats)}. Which is it?")
    yield from _strays(time)
    if time.finer:
        yield from _comment(f"Finer than a microsecond in {counted(time.finer, 'row')}: rejected.")
    if others := _others(profile.roles.timestamps, time):
        yield from _comment(f"Or: {', '.join(others)}.")


def _strays(column: Column) -> Iterator[str]:
    if column.strays:
        yield from _comment(
            f"Something else in {counted(column.strays, 'row')}, such as {column.stray}."
        )
