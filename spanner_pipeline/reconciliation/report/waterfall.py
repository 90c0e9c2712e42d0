"""From the old total to the new: each cause in the declared order, then what is unexplained."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Literal

from spanner_pipeline.control import EXACT
from spanner_pipeline.reconciliation.causes import CAUSES, UNEXPLAINED
from spanner_pipeline.reconciliation.compare import Comparison
from spanner_pipeline.reconciliation.report.svg import WIDTH, Scale, bar, line, picture, text
from spanner_pipeline.reconciliation.spelling import grouped, short, signed

_ROW, _BAR, _TOP, _FOOT = 30, 18, 30, 30
_LEFT, _RIGHT = 212, 770
_LONGEST = 17
"""Longer numbers are shortened in the picture; the table beside it has every digit."""


@dataclass(frozen=True)
class Step:
    """One step of the way.

    Attributes:
        cause: One of `CAUSES`, or `UNEXPLAINED`.
        quantity: Its part of new minus old.
        running: The total after it.
        numbers: How many numbers it concerns.
        known: Of how many of them the rows are on record.
    """

    cause: str
    quantity: Decimal
    running: Decimal
    numbers: int
    known: int = 0


def steps(comparison: Comparison) -> list[Step]:
    """The steps from old to new: causes that occur, and always what is unexplained."""
    sums: dict[str, Decimal] = dict.fromkeys(CAUSES, Decimal(0))
    cells: dict[str, set[int]] = {cause: set() for cause in CAUSES}
    known: dict[str, set[int]] = {cause: set() for cause in CAUSES}
    for found in comparison.causes:
        sums[found.cause] = EXACT.add(sums[found.cause], found.quantity)
        cells[found.cause].add(found.cell)
        if found.known:
            known[found.cause].add(found.cell)
    way, running = [], comparison.old_total
    for cause, quantity in sums.items():
        if cells[cause]:
            running = EXACT.add(running, quantity)
            way.append(Step(cause, quantity, running, len(cells[cause]), len(known[cause])))
    rest = comparison.unexplained
    last = Step(UNEXPLAINED, rest, EXACT.add(running, rest), comparison.residuals.height)
    return [*way, last]


def waterfall(old: Decimal, new: Decimal, way: Sequence[Step], unit: str) -> str:
    """The steps as a picture; empty where there is no step to see.

    Args:
        old: The old total.
        new: The new total.
        way: The steps between them.
        unit: What they are counted in.
    """
    if all(step.quantity == 0 for step in way):
        return ""
    scale, whole = _scale([old, new, *(step.running for step in way)])
    bottom = _TOP + _ROW * (len(way) + 2)
    marks = [text(WIDTH - 4, 18, "soft", f"total so far, {unit}", "end")]
    for tick in scale.ticks(4):
        x = scale.at(tick)
        marks.append(line([(x, _TOP - 4), (x, bottom)], "grid"))
        marks.append(text(x, bottom + 18, "soft", short(tick) if whole else _fitting(tick)))
    marks += _total(0, "Old bill", old, scale, whole=whole)
    before = old
    for row, step in enumerate(way, start=1):
        marks += _step(row, step, before, scale)
        before = step.running
    marks += _total(len(way) + 1, "Lake", new, scale, whole=whole)
    says = f"From the old total {grouped(old)} to the new total {grouped(new)} {unit}, by cause"
    return picture(bottom + _FOOT, says, marks, "waterfall")


def _scale(totals: list[Decimal]) -> tuple[Scale, bool]:
    """A scale from zero, or, where steps would be too small to see on it, one that does not."""
    low, high = min(totals), max(totals)
    span = high - low
    if low <= 0 <= high or span * 3 >= max(abs(low), abs(high)):
        return Scale(min(low, Decimal(0)), max(high, Decimal(0)), _LEFT, _RIGHT), True
    room = span / 3 if low > 0 else Decimal(0), span / 3 if high < 0 else Decimal(0)
    return Scale(low - room[0], high + room[1], _LEFT, _RIGHT), False


def _total(row: int, name: str, total: Decimal, scale: Scale, *, whole: bool) -> list[str]:
    y = _TOP + _ROW * row
    begins = scale.at(Decimal(0)) if whole else _LEFT if total > 0 else _RIGHT
    ends = scale.at(total)
    middle = y + _ROW // 2
    kind = "old" if row == 0 else "new"
    marks = [
        text(_LEFT - 12, middle + 5, "name total", name, "end"),
        bar(min(begins, ends), y + 6, max(abs(ends - begins), 1), _BAR, kind, grouped(total)),
        text(WIDTH - 4, middle + 5, "digits total", _fitting(total), "end"),
    ]
    if not whole:  # torn off: the bar does not begin at zero
        at = begins + (14 if total > 0 else -14)
        marks.append(
            line([(at, y + 3), (at + 6, middle - 2), (at, middle + 2), (at + 6, y + 27)], "torn")
        )
    if row == 0:
        marks.append(line([(ends, y + 6 + _BAR), (ends, y + _ROW + 6)], "link"))
    return marks


def _step(row: int, step: Step, before: Decimal, scale: Scale) -> list[str]:
    y = _TOP + _ROW * row
    begins, ends = scale.at(before), scale.at(step.running)
    left, width = min(begins, ends), max(abs(ends - begins), 2)
    kind = "rest" if step.cause == UNEXPLAINED else "more" if step.quantity >= 0 else "less"
    label = _fitting(step.quantity, plus=True)
    room = 8 * len(label) + 8
    spot: tuple[int, str, Literal["start", "end"]]
    if left + width + room <= _RIGHT + 30:
        spot = left + width + 8, "digits", "start"
    elif left - room >= _LEFT:
        spot = left - 8, "digits", "end"
    else:  # the bar is nearly as wide as the picture
        spot = left + width - 8, f"digits on-{kind}", "end"
    at, place, anchor = spot
    marks = [
        text(_LEFT - 12, y + _ROW // 2 + 5, "name", step.cause.capitalize(), "end"),
        text(at, y + _ROW // 2 + 5, place, label, anchor),
        text(WIDTH - 4, y + _ROW // 2 + 5, "digits", _fitting(step.running), "end"),
        line([(ends, y + 6 + _BAR), (ends, y + _ROW + 6)], "link"),
    ]
    if step.quantity:
        said = f"{step.cause}: {signed(step.quantity)}"
        marks.insert(0, bar(left, y + 6, width, _BAR, kind, said))
    return marks


def _fitting(number: Decimal, *, plus: bool = False) -> str:
    text_ = signed(number) if plus else grouped(number)
    if len(text_) <= _LONGEST:
        return text_
    return f"{'+' if plus and number > 0 else ''}{short(number)}"
