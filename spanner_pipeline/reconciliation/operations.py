"""What the old system may have done to a sum: other units, rounding, other customers' usage."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal

from spanner_pipeline.reconciliation import plausibility
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

HOWS = ("to the nearest", "up to", "down to")
"""How a number may be rounded."""


@dataclass(frozen=True)
class Operation:
    """The last step to the old number: it makes exactly that of a sum.

    Attributes:
        cause: The cause that it is.
        what: What exactly, for a person, with a place for the names.
        names: What its name may be, where the number cannot tell.
        bits: How much it takes to say it.
        other: The number of the customer whose usage it adds or takes away.
    """

    cause: str
    what: str
    names: tuple[str, ...]
    bits: float
    other: int | None = None

    @property
    def detail(self) -> str:
        """What exactly, for a person."""
        return self.what.format(" or ".join(self.names))

    def key(self, name: str) -> tuple[str, ...]:
        """What tells it from other steps; the same for all numbers."""
        return (self.cause, self.what, name)


def closing(case: Case, total: int) -> Iterator[Operation]:
    """The operations that make the old number of a sum."""
    if total == case.target or not case.old:
        return
    yield from _unit(case, total)
    if rounded := _rounded(case, total):
        yield rounded


def _unit(case: Case, total: int) -> Iterator[Operation]:
    """The old bill counts in units of so many, or so many of its units are one."""
    old = case.target
    if total <= 0 or old <= 0:
        return
    for many in UNITS:
        larger = f"in units of {many:,} of ours"
        if old * many == total:
            yield _in_units(larger)
        elif old == total * many:
            yield _in_units(f"{many:,} where we count 1")
        elif 2 * abs(old * many - total) < total and (  # near enough to have been rounded
            found := _rounds_to(case, total, old, many)
        ):
            unit, hows = found
            yield _in_units(f"{larger}, rounded {' or '.join(hows)} a full {unit}", rounded=True)


def _in_units(what: str, *, rounded: bool = False) -> Operation:
    bits = plausibility.UNIT + rounded
    return Operation(UNIT, "the old bill counts {}", (what,), bits)


def _rounded(case: Case, total: int) -> Operation | None:
    found = _rounds_to(case, total, case.target, 1)
    if found is None:
        return None
    unit, hows = found
    what = f"the old bill rounds {'the daily mean ' if case.mean else ''}{{}} a full {unit}"
    return Operation(ROUNDING, what, hows, plausibility.ROUNDED_TOTAL)


def _rounds_to(case: Case, total: int, old: int, many: int) -> tuple[str, tuple[str, ...]] | None:
    """The unit to which the exact total, in units of so many, is rounded to the old one, and how.

    A unit must be small beside the total: that 3,000 is a full thousand says nothing.
    """
    for unit in ROUNDING_UNITS:
        scaled = unit.scaleb(case.digits)
        if scaled < 1:
            continue
        step = int(scaled) * (case.days if case.mean else 1)
        if old % step or old < 100 * step:
            continue
        quotient, rest = divmod(total, step * many)
        rounded = (quotient + (2 * rest >= step * many), quotient + 1, quotient)
        hows = tuple(how for how, q in zip(HOWS, rounded, strict=True) if q * step == old)
        if rest and hows:
            return _spelled(unit), hows
    return None


def _spelled(unit: Decimal) -> str:
    return f"{unit.normalize():f}" if unit < 1 else f"{int(unit):,}"


def rounded_parts(
    case: Case, days: Mapping[date, int], events: Sequence[Sequence[int]]
) -> Iterator[Operation]:
    """The roundings of each day or each event that make the old number.

    Args:
        case: The number.
        days: Its usage by day.
        events: The sum of its events, rounded to each of `EVENT_UNITS` in each of `HOWS`.
    """
    if case.mean or not case.old:
        return
    for index, unit in enumerate(EVENT_UNITS):
        step = int(unit.scaleb(case.digits))
        if not step or case.old < 100 * step:
            continue
        found = [divmod(quantity, step) for quantity in days.values()]
        sums = (
            sum(q + (2 * rest >= step) for q, rest in found) * step,
            sum(q + (rest > 0) for q, rest in found) * step,
            sum(q for q, _ in found) * step,
        )
        exact = all(not rest for _, rest in found)
        by_event = events[index] if index < len(events) else ()
        for what, values in (("day", () if exact else sums), ("event", by_event)):
            hows = tuple(how for how, v in zip(HOWS, values, strict=False) if v == case.old)
            if hows:
                spelled = f"the old bill rounds each {what} {{}} a full {_spelled(unit)}"
                yield Operation(ROUNDING, spelled, hows, plausibility.ROUNDED_PARTS)
