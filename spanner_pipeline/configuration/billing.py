"""The YAML of a billing total: what the old system says was used, and how to compare it.

Belongs here: the declaration and its checks. Not here: reading totals or comparing them
(`reconciliation`).
"""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from spanner_pipeline.configuration import patterns
from spanner_pipeline.configuration.expression import columns_of
from spanner_pipeline.configuration.lookup import Account
from spanner_pipeline.configuration.quantity import Quantity
from spanner_pipeline.configuration.values import (
    EPOCHS,
    ISO8601,
    Condition,
    Filter,
    Share,
    Strict,
    Value,
    complete_date,
    known_zone,
)

Grain = Literal["day", "month", "year"]


class Period(Strict):
    """The period that an old total covers, on the clock of `zone`.

    Either the calendar's (`column` with `grain`), or from `start` to `end` (a time or the first day
    after) or to `last` (its last day). `bounds` says which of its ends belongs to it; `from` and
    `to` say which periods are compared.
    """

    column: str | None = None
    grain: Grain | None = None
    start: str | None = None
    end: str | None = None
    last: str | None = None
    format: str = ""
    zone: Value
    bounds: Literal["[start, end)", "(start, end]"] = "[start, end)"
    from_: date | None = Field(default=None, alias="from")
    to: date | None = None

    @field_validator("zone", mode="before")
    @classmethod
    def _zone_or_column(cls, given: Any) -> Any:
        return {"constant": given} if isinstance(given, str) else given

    @field_validator("zone")
    @classmethod
    def _known(cls, zone: Value) -> Value:
        known_zone(zone.constant)
        return zone

    @field_validator("from_", "to", mode="before")
    @classmethod
    def _whole_date(cls, given: Any) -> Any:
        return complete_date(given) if isinstance(given, str) else given

    @model_validator(mode="after")
    def _one_kind(self) -> Period:
        ends = (self.end is not None) + (self.last is not None)
        if self.column is not None:
            if self.start or ends:
                raise ValueError("takes `column` with `grain`, or `start` with `end`, not both.")
            if self.grain is None:
                raise ValueError("needs `grain`: day, month or year.")
            if self.in_times:
                raise ValueError("is a calendar's; its `format` cannot have hours. Use `start`.")
        elif self.start is None or ends != 1:
            raise ValueError("needs `column` and `grain`, or `start` and one of `end` and `last`.")
        elif self.grain is not None:
            raise ValueError("has its own `start` and `end`; remove `grain`.")
        elif self.last is not None and self.in_times:
            raise ValueError("`last` is a day; its `format` cannot have hours. Use `end`.")
        if self.format and self.format != ISO8601 and "%d" in self.format:
            patterns.time_pattern(self.format)
        return self

    @property
    def pattern(self) -> str:
        """The format of its texts: declared, else what is usual for its kind."""
        return self.format or ("%Y-%m" if self.column is not None else "%Y-%m-%d")

    @property
    def in_times(self) -> bool:
        """Whether it begins and ends at times, not days."""
        return self.pattern == ISO8601 or self.pattern in EPOCHS or "%H" in self.pattern

    @property
    def columns(self) -> list[str]:
        """The source columns that it reads."""
        own = (self.column, self.start, self.end, self.last)
        return [*(name for name in own if name), *self.zone.columns]


class OldQuantity(Quantity):
    """A quantity on the old bill.

    `per: day` says that it is a daily mean over the period; `factor` how many of the meter's unit
    one of the bill's is, such as 1000 for a bill in thousands.
    """

    per: Literal["period", "day"] = "period"


class Subtotals(Strict):
    """Rows that repeat others: those that pass `where` are never added.

    Each must be the sum of the rows that share its texts in the columns `of`.
    """

    where: dict[str, Filter] = Field(min_length=1)
    of: tuple[str, ...] = ()

    @property
    def columns(self) -> list[str]:
        """The source columns that they read."""
        return [*self.where, *self.of]


class Tolerance(Strict):
    """How far an unexplained difference may go: in units (for each day with `per`), or relative."""

    absolute: Decimal = Field(default=Decimal(0), ge=0)
    relative: Share = Decimal(0)
    per: Literal["period", "day"] = "period"


