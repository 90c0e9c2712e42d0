"""How a source's YAML says in which units its quantities are.

Belongs here: the declaration and its checks. Not here: multiplying (`sources.units`).
"""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Annotated, Any

from pydantic import BeforeValidator, Field

from spanner_pipeline.configuration.values import Value

FACTOR_DIGITS = 18
"""Digits that a factor may have, without the zeros at its ends."""

_FACTOR = re.compile(r"[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]{1,2})?")


def factor(given: Any) -> Decimal:
    """Read a factor such as 1024, 0.001 or 1e9.

    Raises:
        ValueError: When it is none, or not above 0, or too long.
    """
    text = str(given)
    if not _FACTOR.fullmatch(text) or Decimal(text) == 0:
        raise ValueError("a factor is a plain number above 0, such as 1024, 0.001 or 1e9.")
    number, _ = whole_and_power(Decimal(text))
    if len(str(number)) > FACTOR_DIGITS:
        raise ValueError(f"a factor has at most {FACTOR_DIGITS} digits between its outer zeros.")
    return Decimal(text)


Factor = Annotated[Decimal, BeforeValidator(factor)]


def whole_and_power(number: Decimal) -> tuple[int, int]:
    """Split a factor into a whole number that does not end in 0 and a power of ten, exactly."""
    _, digits, exponent = number.as_tuple()
    assert isinstance(exponent, int)
    text = "".join(str(digit) for digit in digits)
    kept = text.rstrip("0")
    return int(kept), exponent + len(text) - len(kept)


class Unit(Value):
    """The unit of each row's quantity, and by what each unit is multiplied to be the meter's.

    A row in a unit without a factor is rejected. Spelling counts: `Mb` is not `MB`.
    """

    factors: dict[str, Factor] = Field(min_length=1)
