"""Pictures as inline SVG: marks, and the scale that places quantities on them.

Belongs here: what every picture needs. All places are whole units of a drawing, computed from exact
decimals; colours and patterns are classes that the page's style sheet knows.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from html import escape
from typing import Literal

from spanner_pipeline.usage.aggregations import ROUNDING

WIDTH = 960
"""The width of every picture, in units of a drawing."""


class Scale:
    """From quantities to places."""

    def __init__(self, low: Decimal, high: Decimal, begins: int, ends: int) -> None:
        """Lay `low` to `high` on the places `begins` to `ends`, which may run backwards."""
        self.low, self.high = low, high
        self._begins, self._length = begins, ends - begins
        self._span = (high - low) or Decimal(1)

    def at(self, value: Decimal) -> int:
        """The place of a quantity."""
        way = ROUNDING.divide(ROUNDING.subtract(value, self.low) * self._length, self._span)
        return self._begins + int(way.to_integral_value())

    def ticks(self, most: int) -> list[Decimal]:
        """Round quantities along the scale, at most so many."""
        power = self._span.adjusted() - 1
        steps = (Decimal(n).scaleb(power + more) for more in range(3) for n in (1, 2, 5))
        step = next(s for s in steps if ROUNDING.divide(self._span, s) <= most)
        first = ROUNDING.divide(self.low, step).to_integral_value(ROUND_CEILING)
        last = ROUNDING.divide(self.high, step).to_integral_value(ROUND_FLOOR)
        return [(first + n) * step for n in range(int(last - first) + 1)]


def picture(height: int, says: str, marks: Iterable[str], kind: str = "") -> str:
    """An SVG that fits the width of its place.

    Args:
        height: Its height, in units of a drawing.
        says: What it shows, for those who cannot see it.
        marks: What is on it.
        kind: Its class.
    """
    return (
        f'<svg viewBox="0 0 {WIDTH} {height}" role="img" class="{kind}" '
        f'aria-label="{escape(says)}">{"".join(marks)}</svg>'
    )


def text(
    x: int, y: int, kind: str, said: str, anchor: Literal["start", "middle", "end"] = "middle"
) -> str:
    """A text at a place."""
    return f'<text x="{x}" y="{y}" class="{kind}" text-anchor="{anchor}">{escape(said)}</text>'


def bar(x: int, y: int, width: int, height: int, kind: str, said: str = "") -> str:
    """A rectangle, with what it says to who points at it."""
    place = f'<rect x="{x}" y="{y}" width="{width}" height="{height}" class="{kind}"'
    return f"{place}><title>{escape(said)}</title></rect>" if said else f"{place}/>"


def line(points: Sequence[tuple[int, int]], kind: str) -> str:
    """A line through places."""
    way = " ".join(f"{'L' if index else 'M'}{x} {y}" for index, (x, y) in enumerate(points))
    return f'<path d="{way}" class="{kind}"/>'
