"""Legacy ids become customers, as a lookup file pairs them."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field

import polars as pl

from spanner_pipeline.configuration.lookup import Lookup
from spanner_pipeline.errors import ConfigurationError, Problem
from spanner_pipeline.root import DataRoot

_FIRST_ROW = 2
_SHOWN = 10
"""How many mistakes of a file are told."""


@dataclass(frozen=True)
class Customers:
    """The pairs of one lookup file as it was read.

    Attributes:
        lookup: Its declaration.
        digest: SHA-256 of its bytes, in hexadecimal.
        pairs: `looked_up` (the legacy id, once each), `customer`, and `row`, a line that says so.
    """

    lookup: Lookup
    digest: str
    pairs: pl.DataFrame = field(repr=False, compare=False)

    def with_subject(self, frame: pl.DataFrame) -> pl.DataFrame:
        """Put the customer in the place of `subject`; null where its text has none."""
        pairs = self.pairs.drop("row")
        joined = frame.join(
            pairs, left_on="subject", right_on="looked_up", how="left", maintain_order="left"
        )
        return joined.with_columns(pl.col("customer").alias("subject")).drop("customer")


def read_customers(root: DataRoot, lookup: Lookup) -> Customers:
    """Read a lookup file, whole: it has a row a customer.

    Raises:
        ConfigurationError: When it cannot be read, lacks a column, a row lacks one of both texts,
            or two rows pair one id with different customers; names the lines.
    """
    try:
        content = (root.path / lookup.file).read_bytes()
    except OSError as error:
        raise _wrong(lookup, 1, "", f"cannot be read: {error.strerror}. Put it there.") from None
    try:
        table = pl.read_csv(content, infer_schema=False)
    except (pl.exceptions.PolarsError, UnicodeDecodeError) as error:
        message = f"is no CSV file in UTF-8 with a header: {str(error).splitlines()[0]}"
        raise _wrong(lookup, 1, "", message) from None
    for name in (lookup.key, lookup.value):
        if name not in table.columns:
            message = f"has no such column (found: {', '.join(table.columns)}). Correct `lookup`."
            raise _wrong(lookup, 1, name, message)
    pairs = table.select(
        pl.col(lookup.key).alias("looked_up"),
        pl.col(lookup.value).alias("customer"),
        (pl.int_range(pl.len()) + _FIRST_ROW).alias("row"),
    ).filter(pl.col("looked_up").is_not_null() | pl.col("customer").is_not_null())
    if problems := [*_incomplete(lookup, pairs), *_contradictory(lookup, pairs)][:_SHOWN]:
        raise ConfigurationError(problems)
    digest = hashlib.sha256(content).hexdigest()
    return Customers(lookup, digest, pairs.unique("looked_up", keep="first"))


def _incomplete(lookup: Lookup, pairs: pl.DataFrame) -> list[Problem]:
    problems = []
    for column, key in (("looked_up", lookup.key), ("customer", lookup.value)):
        empty = pairs.filter(pl.col(column).is_null() | (pl.col(column) == ""))
        problems += [
            Problem(lookup.file, row, key, "is empty. Fill it in, or remove the row.")
            for row in empty["row"].head(_SHOWN)
        ]
    return problems


def _contradictory(lookup: Lookup, pairs: pl.DataFrame) -> list[Problem]:
    twice = (
        pairs.drop_nulls()
        .filter(pl.col("customer").n_unique().over("looked_up") > 1)
        .group_by("looked_up", maintain_order=True)
        .agg("row", "customer")
        .head(_SHOWN)
    )
    problems = []
    for looked_up, rows, customers in twice.iter_rows():
        said = ", ".join(f"{c} in line {r}" for c, r in zip(customers, rows, strict=True))
        message = f"`{looked_up}` has different customers: {said}. Keep one."
        problems.append(Problem(lookup.file, rows[1], lookup.key, message))
    return problems


def _wrong(lookup: Lookup, line: int, key: str, message: str) -> ConfigurationError:
    return ConfigurationError([Problem(lookup.file, line, key, message)])
