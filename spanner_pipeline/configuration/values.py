"""How a source's YAML names a value: a column, a constant, a template, an expression.

Belongs here: the declarations. Not here: quantities (`quantity`), nor what they compute
(`sources.mapping`).
"""

from __future__ import annotations

import re
from decimal import Decimal
from itertools import combinations, product
from string import Formatter
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    field_serializer,
    field_validator,
    model_validator,
)

from spanner_pipeline.configuration import expression, patterns

ISO8601 = "iso8601"
EPOCHS = {
    "epoch_seconds": 6,
    "epoch_milliseconds": 3,
    "epoch_microseconds": 0,
    "epoch_nanoseconds": -3,
}
"""Counts since 1970 in UTC, and how many digits after the point a microsecond leaves them; below 0,
how many before it stand for less than a microsecond."""

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


def check_distinct(formats: tuple[str, ...]) -> None:
    """Check that no text of one format is another time under a second one.

    Raises:
        ValueError: When one may be, as 02/01/2024 is under %d/%m/%Y and %m/%d/%Y.
    """
    for one, other in combinations(formats, 2):
        both_count = one in EPOCHS and other in EPOCHS
        told = {ISO8601: patterns.ISO_SPELLINGS, **dict.fromkeys(EPOCHS, (patterns.COUNT,))}
        pairs = product(told.get(one, (one,)), told.get(other, (other,)))
        text = "any count" if both_count else None
        for a, b in pairs:
            text = text or patterns.told_apart_by(a, b)
        if one == other or text is not None:
            why = "is there twice" if one == other else f"and `{other}` both read {text}"
            raise ValueError(
                f"`{one}` {why}, and nobody knows which is meant. Declare one, or tell rows apart "
                "with `where` in two usages."
            )


def known_zone(name: str | None) -> str | None:
    """Check that an IANA time zone exists.

    Raises:
        ValueError: When it does not.
    """
    return None if name is None else patterns.time_zone(name)


class Value(Strict):
    """A text of a row: exactly one of a column, a constant, a template or an expression.

    A bare text in the YAML means a column. `extract` keeps the part of the text that its first
    group matches; `map` replaces whole texts and leaves others as they are.
    """

    column: str | None = None
    constant: str | None = None
    template: str | None = None
    expression: str | None = None
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

    @field_validator("expression")
    @classmethod
    def _computable(cls, text: str | None) -> str | None:
        return None if text is None else expression.checked(text)

    @model_validator(mode="after")
    def _one_origin(self) -> Value:
        if len(self._origins()) != 1:
            raise ValueError(f"needs exactly one of {', '.join(self._origin_names())}.")
        return self

    def _origin_names(self) -> list[str]:
        return ["column", "constant", "template", "expression"]

    def _origins(self) -> list[str]:
        return [name for name in self._origin_names() if getattr(self, name) not in (None, ())]

    @property
    def columns(self) -> list[str]:
        """The source columns that this value reads."""
        if self.template is not None:
            return [name for _, name, _, _ in Formatter().parse(self.template) if name]
        if self.expression is not None:
            return expression.columns_of(self.expression)
        return [self.column] if self.column is not None else []


Condition = Annotated[str, AfterValidator(expression.checked_condition)]
"""An expression that is true for the rows that count; one that is neither true nor false for a row
has it rejected."""


class Timestamp(Value):
    """A point in time. Without an offset in the text, `zone` says whose clock it was.

    `format` is `iso8601`, `epoch_seconds`, `epoch_milliseconds`, `epoch_microseconds`,
    `epoch_nanoseconds` or a strptime pattern; of a list, the first that a text has is meant. An
    hour that a clock change repeats is rejected unless `ambiguous` says which of the two to take;
    an hour that it skips is rejected.
    """

    format: str | tuple[str, ...] = ISO8601
    zone: str | None = None
    ambiguous: Literal["reject", "earliest", "latest"] = "reject"

    _zone = field_validator("zone")(known_zone)

    @field_validator("format", mode="plain")
    @classmethod
    def _readable(cls, given: Any) -> str | tuple[str, ...]:
        several = isinstance(given, list | tuple)
        formats = tuple(given) if several else (given,)
        if not formats or not all(isinstance(one, str) for one in formats):
            raise ValueError("must be a format or a list of formats, such as [iso8601, %d.%m.%Y].")
        for one in formats:
            try:
                if one != ISO8601 and one not in EPOCHS:
                    patterns.time_pattern(one)
            except ValueError as error:
                raise ValueError(f"`{one}`: {error}" if several else str(error)) from None
        check_distinct(formats)
        return formats if several else formats[0]

    @field_serializer("format")
    def _as_in_yaml(self, format_: str | tuple[str, ...]) -> str | list[str]:
        return format_ if isinstance(format_, str) else list(format_)

    @property
    def formats(self) -> tuple[str, ...]:
        """The formats in the order in which they are tried."""
        return (self.format,) if isinstance(self.format, str) else self.format

    @property
    def may_have_offset(self) -> bool:
        """Whether texts of all its formats can be points in time without a declared zone."""
        return all(
            one == ISO8601 or one in EPOCHS or patterns.names_offset(one) for one in self.formats
        )


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
