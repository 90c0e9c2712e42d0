"""How a repair file is laid out: CSV in its source's dialect, or JSON Lines; both ways."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import polars as pl

from spanner_pipeline.configuration.layout import Delimited
from spanner_pipeline.configuration.source import Source
from spanner_pipeline.errors import PipelineError
from spanner_pipeline.sources.rows import is_json, raw
from spanner_pipeline.sources.texts import is_number

ROW, ORIGINAL = "rejected_row", "original_row"
BESIDE = (ROW, "reason_code", "field", "hint", ORIGINAL)
"""The columns beside the source's own: which row it is, why it was rejected, and, of a row that
does not have the layout, its text."""
BESIDE_JSON = "quarantine"
"""The key that holds them in a JSON object."""

_JSON_BESIDE = rf',?\s*"{BESIDE_JSON}"\s*:\s*\{{(?:[^{{}}"]|"(?:[^"\\]|\\.)*")*\}}'


class RepairRefusedError(PipelineError):
    """A repair file is not what was written, or the rows in it are not rejected any more."""


def refused(path: Path, line: int | None, problem: str, remedy: str) -> RepairRefusedError:
    """The error about a repair file: where, what and the remedy."""
    where = f"{path.name}:{line}" if line is not None else path.name
    return RepairRefusedError(f"{where}: {problem}. Remedy: {remedy}.")


def ending(source: Source) -> str:
    """How the name of a repair file of a source ends."""
    return "jsonl" if is_json(source) else "csv"


def written(source: Source, rows: pl.DataFrame, *, first: bool) -> bytes:
    """Rows with the columns of their family and those of `BESIDE`, as a repair file has them.

    Args:
        source: Their source.
        rows: The rows.
        first: Whether they begin the file.
    """
    return _as_json(rows) if is_json(source) else _as_csv(source, rows, header=first)


def read(source: Source, path: Path) -> pl.DataFrame:
    """The rows of a repair file: `_at`, its line; `ROW`; and `raw.*`, or `original` of JSON.

    Raises:
        RepairRefusedError: When it cannot be read, or does not say which row is which.
    """
    return _read_json(path) if is_json(source) else _read_csv(source, path)


def fields_of(rows: pl.DataFrame) -> list[str]:
    """The columns of a family's rows that are the source's own."""
    return [name for name in rows.columns if name.startswith(raw(""))]


def _as_csv(source: Source, rows: pl.DataFrame, *, header: bool) -> bytes:
    fields = fields_of(rows)
    names = _beside(fields)
    told = rows.select(
        *(pl.col(name).alias(name.removeprefix(raw(""))) for name in fields),
        *(pl.col(name).alias(names[name]) for name in BESIDE),
    )
    separator, quote = dialect(source)
    text = told.select(_harmless(pl.col(name)).alias(name) for name in told.columns).write_csv(
        include_header=header, include_bom=header, separator=separator, quote_char=quote
    )
    return text.encode()


def _beside(fields: Sequence[str]) -> dict[str, str]:
    """What the columns beside are called, where the source has one of the same name."""
    taken = {name.removeprefix(raw("")) for name in fields}
    return {name: name if name not in taken else f"quarantine_{name}" for name in BESIDE}


def _harmless(text: pl.Expr) -> pl.Expr:
    """A cell that no spreadsheet takes for a formula; `_as_it_was` undoes it."""
    formula = text.str.contains(r"^'*[=+\-@\t\r]") & ~is_number(text)
    return pl.when(formula).then(pl.lit("'") + text).otherwise(text)


def _as_it_was(text: pl.Expr) -> pl.Expr:
    return pl.when(text.str.contains(r"^'+[=+\-@\t\r]")).then(text.str.slice(1)).otherwise(text)


def dialect(source: Source) -> tuple[str, str]:
    """Separator and quote of a source's repair files in CSV."""
    if isinstance(source.format, Delimited):
        return source.format.separator, source.format.quote or '"'
    return ",", '"'


def _as_json(rows: pl.DataFrame) -> bytes:
    beside = rows.select(pl.struct(*BESIDE).struct.json_encode())
    body = pl.when("malformed").then(pl.lit("{")).otherwise(without_end(pl.col("original")))
    comma = pl.when(body == "{").then(pl.lit("")).otherwise(pl.lit(", "))
    told = rows.with_columns(beside.to_series().alias("_beside")).select(
        pl.concat_str(body, comma, pl.lit(f'"{BESIDE_JSON}": '), "_beside", pl.lit("}\n"))
    )
    return "".join(told.to_series()).encode()


def without_end(text: pl.Expr) -> pl.Expr:
    """A JSON object up to its closing brace, without blanks before that."""
    return text.str.strip_chars().str.strip_suffix("}").str.strip_chars_end()


def _read_csv(source: Source, path: Path) -> pl.DataFrame:
    separator, quote = dialect(source)
    try:
        rows = pl.read_csv(
            path,
            separator=separator,
            quote_char=quote,
            infer_schema=False,
            empty_string_is_null=False,
        )
    except (OSError, pl.exceptions.PolarsError) as error:
        raise refused(
            path,
            None,
            f"cannot be read: {str(error).splitlines()[0]}",
            f"save it as UTF-8 CSV with the separator `{separator}`",
        ) from error
    prefixed = {name: f"quarantine_{name}" for name in BESIDE}
    names = {name: other if other in rows.columns else name for name, other in prefixed.items()}
    marks = list(names.values())
    if names[ROW] not in rows.columns:
        raise refused(path, 1, f"has no column `{ROW}`", "put it back: it says which row is which")
    return rows.select(
        pl.int_range(2, pl.len() + 2).alias("_at"),
        pl.col(names[ROW]).alias(ROW),
        *(_as_it_was(pl.col(name)).alias(raw(name)) for name in rows.columns if name not in marks),
    )


def _read_json(path: Path) -> pl.DataFrame:
    try:
        lines = path.read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise refused(path, None, f"cannot be read: {error}", "save it as UTF-8") from error
    rows: list[tuple[int, str, str]] = []
    for at, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            beside = json.loads(line)[BESIDE_JSON][ROW]
        except (ValueError, KeyError, TypeError):
            raise refused(
                path,
                at,
                f"is no JSON object with `{BESIDE_JSON}.{ROW}`",
                "mend it; one row is one line",
            ) from None
        rows.append((at, str(beside), line.strip()))
    frame = pl.DataFrame(rows, ["_at", ROW, "original"], orient="row")
    bare = pl.col("original").str.replace(_JSON_BESIDE, "")
    return frame.with_columns(bare.str.replace(r"^\{\s*,\s*", "{").alias("original"))
