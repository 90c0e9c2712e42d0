"""Meters, in the shape of Open Spanner's `POST /v1/meters`.

Belongs here: what a meter is and which values its dimensions take. Not here: how legacy rows
become usage events (`sources`), nor how events are checked against a meter (`validation`).
"""

from __future__ import annotations

from decimal import Decimal
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

Aggregation = Literal["sum", "count", "avg", "min", "max", "first", "last", "rate"]
DimensionType = Literal["string", "number", "boolean"]

MAX_PRECISION = 38
"""Digits of a quantity, before and after the point: the widest decimal of Arrow and Parquet."""

_DIMENSION_NAME = r"^[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*$"


class Dimension(BaseModel):
    """One dimension of a meter; `required` is true when omitted, as in Open Spanner."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(pattern=_DIMENSION_NAME)
    type: DimensionType
    required: bool = True
    display_name: str = ""
    description: str = ""
    deprecated: bool = False

    @field_validator("name")
    @classmethod
    def _not_reserved(cls, name: str) -> str:
        if name == "subject":
            raise ValueError("`subject` is reserved; every event has one. Choose another name.")
        return name

    @property
    def column(self) -> str:
        """The event column that holds this dimension."""
        return f"dim_{self.name}"

    @property
    def must_be_present(self) -> bool:
        """Whether an event without this dimension is refused (deprecation lifts `required`)."""
        return self.required and not self.deprecated


class Meter(BaseModel):
    """What is counted, in which unit, and how events aggregate.

    `decimals` is ours: how many digits after the point a quantity of this meter may have. More
    are rejected by name, never rounded.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(min_length=1, max_length=200)
    description: str = ""
    unit: str = Field(min_length=1)
    aggregation: Aggregation = "sum"
    dimensions: tuple[Dimension, ...] = ()
    event_retention_days: int = Field(default=90, ge=0, le=3650)
    decimals: int = Field(default=9, ge=0, le=18)

    @field_validator("name", "unit")
    @classmethod
    def _trimmed(cls, text: str) -> str:
        if text != text.strip():
            raise ValueError("starts or ends with white space, which Open Spanner trims. Remove it")
        return text

    @model_validator(mode="after")
    def _distinct_dimensions(self) -> Meter:
        names = [dimension.name.lower() for dimension in self.dimensions]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(
                    f"dimension `{name}` is declared twice (SQL takes no note of case). Keep one."
                )
        return self

    @property
    def quantity_type(self) -> str:
        """The SQL type of this meter's quantities."""
        return f"DECIMAL({MAX_PRECISION}, {self.decimals})"


def fits(number: Decimal, meter: Meter) -> bool:
    """Whether a meter can hold a number to its last digit, and twice it."""
    _, digits, exponent = number.as_tuple()
    assert isinstance(exponent, int)
    zeros = len(digits) - len("".join(map(str, digits)).rstrip("0"))
    whole = max(len(digits) + exponent, 1)
    return whole + 1 + meter.decimals <= MAX_PRECISION and exponent + zeros >= -meter.decimals