class Thresholds(Strict):
    """What a comparison may have and still pass.

    Attributes:
        breaks: Numbers beyond tolerance; `any` where explained ones are welcome.
        unexplained: What no cause explains of the numbers beyond tolerance, as a share of the old
            total, cells not netted.
    """

    breaks: int | Literal["any"] = Field(default=0)
    unexplained: Share | None = None

    @field_validator("breaks", mode="before")
    @classmethod
    def _count(cls, given: Any) -> Any:
        if given != "any" and not (str(given).isdecimal()):
            raise ValueError("must be a whole number, or `any`.")
        return given if given == "any" else int(given)


class Retention(Strict):
    """That the old system forgot usage older than `days` when it was `exported`."""

    days: int = Field(ge=1)
    exported: date


class OldSystem(Strict):
    """What is known of how the old system counted. Each is tested as a cause, none is assumed.

    Attributes:
        closes_after: Days from the end of a period to the close of its bill; what was delivered
            later was not billed. Undeclared, each day of delivery is tried.
        retention: What it had forgotten when it was exported.
        zones: Clocks that it may have used, beside UTC and those that the bill and sources name.
    """

    closes_after: int | None = Field(default=None, ge=0)
    retention: Retention | None = None
    zones: tuple[str, ...] = ()

    @field_validator("zones")
    @classmethod
    def _known(cls, zones: tuple[str, ...]) -> tuple[str, ...]:
        for zone in zones:
            known_zone(zone)
        return zones


class BillingTotal(Strict):
    """What the old system says was used, to be compared with the lake.

    Attributes:
        where: Which rows of the old export are meant.
        condition: Which of them, as an expression.
        only: Which events of the meter are meant, by dimension.
        subject: Whose; without it totals are of all subjects.
        dimensions: Dimensions of the meter that a number is for, and where its row says so.
        quantity: How much: in the meter's unit, or in money where a `price` is given.
        price: What one unit of the meter cost; then usage times price is compared.
        amount: What the number cost, to say what a difference is worth.
    """

    name: str = Field(pattern=r"^[A-Za-z0-9_]+$")
    description: str = ""
    meter: str
    where: dict[str, Filter] = Field(default_factory=dict)
    condition: Condition | None = None
    only: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    subject: Account | None = None
    dimensions: dict[str, Value] = Field(default_factory=dict)
    period: Period
    quantity: OldQuantity
    price: Quantity | None = None
    amount: OldQuantity | None = None
    currency: str = ""
    subtotals: Subtotals | None = None
    tolerance: Tolerance = Tolerance()
    thresholds: Thresholds = Thresholds()
    severity: Literal["error", "warn"] = "error"
    old_system: OldSystem = OldSystem()

    @field_validator("only", mode="before")
    @classmethod
    def _lists(cls, given: Any) -> Any:
        if not isinstance(given, dict):
            return given
        return {name: [v] if isinstance(v, str) else v for name, v in given.items()}

    @model_validator(mode="after")
    def _once(self) -> BillingTotal:
        if both := ", ".join(name for name in self.dimensions if name in self.only):
            raise ValueError(f"`only` and `dimensions` both name {both}. Keep one.")
        numbers = (self.quantity, self.price, self.amount)
        if any(number is not None and number.cumulative is not None for number in numbers):
            raise ValueError("has totals of periods, which are no readings; remove `cumulative`.")
        if self.price is not None and self.amount is not None:
            raise ValueError("compares money already (`price`); remove `amount`.")
        return self

    @property
    def values(self) -> dict[str, Value]:
        """The values that a number is made of, by what messages call them."""
        optional: dict[str, Value | None] = {
            "subject": self.subject,
            "quantity": self.quantity,
            "unit": self.quantity.unit,
            "price": self.price,
            "amount": self.amount,
            "zone": self.period.zone,
            **{f"dimensions.{name}": value for name, value in self.dimensions.items()},
        }
        return {name: value for name, value in optional.items() if value is not None}

    @property
    def columns(self) -> list[str]:
        """The source columns that this comparison reads."""
        names = [name for value in self.values.values() for name in value.columns]
        subtotals = self.subtotals.columns if self.subtotals is not None else []
        filtered = [*self.where, *columns_of(self.condition)]
        return [*names, *self.period.columns, *filtered, *subtotals]
