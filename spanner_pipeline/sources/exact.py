"""Decimal arithmetic on whole columns: whole numbers times powers of ten, with up to 38 digits.

A number is a struct of `whole` (Int128, which does not end in 0) and `power` (of ten). What has
more digits is null, and nothing is rounded. Belongs here: arithmetic. Not here: whether a result
fits a meter (`texts`), nor what an expression says (`expressions`).
"""

from __future__ import annotations

import polars as pl

from spanner_pipeline.meters import MAX_PRECISION

NUMBER = pl.Struct({"whole": pl.Int128, "power": pl.Int32})
_LARGEST = 10**MAX_PRECISION - 1
_ZERO = pl.lit(0, dtype=pl.Int128)
_TENS = pl.Series("tens", [10**power for power in range(MAX_PRECISION + 1)], dtype=pl.Int128)


def read(text: pl.Series) -> pl.Series:
    """The numbers of plain texts, such as -1234.5 or 1E3; null where they have too many digits."""
    t = pl.col("text")
    mantissa = t.str.extract(r"^[+-]?([^eE]*)")
    frame = (
        text.alias("text")
        .to_frame()
        .with_columns(
            mantissa.str.extract(r"\.([0-9]*)$").fill_null("").str.len_chars().alias("places"),
            mantissa.str.replace(".", "", literal=True).str.strip_chars_start("0").alias("digits"),
            t.str.extract(r"[eE]\+?(-?[0-9]+)$").cast(pl.Int32).fill_null(0).alias("power"),
        )
    )
    kept = pl.col("digits").str.strip_chars_end("0")
    moved = pl.col("digits").str.len_chars().cast(pl.Int32) - kept.str.len_chars().cast(pl.Int32)
    spelled = pl.when(kept == "").then(pl.lit("0")).when(kept.str.len_chars() <= MAX_PRECISION)
    whole = spelled.then(kept).cast(pl.Int128)
    whole = pl.when(t.str.starts_with("-")).then(_ZERO - whole).otherwise(whole)
    power = pl.col("power") + moved - pl.col("places").cast(pl.Int32)
    return _number(frame, whole, pl.when(kept == "").then(0).otherwise(power))


def spell(numbers: pl.Series) -> pl.Series:
    """Plain texts; with an exponent only where more than 38 digits would have to be written."""
    whole, power = pl.col("whole"), pl.col("power")
    digits = whole.abs().cast(pl.String)
    sign = pl.when(whole < 0).then(pl.lit("-")).otherwise(pl.lit(""))
    shift = power.abs().clip(0, MAX_PRECISION).cast(pl.UInt32)
    zeros = pl.lit("0" * MAX_PRECISION).str.slice(0, shift)
    padded = digits.str.pad_start(MAX_PRECISION + 1, "0")
    before = padded.str.head(padded.str.len_chars().cast(pl.Int64) - shift.cast(pl.Int64))
    fraction = before.str.strip_chars_start("0")
    fraction = pl.when(fraction == "").then(pl.lit("0")).otherwise(fraction)
    fraction = pl.concat_str(fraction, pl.lit("."), padded.str.tail(shift))
    plain = (
        pl.when(power.is_between(0, MAX_PRECISION))
        .then(pl.concat_str(digits, zeros))
        .when(power.is_between(-MAX_PRECISION, -1))
        .then(fraction)
        .otherwise(pl.concat_str(digits, pl.lit("E"), power.cast(pl.String)))
    )
    text = pl.when(whole.is_not_null()).then(pl.concat_str(sign, plain))
    return _fields(numbers).select(text).to_series()


def _fields(numbers: pl.Series, name: str = "") -> pl.DataFrame:
    return pl.DataFrame(
        [numbers.struct.field(part).alias(f"{name}{part}") for part in ("whole", "power")]
    )


def _both(left: pl.Series, right: pl.Series) -> pl.DataFrame:
    return pl.concat([_fields(left, "a_"), _fields(right, "b_")], how="horizontal")


def _number(frame: pl.DataFrame, whole: pl.Expr, power: pl.Expr) -> pl.Series:
    fits = pl.col("whole").is_between(-_LARGEST, _LARGEST) & pl.col("power").is_not_null()
    both = frame.select(whole.alias("whole"), power.cast(pl.Int32).alias("power"))
    return both.select(pl.when(fits).then(pl.struct("whole", "power"))).to_series().cast(NUMBER)


def _ten_to(power: pl.Expr) -> pl.Expr:
    return pl.lit(_TENS).gather(power.clip(0, MAX_PRECISION).fill_null(0).cast(pl.Int64))


