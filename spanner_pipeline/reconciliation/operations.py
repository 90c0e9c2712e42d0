"""What the old system may have done to a sum: other units, rounding, other customers' usage."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from functools import cache

from spanner_pipeline.reconciliation import plausibility
from spanner_pipeline.reconciliation.atoms import HOWS
from spanner_pipeline.reconciliation.causes import ROUNDING, UNIT
from spanner_pipeline.reconciliation.estimate import Case

UNITS = (8, 60, 100, 1000, 1024, 3600, 10**6, 1024**2, 10**9, 1024**3)
"""How many of one unit another may be."""

ROUNDING_UNITS = (
    *(Decimal(10) ** digits for digits in (9, 6, 3, 2, 1, 0)),
    *(Decimal(1).scaleb(-digits) for digits in range(1, 13)),
    *map(Decimal, (3600, 1024, 60)),
)
"""What a total may be rounded to: powers of ten from the largest, then others."""

EVENT_UNITS = tuple(
    map(Decimal, ("3600", "1024", "1000", "100", "60", "30", "10", "6", "1", "0.01"))
)
"""What events and days may be rounded to, largest first."""


@dataclass(frozen=True)
class Operation:
    """A step from the sum of usage towards the old number: it adds another's, or makes all of it.

    Attributes:
        cause: The cause that it is.
        what: What exactly, for a person, with a place for the names.
        names: What its name may be, where the number cannot tell.
        bits: How much it takes to say it.
        adds: What it adds; None where it makes the old number of any sum.
        other: The number of the customer whose usage that is.
        width: Of how many sums in a row it makes the same, in smallest digits; 1 if it is exact.
        of_parts: Whether it rounds days or events, and not their sum.
    """

    cause: str
    what: str
    names: tuple[str, ...]
    bits: float
    adds: int | None = None
    other: int | None = None
    width: int = 1
    of_parts: bool = False

    @property
    def detail(self) -> str:
        """What exactly, for a person."""
        return self.what.format(" or ".join(self.names))

    @property
    def keys(self) -> tuple[tuple[object, ...], ...]:
        """What tells it from other steps, the same for all numbers; several as `names`."""
        return tuple((self.cause, self.what, name) for name in self.names)


def aims(case: Case, goal: int) -> Iterator[tuple[int, int, int]]:
    """Between what bounds a sum must be, so that an operation may make the goal of it.

    Third, of how many sums in a row such an operation makes the same.
    """
    yield goal, goal, 1
    if not case.old or goal <= 0:
        return
    widest = max((step for _, step in _steps(case, goal)), default=0)
    for many in (1, *UNITS):
        if many > 1:
            yield goal * many, goal * many, 1
        if widest:
            yield (goal - widest) * many, (goal + widest) * many, widest * many
        if many > 1 and goal % many == 0:
            yield goal // many, goal // many, 1


def closing(case: Case, total: int, goal: int) -> Iterator[Operation]:
    """The operations that make the goal of a sum."""
    if total == goal or not case.old:
        return
    yield from _unit(case, total, goal)
    if rounded := _rounded(case, total, goal):
        yield rounded


def _unit(case: Case, total: int, goal: int) -> Iterator[Operation]:
    """The old bill counts in units of so many, or so many of its units are one."""
    if total <= 0 or goal <= 0:
        return
    for many in UNITS:
        larger = f"in units of {many:,} of ours"
        if goal * many == total:
            yield _in_units(larger)
        elif goal == total * many:
            yield _in_units(f"{many:,} where we count 1")
        elif 2 * abs(goal * many - total) < total and (  # near enough to have been rounded
            found := _rounds_to(case, total, goal, many)
        ):
            unit, hows, step = found
            told = f"{larger}, rounded {' or '.join(hows)} a full {unit}"
            yield _in_units(told, width=step * many)


def _in_units(what: str, width: int = 1) -> Operation:
    bits = plausibility.UNIT + (width > 1)
    return Operation(UNIT, "the old bill counts {}", (what,), bits, width=width)


def _rounded(case: Case, total: int, goal: int) -> Operation | None:
    found = _rounds_to(case, total, goal, 1)
    if found is None:
        return None
    unit, hows, step = found
    what = f"the old bill rounds {'the daily mean ' if case.mean else ''}{{}} a full {unit}"
    return Operation(ROUNDING, what, hows, plausibility.ROUNDED_TOTAL, width=step)


def _rounds_to(
    case: Case, total: int, goal: int, many: int
) -> tuple[str, tuple[str, ...], int] | None:
    """The unit to which the exact total, in units of so many, is rounded to the goal, and how.

    Last, how many smallest digits that unit is.
    """
    for unit, step in _steps(case, goal):
        if abs(goal * many - total) >= step * many:
            continue
        quotient, rest = divmod(total, step * many)
        rounded = (quotient + (2 * rest >= step * many), quotient + 1, quotient)
        hows = tuple(how for how, q in zip(HOWS, rounded, strict=True) if q * step == goal)
        if rest and hows:
            return _spelled(unit), hows, step
    return None


def _steps(case: Case, goal: int) -> list[tuple[Decimal, int]]:
    """The units that a goal is a multiple of, and how many smallest digits they are.

    A unit must be small beside it: that 3,000 is a full thousand says nothing.
    """
    scaled = _scaled(case.digits, case.days if case.mean else 1)
    return [(u, step) for u, step in scaled if goal >= 100 * step and not goal % step]


@cache
def _scaled(digits: int, days: int) -> list[tuple[Decimal, int]]:
    scaled = [(unit, int(unit.scaleb(digits)) * days) for unit in ROUNDING_UNITS]
    return [(unit, step) for unit, step in scaled if step]


def _spelled(unit: Decimal) -> str:
    return f"{unit.normalize():f}" if unit < 1 else f"{int(unit):,}"


def part_units(case: Case, goal: int) -> Iterator[tuple[Decimal, int]]:
    """The units to which each day or event may be rounded, if their sum is the goal."""
    for unit in EVENT_UNITS:
        step = int(unit.scaleb(case.digits))
        whole = unit <= 1 and (case.new or 0) % max(step, 1) == 0  # then so are its events
        if step and not whole and not case.mean and goal >= 100 * step and not goal % step:
            yield unit, step


def rounded_to(quantity: int, step: int, how: str) -> int:
    """A quantity rounded to a step in one of `HOWS`."""
    quotient, rest = divmod(quantity, step)
    return (quotient + {HOWS[0]: 2 * rest >= step, HOWS[1]: rest > 0, HOWS[2]: False}[how]) * step


def rounds_parts(what: str, unit: Decimal, step: int, how: str) -> Operation:
    """That each day or each event is rounded."""
    told = f"the old bill rounds each {what} {{}} a full {_spelled(unit)}"
    bits = plausibility.ROUNDED_PARTS
    return Operation(ROUNDING, told, (how,), bits, width=step, of_parts=True)
