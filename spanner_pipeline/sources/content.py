"""What rows hold, as one text each, so that rows can be told apart and counted."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl


def joined(fields: Sequence[str]) -> pl.Expr:
    """All fields with their lengths, in the order of their names, which an export may change.

    No two different rows read the same.
    """
    parts: list[pl.Expr] = []
    for name in sorted(fields):
        length = pl.col(name).str.len_bytes().cast(pl.String)
        parts += [length.fill_null("-"), pl.lit(":"), pl.col(name).fill_null("")]
    return pl.concat_str(parts)
