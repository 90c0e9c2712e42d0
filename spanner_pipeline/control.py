"""Control totals: law 1. What is read equals what became of it, in rows and in quantity.

All sums are exact: additions that would lose a digit raise.
"""

from __future__ import annotations

import decimal
from collections.abc import Mapping
from dataclasses import dataclass, fields
from decimal import Decimal

import polars as pl

from spanner_pipeline.errors import ConservationError
from spanner_pipeline.meters import MAX_PRECISION

EXACT = decimal.Context(
    prec=400, traps=[decimal.Inexact, decimal.Overflow, decimal.InvalidOperation]
)


@dataclass(frozen=True)
class Total:
    """A number of rows and the exact sum of their quantities."""

    rows: int = 0
    quantity: Decimal = Decimal(0)

    def __add__(self, other: Total) -> Total:
        """Add both parts."""
        return Total(self.rows + other.rows, EXACT.add(self.quantity, other.quantity))

    def __sub__(self, other: Total) -> Total:
        """Take both parts away."""
        return Total(self.rows - other.rows, EXACT.subtract(self.quantity, other.quantity))


@dataclass(frozen=True)
class ControlTotals:
    """What became of the rows that were read; unreadable quantities count as 0 throughout."""

    read: Total = Total()
    new: Total = Total()
    present: Total = Total()
    corrected: Total = Total()
    conflicting: Total = Total()
    rejected: Total = Total()
    out_of_scope: Total = Total()

    def __add__(self, other: ControlTotals) -> ControlTotals:
        """Add each total."""
        pairs = {f.name: getattr(self, f.name) + getattr(other, f.name) for f in fields(self)}
        return ControlTotals(**pairs)

    def check(self, what: str) -> None:
        """Check that what was read equals the sum of its outcomes.

        Raises:
            ConservationError: When rows or quantity differ.
        """
        outcome = Total()
        for part in fields(self)[1:]:
            outcome += getattr(self, part.name)
        if (outcome.rows, outcome.quantity.normalize(EXACT)) != (
            self.read.rows,
            self.read.quantity.normalize(EXACT),
        ):
            raise ConservationError(
                f"{what}: read {self.read.rows} rows with quantity {self.read.quantity}, but "
                f"{outcome.rows} rows with quantity {outcome.quantity} are accounted for. "
                "Nothing was merged. This is a defect; please report it with these files."
            )

    def replayed(self) -> ControlTotals:
        """The totals of the same delivery imported again: all that entered is already present."""
        present = self.new + self.present + self.corrected
        return ControlTotals(
            self.read, Total(), present, Total(), self.conflicting, self.rejected, self.out_of_scope
        )


@dataclass(frozen=True)
class Replacement:
    """What a snapshot did to the scopes that it states, in rows and quantity.

    Attributes:
        scopes: How many scopes it states.
        stale: How many of them a later delivery had stated already; these stay as they are.
        before: What the lake held of the others.
        added: Rows that were not there.
        changed: Rows that say something else than before: what they say now.
        replaced: The same rows, as they were before.
        removed: Rows that it does not have any more.
        after: What it says, and the lake holds now.
    """

    scopes: int = 0
    stale: int = 0
    before: Total = Total()
    added: Total = Total()
    changed: Total = Total()
    replaced: Total = Total()
    removed: Total = Total()
    after: Total = Total()

    def __add__(self, other: Replacement) -> Replacement:
        """Add each part."""
        return Replacement(
            **{f.name: getattr(self, f.name) + getattr(other, f.name) for f in fields(self)}
        )

    def check(self, what: str) -> None:
        """Check that what was there, but for what left, and what entered, is what it says.

        Raises:
            ConservationError: When rows or quantity differ.
        """
        made = self.before + self.added + self.changed - self.replaced - self.removed
        if made != self.after:
            raise ConservationError(
                f"{what}: the lake would hold {made}, but the delivery says {self.after}. Nothing "
                "was committed. This is a defect; please report it with these files."
            )

    def replayed(self) -> Replacement:
        """The same delivery once more: nothing changes."""
        return Replacement(self.scopes, self.stale, before=self.after, after=self.after)


def exact_sum(quantities: pl.Series) -> Decimal:
    """The exact sum of a decimal column, nulls as 0, without the wrap-around of 128 bits."""
    if sums_fit(quantities):
        return Decimal(str(quantities.sum()))
    total = Decimal(0)
    for value in quantities.drop_nulls():
        total = EXACT.add(total, value)
    return total


def sums_fit(quantities: pl.Series) -> bool:
    """Whether Polars can add any of a decimal column's values without a wrap-around."""
    low, high = quantities.min(), quantities.max()
    if low is None:
        return True
    assert isinstance(low, Decimal)
    assert isinstance(high, Decimal)
    scale = quantities.dtype.scale if isinstance(quantities.dtype, pl.Decimal) else 0
    largest = max(abs(low), abs(high))
    return bool(largest * quantities.len() < 10 ** (MAX_PRECISION - scale - 1))


def totals_by_file(frame: pl.DataFrame) -> Mapping[str, Total]:
    """Rows and quantity of each source file in a frame of events."""
    return {
        str(file): Total(part.height, exact_sum(part["quantity"]))
        for (file,), part in frame.select("source_file", "quantity")
        .partition_by("source_file", as_dict=True)
        .items()
    }
