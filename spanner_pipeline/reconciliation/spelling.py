"""How numbers, shares and texts are spelled, for people and for machines.

Belongs here: spelling alone. Nothing is computed that is not shown, and no digit gets lost: what is
rounded (shares, money, labels of pictures) says so by its shape.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from decimal import ROUND_HALF_EVEN, Decimal
from typing import Any

import polars as pl

from spanner_pipeline.usage.aggregations import ROUNDING

_UNITS = ((12, " T"), (9, " G"), (6, " M"), (3, " k"))
_HUGE = 15
_SUPERSCRIPTS = str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹")
_LONG = 18
_CENT = Decimal("0.01")
_RISKY = r"^[=+\-@\t\r\n]"


def plain(number: Decimal | None) -> str:
    """A number without exponent and needless zeros."""
    if number is None:
        return ""
    text = f"{number:f}"
    text = text.rstrip("0").rstrip(".") if "." in text else text
    return "0" if text in ("-0", "") else text


def grouped(number: Decimal | int | None) -> str:
    """A number for people: thousands separators, no needless zeros, a true minus sign."""
    if number is None:
        return "–"
    whole, _, fraction = plain(Decimal(number)).partition(".")
    sign, digits = ("−", whole[1:]) if whole.startswith("-") else ("", whole)
    text = f"{sign}{int(digits):,}"
    return f"{text}.{fraction}" if fraction else text


def signed(number: Decimal | None) -> str:
    """A difference for people, with its sign."""
    return grouped(number) if number is None or number <= 0 else f"+{grouped(number)}"


def money(number: Decimal | None) -> str:
    """A difference in money for people, with its sign and both its decimals."""
    if number is None:
        return "–"
    sign = "+" if number > 0 else "−" if number < 0 else ""
    return f"{sign}{number.copy_abs():,.2f}"


def counted(number: int, noun: str, plural: str = "") -> str:
    """So many of a thing, for people."""
    return f"{grouped(number)} {noun if number == 1 else plural or noun + 's'}"


def percent(part: Decimal, whole: Decimal) -> str:
    """A share for people, at two decimals or, if small, two digits; empty without a whole."""
    if whole == 0:
        return ""
    share = ROUNDING.divide(ROUNDING.multiply(part, Decimal(100)), whole.copy_abs())
    step = Decimal(1).scaleb(min(-2, share.adjusted() - 1) if share else 0)
    return f"{signed(share.quantize(step, ROUND_HALF_EVEN, ROUNDING))} %"


def worth(row: Mapping[str, Any]) -> Decimal | None:
    """What a difference is worth at the old bill's own price, in cents; None without one."""
    if row["amount"] is None or not row["old"] or row["difference"] is None:
        return None
    price = ROUNDING.divide(row["amount"], row["old"])
    value = ROUNDING.multiply(price, row["difference"])
    return value.quantize(_CENT, ROUND_HALF_EVEN, ROUNDING)


def short(number: Decimal) -> str:
    """A number for a label: at most two decimals, a unit or a power of ten."""
    if not number:
        return "0"
    size, unit = number.copy_abs(), ""
    if size.adjusted() >= _HUGE:
        power = size.adjusted()
        size, unit = ROUNDING.scaleb(size, -power), f" × 10{str(power).translate(_SUPERSCRIPTS)}"
    for power, letter in _UNITS:
        if size >= Decimal(10) ** power:
            size, unit = ROUNDING.scaleb(size, -power), letter
            break
    step = _CENT if size >= 1 else Decimal(1).scaleb(size.adjusted() - 1)
    text = grouped(size.quantize(step, ROUND_HALF_EVEN, ROUNDING))
    return f"{'−' if number < 0 else ''}{text}{unit}"


def places(numbers: Iterable[Decimal | None]) -> int:
    """How many digits after the point a column of numbers needs.

    None where a number is so long that it is broken into lines: then nothing can be aligned.
    """
    texts = [grouped(number) for number in numbers if number is not None]
    if any(map(is_long, texts)):
        return 0
    return max((len(text.partition(".")[2]) for text in texts), default=0)


def is_long(said: str) -> bool:
    """Whether a number for people may be broken, or it would push others off the paper."""
    return len(said) > _LONG


def padding(said: str, most: int) -> str:
    """What a number for people lacks to have `most` digits after the point, to align a column."""
    _, point, fraction = said.partition(".")
    return ("" if point or not most else ".") + "0" * (most - len(fraction))


def instant(time: datetime | None) -> str:
    """A time for people, to the second, or to its last digit."""
    if time is None:
        return "–"
    exact = "%Y-%m-%d %H:%M:%S.%f" if time.microsecond else "%Y-%m-%d %H:%M:%S"
    return f"{time.astimezone(UTC).strftime(exact)} UTC"


def disarmed(text: pl.Expr) -> pl.Expr:
    """Texts that no spreadsheet takes for a formula."""
    return pl.when(text.str.contains(_RISKY)).then(pl.concat_str(pl.lit("'"), text)).otherwise(text)


def exact_text(name: str) -> pl.Expr:
    """A decimal column as texts, spelled as `plain` does."""
    text = pl.col(name).cast(pl.String)
    cut = text.str.strip_chars_end("0").str.strip_chars_end(".")
    short_ = pl.when(text.str.contains(".", literal=True)).then(cut).otherwise(text)
    return short_.alias(name)
