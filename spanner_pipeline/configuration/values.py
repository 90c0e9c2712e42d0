"""How a source's YAML names a value: a column, a constant, a template.

Belongs here: the declarations. Not here: quantities (`quantity`), nor what they compute
(`sources.mapping`).
"""

from __future__ import annotations

import re
from decimal import Decimal
from string import Formatter
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    field_validator,
    model_validator,
)

from spanner_pipeline.configuration import patterns

ISO8601 = "iso8601"
EPOCHS = {"epoch_seconds": 6, "epoch_milliseconds": 3}
"""Counts since 1970 in UTC, and how many digits after the point a microsecond leaves them."""

SOURCE_FILE = "source_file"
"""The built-in column that holds the row's file name."""


Mistake = tuple[tuple[str | int, ...], str]
"""A key path below a model, and what is wrong there and what to write instead."""


class MistakesError(ValueError):
    """Mistakes that a model finds below itself."""

    def __init__(self, found: list[Mistake]) -> None:
        """Keep them for the document, which knows their lines."""
        self.found = found
        super().__init__("; ".join(message for _, message in found))


class Strict(BaseModel):
    """A declaration: unknown keys are mistakes, values do not change."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)


def known_zone(name: str | None) -> str | None:
    """Check that an IANA time zone exists.

    Raises:
        ValueError: When it does not.
    """
    return None if name is None else patterns.time_zone(name)


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
        return None if pattern is None else patterns.one_group(pattern)

    @field_validator("template")
    @classmethod
    def _of_columns(cls, template: str | None) -> str | None:
        return None if template is None else patterns.template(template)

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


class Timestamp(Value):
    """A point in time. Without an offset in the text, `zone` says whose clock it was.

    `format` is `iso8601`, `epoch_seconds`, `epoch_milliseconds` or a strptime pattern. An hour that
    a clock change repeats is rejected unless `ambiguous` says which of the two to take; an hour
    that it skips is rejected.
    """

    format: str = ISO8601
    zone: str | None = None
    ambiguous: Literal["reject", "earliest", "latest"] = "reject"

    _zone = field_validator("zone")(known_zone)

    @field_validator("format")
    @classmethod
    def _readable(cls, format_: str) -> str:
        named = format_ == ISO8601 or format_ in EPOCHS
        return format_ if named else patterns.time_pattern(format_)

    @property
    def may_have_offset(self) -> bool:
        """Whether texts of this format can be points in time without a declared zone."""
        return self.format == ISO8601 or self.format in EPOCHS or patterns.names_offset(self.format)


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


Share = Annotated[Decimal, BeforeValidator(percentage)]


def complete_date(text: str) -> str:
    """Complete `2013` and `2013-02` to the first day of that period."""
    if re.fullmatch(r"\d{4}", text):
        return f"{text}-01-01"
    return f"{text}-01" if re.fullmatch(r"\d{4}-\d{2}", text) else text