def _digits(whole: pl.Expr) -> pl.Expr:
    return whole.abs().cast(pl.String).str.len_chars().cast(pl.Int32)


def _without_zeros(frame: pl.DataFrame, whole: pl.Expr, power: pl.Expr) -> pl.Series:
    """A result whose whole number does not end in 0, so that equal numbers look alike."""
    frame = frame.select(whole.alias("w"), power.alias("p"))
    text = pl.col("w").cast(pl.String)
    moved = text.str.len_chars().cast(pl.Int32)
    moved -= text.str.strip_chars_end("0").str.len_chars().cast(pl.Int32)
    moved = pl.when(pl.col("w") == 0).then(0).otherwise(moved)
    frame = frame.with_columns(moved.alias("moved"))
    power = pl.when(pl.col("w") == 0).then(0).otherwise(pl.col("p") + pl.col("moved"))
    return _number(frame, pl.col("w") // _ten_to(pl.col("moved")), power)


def negative(numbers: pl.Series) -> pl.Series:
    """Each with the other sign."""
    return _number(_fields(numbers), _ZERO - pl.col("whole"), pl.col("power"))


def absolute(numbers: pl.Series) -> pl.Series:
    """Each without its sign."""
    return _number(_fields(numbers), pl.col("whole").abs(), pl.col("power"))


def add(left: pl.Series, right: pl.Series) -> pl.Series:
    """The sums."""
    frame = _both(left, right)
    for name, other in (("a", "b"), ("b", "a")):  # zero has any power of ten
        zero = pl.col(f"{name}_whole") == 0
        power = pl.when(zero).then(pl.col(f"{other}_power")).otherwise(pl.col(f"{name}_power"))
        frame = frame.with_columns(power.alias(f"{name}_at"))
    low = pl.min_horizontal("a_at", "b_at")
    terms = []
    for name in ("a", "b"):
        whole, shift = pl.col(f"{name}_whole"), pl.col(f"{name}_at") - low
        fits = (shift <= MAX_PRECISION) & (whole.abs() <= _LARGEST // _ten_to(shift))
        terms.append(pl.when(fits).then(whole * _ten_to(shift)))
    # Two terms below 10^38 wrap around, if at all, to what is beyond 38 digits too.
    known = pl.col("a_at").is_not_null() & pl.col("b_at").is_not_null()
    total = pl.when(known).then(terms[0] + terms[1])
    fitting = pl.when(total.is_between(-_LARGEST, _LARGEST)).then(total)
    return _without_zeros(frame, fitting, low)


def multiply(left: pl.Series, right: pl.Series) -> pl.Series:
    """The products."""
    frame = _both(left, right)
    a, b = pl.col("a_whole"), pl.col("b_whole")
    fits = (b == 0) | (a.abs() <= pl.lit(_LARGEST, dtype=pl.Int128) // b.abs())
    power = pl.col("a_power") + pl.col("b_power")
    return _without_zeros(frame, pl.when(fits).then(a * b), power)


def divide(left: pl.Series, right: pl.Series) -> pl.Series:
    """The quotients; null where one does not end within 38 digits, or the divisor is 0."""
    shift = MAX_PRECISION - _digits(pl.col("a_whole"))
    frame = _both(left, right).with_columns(shift.alias("shift"))
    dividend, by = pl.col("a_whole") * _ten_to(pl.col("shift")), pl.col("b_whole")
    frame = frame.with_columns(dividend.alias("dividend"))
    exact = (by != 0) & (pl.col("dividend") % by == 0)
    power = pl.col("a_power") - pl.col("shift") - pl.col("b_power")
    return _without_zeros(frame, pl.when(exact).then(pl.col("dividend") // by), power)


def compare(left: pl.Series, right: pl.Series) -> pl.Series:
    """-1 where the left is the smaller, 0 where they are equal, 1 where it is the larger."""
    frame = _both(left, right)
    signs, sizes, scaled = [], [], []
    for name in ("a", "b"):
        whole, digits = pl.col(f"{name}_whole"), _digits(pl.col(f"{name}_whole"))
        signs.append(whole.sign().cast(pl.Int32))
        sizes.append(digits + pl.col(f"{name}_power"))
        scaled.append(whole * _ten_to(MAX_PRECISION - digits))
    order = (
        pl.when(signs[0] != signs[1])
        .then((signs[0] - signs[1]).sign())
        .when(sizes[0] != sizes[1])
        .then((sizes[0] - sizes[1]).sign() * signs[0])
        .otherwise((scaled[0] - scaled[1]).sign().cast(pl.Int32))
    )
    known = pl.col("a_whole").is_not_null() & pl.col("b_whole").is_not_null()
    return frame.select(pl.when(known).then(order)).to_series()
