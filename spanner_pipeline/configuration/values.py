"""How a source's YAML names a value: a column, a constant, a template, a sum of columns.

Belongs here: the declarations. Not here: what they compute (`sources.mapping`).
"""

from __future__ import annotations

import re
from decimal import Decimal
from string import Formatter
from typing import Any, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

NUMBER = re.compile(r"[+-]?\d+(\.\d+)?")

SOURCE_FILE = "source_file"
"""The built-in column that holds the row's file name."""


class Strict(BaseModel):
    """A declaration: unknown keys are mistakes, values do not change."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)


def known_zone(name: str | None) -> str | None:
    """Check that an IANA time zone exists.

    Raises:
        ValueError: When it does not.
    """
    if name is not None:
        try:
            ZoneInfo(name)
        except (ZoneInfoNotFoundError, ValueError, OSError):
            raise ValueError(
                f"`{name}` is no time zone. Use an IANA name such as America/New_York."
            ) from None
    return name


class Value(Strict):
    """A text taken from a row: exactly one of a column, a constant or a template.

    A bare text in the YAML means a column. `extract` keeps the part of the text that its first
    group matches; `map` replaces whole texts and leaves others as they are.
    """

    column: str | None = None
    constant: str | None = None
    template: str | None = None
    extract: str | None = None
    map: dict[str, str] = Field(default_factory=dict)

    @model_validator(mode="before")
    @classmethod
    def _from_text(cls, given: Any) -> Any:
        return {"column": given} if isinstance(given, str) else given

    @field_validator("extract")
    @classmethod
    def _one_group(cls, pattern: str | None) -> str | None:
        if pattern is not None:
            try:
                groups = re.compile(pattern).groups
            except re.error as error:
                raise ValueError(f"not a regular expression: {error}") from None
            if groups != 1:
                raise ValueError("needs exactly one group in parentheses: the part to keep.")
        return pattern

    @model_validator(mode="after")
    def _one_origin(self) -> Value:
        if len(self._origins()) != 1:
            raise ValueError(f"needs exactly one of {', '.join(self._origin_names())}.")
        return self

    def _origin_names(self) -> list[str]:
        return ["column", "constant", "template"]

    def _origins(self) -> list[str]:
        return [name for name in self._origin_names() if getattr(self, name) not in (None, ())]

    @property
    def columns(self) -> list[str]:
        """The source columns that this value reads."""
        if self.template is not None:
            return [name for _, name, _, _ in Formatter().parse(self.template) if name]
        return [self.column] if self.column is not None else []


class Quantity(Value):
    """A quantity: a column, a constant number, or the exact sum of columns.

    `thousands` is a separator to drop (`,` in `1,824`). `nonpositive: keep` lets zeros and
    negatives (voids, credits) into the lake; by default they are rejected, as Open Spanner does.
    """

    sum: tuple[str, ...] = ()
    null_as_zero: tuple[str, ...] = ()
    thousands: str = Field(default="", max_length=1)
    nonpositive: Literal["reject", "keep"] = "reject"

    @model_validator(mode="before")
    @classmethod
    def _from_text(cls, given: Any) -> Any:
        if isinstance(given, str):
            return {"constant": given} if NUMBER.fullmatch(given) else {"column": given}
        return given

    @model_validator(mode="after")
    def _number(self) -> Quantity:
        if self.constant is not None and not NUMBER.fullmatch(self.constant):
            raise ValueError(f"the constant `{self.constant}` is not a number.")
        return self

    def _origin_names(self) -> list[str]:
        return ["column", "constant", "template", "sum"]

    @property
    def columns(self) -> list[str]:
        """The source columns that this quantity reads."""
        return [*super().columns, *self.sum]


class Timestamp(Value):
    """A point in time. Without an offset in the text, `zone` says whose clock it was.

    `format` is `iso8601` or a strptime pattern. An hour that a clock change repeats is rejected
    unless `ambiguous` says which of the two to take; an hour that it skips is rejected.
    """

    format: str = "iso8601"
    zone: str | None = None
    ambiguous: Literal["reject", "earliest", "latest"] = "reject"

    _zone = field_validator("zone")(known_zone)

    @property
    def may_have_offset(self) -> bool:
        """Whether texts of this format can name their own offset from UTC."""
        return self.format == "iso8601" or re.search(r"%[:#]*z|%\+", self.format) is not None


class IdentityPart(Timestamp):
    """One part of a row's identity; numbers and times get one canonical spelling."""

    type: Literal["text", "number", "time"] = "text"


class Filter(Strict):
    """Which rows count. `is` and `not` list texts; `present` asks for any text at all."""

    is_: tuple[str, ...] = Field(default=(), alias="is")
    not_: tuple[str, ...] = Field(default=(), alias="not")
    present: bool | None = None

    @model_validator(mode="before")
    @classmethod
    def _from_text(cls, given: Any) -> Any:
        if isinstance(given, str):
            return {"is": [given]}
        return {"is": given} if isinstance(given, list) else given

    @model_validator(mode="after")
    def _says_something(self) -> Filter:
        if not self.is_ and not self.not_ and self.present is None:
            raise ValueError("says nothing. Give `is`, `not` or `present`.")
        return self


def percentage(text: str) -> Decimal:
    """Read `0.1%` as 0.001 and `0.001` as itself.

    Raises:
        ValueError: When it is neither, or not between 0 and 100 %.
    """
    number = text.removesuffix("%").strip()
    if not re.fullmatch(r"\d+(\.\d+)?", number):
        raise ValueError("write a share such as 0.1% or 0.001.")
    share = Decimal(number) / (100 if text.endswith("%") else 1)
    if share > 1:
        raise ValueError("a share cannot be above 100%.")
    return share
