"""Quantities times declared factors, exactly: whole numbers times whole numbers, and powers of ten.

Belongs here: the product's text. Not here: whether it fits the meter (`texts.exact_decimal`).
"""

from __future__ import annotations

from decimal import Decimal

import polars as pl

from spanner_pipeline.configuration.quantity import Quantity
from spanner_pipeline.configuration.units import Unit, whole_and_power
from spanner_pipeline.meters import MAX_PRECISION

UNIT_TEXT = "text.unit"
"""The column with the text of a row's unit, where the source declares units."""


def is_known(unit: Unit) -> pl.Expr:
    """Whether a row's unit has a factor."""
    return pl.col(UNIT_TEXT).is_in(list(unit.factors)).fill_null(value=False)


def multiplied(quantity: Quantity, text: pl.Expr) -> pl.Expr:
    """The text of a plain number times its row's factor.

    Null where its unit has no factor, and where the digits of both are more than can be multiplied
    exactly, 38 in all; most such products do not fit a meter either.
    """
    number, power, width = _factors(quantity)
    mantissa = text.str.extract(r"^[+-]?([^eE]*)")
    exponent = text.str.extract(r"[eE]\+?(-?[0-9]+)$").cast(pl.Int32).fill_null(0)
    fraction = mantissa.str.extract(r"\.([0-9]*)$").fill_null("")
    digits = mantissa.str.replace(".", "", literal=True).str.strip_chars_start("0")
    kept = digits.str.strip_chars_end("0")
    moved = digits.str.len_chars().cast(pl.Int32) - kept.str.len_chars().cast(pl.Int32)
    moved += exponent - fraction.str.len_chars().cast(pl.Int32) + power
    # Polars wraps a product that overflows, so that none may.
    exact = pl.when(kept.str.len_chars() + width <= MAX_PRECISION).then(kept)
    product = exact.cast(pl.Int128, strict=False) * number
    sign = pl.when(text.str.starts_with("-")).then(pl.lit("-")).otherwise(pl.lit(""))
    spelled = pl.concat_str(sign, product.cast(pl.String), pl.lit("E"), moved.cast(pl.String))
    return pl.when((kept == "") & number.is_not_null()).then(pl.lit("0")).otherwise(spelled)


def _factors(quantity: Quantity) -> tuple[pl.Expr, pl.Expr, pl.Expr]:
    """Each row's factor: its whole number, its power of ten, and its digits as a limit."""
    if quantity.unit is None:
        number, power, width = _parts(quantity.factor or Decimal(1))
        whole = pl.lit(number, dtype=pl.Int128)
        return whole, pl.lit(power, dtype=pl.Int32), pl.lit(width, dtype=pl.UInt32)
    parts = {name: _parts(factor) for name, factor in quantity.unit.factors.items()}

    def chosen(index: int, dtype: pl.DataType) -> pl.Expr:
        by_unit = {name: part[index] for name, part in parts.items()}
        return pl.col(UNIT_TEXT).replace_strict(by_unit, default=None, return_dtype=dtype)

    whole = chosen(0, pl.Int64()).cast(pl.Int128)
    return whole, chosen(1, pl.Int32()), chosen(2, pl.UInt32())


def _parts(factor: Decimal) -> tuple[int, int, int]:
    number, power = whole_and_power(factor)
    return number, power, 0 if number == 1 else len(str(number))
