"""Which columns may be subject, quantity and timestamp: by what they hold, then by their names.

These are guesses that a person confirms, unlike the proofs of `identity`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from spanner_pipeline.profiling.columns import Column

_SUBJECT = (
    r"customer|subject|tenant|client|company|(usage|sub) account|organi[sz]ation",
    r"account|\borg\b|subscri(ber|ption)",
    r"project|team|workspace|user|vendor|payer|member|host|device|api key",
)
_QUANTITY = (
    r"quantity|qty|usage amount|consumed|\bunits\b|tokens|bytes|^usage$|volume",
    r"amount|count|duration|seconds|hours|requests|distance|credits|total|cost|value|trips",
)
_TIME = (
    r"^(event |usage )?(timestamp|time|ts|date)$|usage (start|date|time)|charge period start|"
    r"interval usage start|pickup|event time|start time|start date time",
    r"start|time|date|created|occurred|at$|period",
)
"""Words of names, the likeliest first."""

_NOT_SUBJECT = re.compile(r"name|email|description|type|status|address|currency|alias|agent|flag")
_NOT_QUANTITY = re.compile(r"price|rate\b|\bid\b|code|factor|unit\b|year|month|status|version|line")
_NOT_TIME = re.compile(
    r"end|drop|updated|modified|export|received|ingest|billing period|invoice|bill |due|issue"
)
_LISTED = 4
_FEW = 50
"""Values of a dimension; more make usage too fine to sum."""


@dataclass(frozen=True)
class Roles:
    """The likeliest columns of each role, the best first.

    Attributes:
        subjects: Whose usage it is.
        quantities: How much.
        timestamps: When.
        dimensions: Texts of few values, by which usage may be told apart.
    """

    subjects: tuple[Column, ...]
    quantities: tuple[Column, ...]
    timestamps: tuple[Column, ...]
    dimensions: tuple[Column, ...]

    @property
    def subject(self) -> Column | None:
        """The likeliest."""
        return next(iter(self.subjects), None)

    @property
    def quantity(self) -> Column | None:
        """The likeliest, where its name says clearly that it is one."""
        first = next(iter(self.quantities), None)
        return first if first and re.search(_QUANTITY[0], _words(first.name)) else None

    @property
    def timestamp(self) -> Column | None:
        """The likeliest."""
        return next(iter(self.timestamps), None)


def find_roles(columns: Iterable[Column]) -> Roles:
    """Guess the roles of columns."""
    filled = [column for column in columns if column.distinct]
    times = [c for c in filled if c.kind.family == "time"]
    numbers = [c for c in filled if c.kind.family == "number"]
    named = [c for c in filled if c.kind.family != "time" and not c.is_measure]
    subjects = _ranked(named, _SUBJECT, _NOT_SUBJECT)
    quantities = [c for c in _ranked(numbers, _QUANTITY, _NOT_QUANTITY) if c not in subjects[:1]]
    taken = [*subjects[:1], *quantities[:1]]
    dimensions = [
        c for c in filled if c.kind.family == "text" and 1 < c.distinct <= _FEW and c not in taken
    ]
    return Roles(
        tuple(subjects[:_LISTED]),
        tuple(quantities[:_LISTED]),
        tuple(_ranked(times, _TIME, _NOT_TIME, of_any_name=True)[:_LISTED]),
        tuple(dimensions),
    )


def _words(name: str) -> str:
    """The words of a column's name, in lower case: `lineItem/UsageAmount` is `usage amount`."""
    last = re.split(r"[./]", name)[-1]
    apart = re.sub(r"([a-z0-9])([A-Z])", r"\1 \2", last)
    return re.sub(r"[_\-\s]+", " ", apart).strip().lower()


def _ranked(
    columns: list[Column],
    likely: tuple[str, ...],
    never: re.Pattern[str],
    *,
    of_any_name: bool = False,
) -> list[Column]:
    """The columns whose names speak for a role, the best first; then others where allowed."""

    def rank(column: Column) -> int:
        words = _words(column.name)
        if never.search(words):
            return len(likely) + 1
        return next((n for n, one in enumerate(likely) if re.search(one, words)), len(likely))

    ranked = sorted(
        ((rank(c), c.nulls * 2 > c.rows, c.constant, c.place, c) for c in columns),
        key=lambda found: found[:4],
    )
    return [c for found, _, _, _, c in ranked if of_any_name or found < len(likely)]
