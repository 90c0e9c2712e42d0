"""Avro object container files: each record becomes a JSON object of exact texts.

Decimals and times are spelled here, from the integers that are stored: fastavro would round a
decimal that has more digits than its schema says, and refuse a time after the year 9999. Avro marks
no end, so a file that is cut off between two blocks looks whole; `expect` finds its missing rows.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import fastavro
import fastavro.read
import polars as pl

from spanner_pipeline.configuration.layout import Avro
from spanner_pipeline.errors import SourceFileError
from spanner_pipeline.sources.avro_blocks import LARGEST_BLOCK, PlainBlocks, UnreadableBlockError
from spanner_pipeline.sources.files import SourceFile
from spanner_pipeline.sources.json_lines import parse_objects
from spanner_pipeline.sources.typed import text_of_bytes

BATCH_ROWS = 20_000
_EPOCH = datetime(1970, 1, 1)
_YEARS = (-62_135_596_800, 253_402_300_799)
"""The first and the last second of the years 1 to 9999."""

_LONGEST_SCALE = 1000
"""Digits after the point beyond which a decimal is not written out."""


def read_rows(file: SourceFile, layout: Avro, needed: Sequence[str]) -> Iterator[pl.DataFrame]:
    """Yield `line` (number of the record), `original` (as JSON), and what JSON Lines yields.

    Raises:
        SourceFileError: When it is no whole Avro file, its codec is unknown, or its records can
            hold themselves.
    """
    line = 1
    try:
        with file.path.open("rb") as stored:
            blocks = fastavro.block_reader(PlainBlocks(stored, _with_own_types))  # type: ignore[arg-type]
            _refuse_recursion(file, blocks.writer_schema)
            _refuse_lists_of_nothing(file, blocks.writer_schema)
            for block in blocks:
                for rows in _in_parts(block):
                    lines = pl.int_range(line, line + len(rows), dtype=pl.Int64, eager=True)
                    line += len(rows)
                    batch = pl.DataFrame({"line": lines, "original": rows})
                    yield parse_objects(batch, needed)
    except SourceFileError:
        raise
    except Exception as error:  # fastavro raises whatever its parts do over damaged bytes
        said = str(error) if isinstance(error, UnreadableBlockError) else repr(error)
        raise SourceFileError(
            file.name,
            f"is no readable Avro file after its record {line - 1:,}, or is cut off: {said}.",
            "fetch it again from the old system, in blocks of up to "
            f"{LARGEST_BLOCK >> 20} MiB; the codecs null, deflate, bzip2 and xz are known.",
        ) from error


def _in_parts(records: Any) -> Iterator[list[str]]:
    part: list[str] = []
    for record in records:
        part.append(json.dumps(_texts(record), ensure_ascii=False, separators=(",", ":")))
        if len(part) == BATCH_ROWS:
            yield part
            part = []
    if part:
        yield part


def _texts(value: Any) -> Any:
    """A value with all that JSON does not have, or would not keep exact, as text."""
    if value is None or isinstance(value, str | bool | int):
        return value
    if isinstance(value, dict):
        return {str(key): _texts(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_texts(one) for one in value]
    if isinstance(value, bytes):
        return text_of_bytes(value)
    return str(value).removesuffix(".0") if isinstance(value, float) else str(value)


def _refuse_recursion(file: SourceFile, schema: Any, within: tuple[str, ...] = ()) -> None:
    """Records inside themselves could be nested deeper than the process can follow."""
    if isinstance(schema, str) and schema in within:
        raise SourceFileError(
            file.name,
            f"has records `{schema}` that can hold themselves.",
            "export flat rows from the old system.",
        )
    if isinstance(schema, list):
        for one in schema:
            _refuse_recursion(file, one, within)
    if isinstance(schema, dict):
        inside = (*within, schema["name"]) if "name" in schema and "fields" in schema else within
        below = [field["type"] for field in schema.get("fields", ())]
        for one in (*below, *(schema[key] for key in ("type", "items", "values") if key in schema)):
            _refuse_recursion(file, one, inside)


def _refuse_lists_of_nothing(file: SourceFile, schema: Any) -> None:
    """A list of values that take no bytes may say that it has any number of them."""
    schemas = list(_within(schema))
    named = {one["name"]: one for one in schemas if isinstance(one, dict) and "name" in one}

    def is_nothing(one: Any) -> bool:
        kind = one.get("type") if isinstance(one, dict) else one
        if kind == "record":
            return all(is_nothing(field["type"]) for field in one["fields"])
        if kind == "fixed":
            return bool(one["size"] == 0)
        return kind == "null" or (
            isinstance(kind, str) and kind in named and is_nothing(named[kind])
        )

    for one in schemas:
        if isinstance(one, dict) and one.get("type") == "array" and is_nothing(one["items"]):
            raise SourceFileError(
                file.name,
                "has lists of values that hold nothing.",
                "export flat rows from the old system.",
            )


def _within(schema: Any) -> Iterator[Any]:
    """A schema and all schemas in it."""
    yield schema
    below: list[Any] = schema if isinstance(schema, list) else []
    if isinstance(schema, dict):
        below = [field["type"] for field in schema.get("fields", ())]
        below += [schema[key] for key in ("type", "items", "values") if key in schema]
    for one in below:
        yield from _within(one)


def _with_own_types(schema: Any) -> Any:
    """A schema with decimals and times under names of ours, so that nobody else's are changed."""
    if isinstance(schema, list):
        return [_with_own_types(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    own = {key: _with_own_types(value) for key, value in schema.items()}
    if f"{schema.get('type')}-{_OWN}{schema.get('logicalType')}" in _SPELLED:
        own["logicalType"] = f"{_OWN}{schema['logicalType']}"
    return own


def _decimal(stored: bytes, schema: Any, _: Any = None) -> str:
    unscaled, scale = int.from_bytes(stored, "big", signed=True), schema.get("scale", 0)
    if scale > _LONGEST_SCALE:
        return f"{unscaled}E-{scale}"
    digits = tuple(map(int, str(abs(unscaled))))
    text = f"{Decimal((int(unscaled < 0), digits, -scale)):f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def _time_of(decimals: int, zone: str) -> Any:
    """What spells a count since 1970 with this many decimals of a second."""

    def spell(stored: int, _: Any = None, __: Any = None) -> str:
        seconds, fraction = divmod(stored, 10**decimals)
        if not _YEARS[0] <= seconds <= _YEARS[1]:
            return str(stored)  # no time, and so a row to reject
        moment = _EPOCH + timedelta(seconds=seconds)
        return f"{moment.isoformat()}.{fraction * 10 ** (9 - decimals):09d}{zone}"

    return spell


_OWN = "spanner-"
_SPELLED: dict[str, Any] = {
    f"bytes-{_OWN}decimal": _decimal,
    f"fixed-{_OWN}decimal": _decimal,
    **{
        f"long-{_OWN}{local}timestamp-{unit}": _time_of(decimals, "" if local else "Z")
        for unit, decimals in (("millis", 3), ("micros", 6), ("nanos", 9))
        for local in ("", "local-")
    },
}
fastavro.read.LOGICAL_READERS.update(_SPELLED)
