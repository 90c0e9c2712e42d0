"""What the old system may have done to a sum: other units, rounding, other customers' usage."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
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

_HOWS = ("down to", "to the nearest", "up to")


@dataclass(frozen=True)
class Operation:
    """The last step to the old number: it makes exactly that of a sum.

    Attributes:
        cause: The cause that it is.
        detail: What exactly, for a person.
        key: What tells it from others; the same for all numbers.
        bits: How much it takes to say it.
        other: The number of the customer whose usage it adds or takes away.
    """

    cause: str
    detail: str
    key: tuple[str, ...]
    bits: float
    other: int | None = None


def closing(case: Case, total: int) -> Iterator[Operation]:
    """The operations that make the old number of a sum."""
    if total == case.target or not case.old:
        return
    yield from _unit(case, total)
    if how := _rounded(case, total):
        yield how


def _unit(case: Case, total: int) -> Iterator[Operation]:
    """The old bill counts in units of so many, or so many of its units are one."""
    old = case.target
    if total <= 0 or old <= 0:
        return
    for many in UNITS:
        if old * many == total:
            yield _in_units(f"1/{many}", f"in units of {many:,} of ours", "")
        elif old == total * many:
            yield _in_units(str(many), f"{many:,} where we count 1", "")
        elif 2 * abs(old * many - total) < total and (  # near enough to have been rounded
            how := _rounds_to(case, total, old, many)
        ):
            yield _in_units(f"1/{many}", f"in units of {many:,} of ours", f", rounded {how}")


def _in_units(key: str, what: str, rounded: str) -> Operation:
    detail = f"the old bill counts {what}{rounded}"
    return Operation(UNIT, detail, (UNIT, key), plausibility.UNIT + bool(rounded))


def _rounded(case: Case, total: int) -> Operation | None:
    how = _rounds_to(case, total, case.target, 1)
    if how is None:
        return None
    what = "the daily mean " if case.mean else ""
    detail = f"the old bill rounds {what}{how}"
    return Operation(ROUNDING, detail, (ROUNDING, how), plausibility.ROUNDED_TOTAL)


def _rounds_to(case: Case, total: int, old: int, many: int) -> str | None:
    """How the exact total, in units of so many, is rounded to the old one; by the largest unit.

    A unit must be small beside the total: that 3,000 is a full thousand says nothing.
    """
    for unit in ROUNDING_UNITS:
        scaled = unit.scaleb(case.digits)
        if scaled < 1:
            continue
        step = int(scaled) * (case.days if case.mean else 1)
        if old % step or old < 100 * step:
            continue
        width = step * many
        quotient, rest = divmod(total, width)
        if not rest:
            continue
        rounded = (quotient, quotient + (2 * rest >= width), quotient + 1)
        names = [n for n, q in zip(_HOWS, rounded, strict=True) if q * step == old]
        if names:
            spelled = " or ".join(sorted(names, key=("to the nearest", "up to", "down to").index))
            return _spelled(spelled, unit)
    return None


def _spelled(how: str, unit: Decimal) -> str:
    how = how.replace("to the nearest or ", "to the nearest or ")
    plain = f"{unit.normalize():f}" if unit < 1 else f"{int(unit):,}"
    return f"{how} a full {plain}"


def rounded_parts(
    case: Case, days: Mapping[object, int], events: Sequence[Sequence[int]] | None
) -> Iterator[Operation]:
    """The roundings of each day or each event that make the old number.

    Args:
        case: The number.
        days: Its usage by day.
        events: The sum of its events, rounded to each of `EVENT_UNITS` down, nearest and up.
    """
    for index, unit in enumerate(EVENT_UNITS):
        step = int(unit.scaleb(case.digits))
        if not step or case.mean or not case.old or case.old < 100 * step:
            continue
        found = [(quantity // step, quantity % step) for quantity in days.values()]
        sums = (
            sum(q for q, _ in found) * step,
            sum(q + (2 * rest >= step) for q, rest in found) * step,
            sum(q + (rest > 0) for q, rest in found) * step,
        )
        exact = any(rest for _, rest in found)
        for what, values in (("day", sums), ("event", events[index] if events else ())):
            names = [n for n, v in zip(_HOWS, values, strict=False) if v == case.old]
            if names and (exact or what == "event"):
                how = _spelled(" or ".join(names), unit)
                key = (ROUNDING, what, how)
                yield Operation(
                    ROUNDING,
                    f"the old bill rounds each {what} {how}",
                    key,
                    plausibility.ROUNDED_PARTS,
                )
