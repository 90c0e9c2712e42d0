"""How a source's YAML names a quantity, and how its numbers are spelled.

Belongs here: the declaration and its checks. Not here: reading a number (`sources.numbers`).
"""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from spanner_pipeline.configuration.cumulative import Cumulative
from spanner_pipeline.configuration.units import Factor, Unit
from spanner_pipeline.configuration.values import Value
from spanner_pipeline.control import EXACT

NUMBER = re.compile(r"[+-]?[0-9]+(\.[0-9]+)?")
_PART_OF_NUMBERS = re.compile(r"[0-9A-Za-z+\-()]")


class Quantity(Value):
    """A quantity: a column, a constant number, an expression, or the exact sum of columns.

    How its numbers are spelled is declared, never guessed: `decimal` is the sign before the
    fraction; `thousands` the one between groups of three digits (a space stands for no-break spaces
    too, an apostrophe for a curly one); `negative` allows `(1.5)` or `1.5-` beside `-1.5`; `strip`
    lists signs to drop at either end, such as `$` or `%` (a percentage stays 12 for 12 %).
    `nonpositive: keep` lets zeros and negatives (voids, credits) into the lake; by default they are
    rejected, as Open Spanner does.
    `factor` multiplies every number, and `unit` each by the factor of its row's unit, exactly; the
    meter must hold the product to its last digit. Of a `sum`, each column is multiplied.
    Where an expression reads a column as a number, it is spelled as declared too.
    `cumulative` says that the number is the reading of a counter, and usage what it grew.
    """

    sum: tuple[str, ...] = ()
    null_as_zero: tuple[str, ...] = ()
    decimal: Literal[".", ","] = "."
    thousands: str = Field(default="", max_length=1)
    negative: Literal["minus", "parentheses", "trailing_minus"] = "minus"
    strip: tuple[str, ...] = ()
    nonpositive: Literal["reject", "keep"] = "reject"
    factor: Factor | None = None
    unit: Unit | None = None
    cumulative: Cumulative | None = None

    @model_validator(mode="before")
    @classmethod
    def _from_text(cls, given: Any) -> Any:
        if isinstance(given, str):
            return {"constant": given} if NUMBER.fullmatch(given) else {"column": given}
        return given

    @field_validator("thousands")
    @classmethod
    def _separates(cls, sign: str) -> str:
        if _PART_OF_NUMBERS.match(sign):
            raise ValueError("is part of numbers; use a sign such as `,` `.` `'` or a space.")
        return sign

    @field_validator("strip")
    @classmethod
    def _no_number(cls, signs: tuple[str, ...]) -> tuple[str, ...]:
        if any(not sign.strip() or re.search(r"[0-9.,+\-()]", sign) for sign in signs):
            raise ValueError("takes signs or words that no number is made of, such as `$` or EUR.")
        return signs

    @model_validator(mode="after")
    def _number(self) -> Quantity:
        if self.constant is not None and not NUMBER.fullmatch(self.constant):
            raise ValueError(f"the constant `{self.constant}` is not a number.")
        if self.constant is not None and self.spells_otherwise:
            raise ValueError("a constant is spelled plainly; remove how numbers are spelled.")
        if self.sum and (self.extract or self.map):
            raise ValueError("`sum` takes whole columns; remove `extract` and `map`.")
        if unknown := ", ".join(n for n in self.null_as_zero if n not in self.sum):
            raise ValueError(f"`null_as_zero` names {unknown}, which `sum` does not. Correct it.")
        if self.factor is not None and self.unit is not None:
            raise ValueError("has `factor` and `unit`; multiply the factors of the units instead.")
        if self.cumulative is not None and self.constant is not None:
            raise ValueError("is always the same, and no reading of a counter. Name a column.")
        if self.cumulative is not None and self.cumulative.rolls_over_at and self.unit is not None:
            raise ValueError(
                "has `unit` and `rolls_over_at`, and in which unit it rolls over is unknown. Give "
                "each unit a usage of its own with `where` and `factor`."
            )
        if self.thousands == self.decimal:
            raise ValueError(
                f"`thousands` and `decimal` are both `{self.decimal}`. Say which sign stands "
                "before the fraction: `decimal`."
            )
        return self

    def _origin_names(self) -> list[str]:
        return [*super()._origin_names(), "sum"]

    @property
    def spells_otherwise(self) -> bool:
        """Whether its numbers are spelled in another way than `-1234.5`."""
        return (self.decimal, self.thousands, self.negative, self.strip) != (".", "", "minus", ())

    @property
    def rolls_over_at(self) -> Decimal | None:
        """How many values its counters have, in the meter's unit; None where they do not say."""
        values = self.cumulative.rolls_over_at if self.cumulative is not None else None
        return None if values is None else EXACT.multiply(values, self.factor or Decimal(1))

    @property
    def columns(self) -> list[str]:
        """The source columns that this quantity reads."""
        unit = self.unit.columns if self.unit is not None else []
        counter = self.cumulative.columns if self.cumulative is not None else []
        return [*super().columns, *self.sum, *unit, *counter]
