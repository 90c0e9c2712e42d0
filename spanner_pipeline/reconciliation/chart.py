"""The picture of a report: old and new totals of each period, as an inline SVG."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from decimal import Decimal
from html import escape

import polars as pl

from spanner_pipeline.control import EXACT, exact_sum

MOST_PERIODS = 36
_WIDTH, _HEIGHT, _BOTTOM, _TOP, _LEFT = 960, 260, 210, 24, 8
_LABELLED = 12
"""More labels than these would overlap."""


def period_chart(cells: pl.DataFrame, unit: str, label: Callable[[date], str]) -> str:
    """Paired bars of the latest periods; under each the difference of the two.

    Args:
        cells: The cells of a comparison.
        unit: The meter's unit.
        label: How a period is called.
    """
    periods = [
        (label(period), exact_sum(part["old"]), exact_sum(part["new"]))
        for (period,), part in sorted(cells.partition_by("period", as_dict=True).items())
    ][-MOST_PERIODS:]
    if not periods:
        return ""
    totals = [total for _, *both in periods for total in both]
    scale = _Scale(max(*totals, Decimal(0)), min(*totals, Decimal(0)))
    slot = (_WIDTH - 2 * _LEFT) / len(periods)
    bar = min(slot * 0.32, 56)
    parts = [
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" '
        f'aria-label="Old and new totals by period, in {escape(unit)}">',
        f'<line x1="0" y1="{scale.floor}" x2="{_WIDTH}" y2="{scale.floor}" class="axis"/>',
    ]
    step = -(-len(periods) // _LABELLED)
    for index, (name, old, new) in enumerate(periods):
        middle = _LEFT + slot * (index + 0.5)
        for value, side, x in ((old, "old", middle - bar - 1), (new, "new", middle + 1)):
            y = scale.y(value)
            parts.append(
                f'<rect x="{x:.1f}" y="{min(y, scale.floor)}" width="{bar:.1f}" '
                f'height="{abs(y - scale.floor)}" class="{side}">'
                f"<title>{escape(name)} {side}: {_short(value)}</title></rect>"
            )
        if index % step == 0:
            gap = EXACT.subtract(new, old)
            difference = "=" if gap == 0 else f"{'+' if gap > 0 else ''}{_short(gap)}"
            state = "even" if gap == 0 else "off"
            parts += [
                _text(middle, _BOTTOM + 18, "tick", name),
                _text(middle, _BOTTOM + 38, f"gap {state}", difference),
            ]
            if step == 1:
                top = min(scale.y(old), scale.y(new), scale.floor) - 7
                parts.append(_text(middle, top, "tick", _short(new)))
    return "".join([*parts, "</svg>"])


class _Scale:
    """From totals to heights; the axis is where 0 is."""

    def __init__(self, highest: Decimal, lowest: Decimal) -> None:
        self._highest = highest
        self._span = (highest - lowest) or Decimal(1)
        self.floor = self.y(Decimal(0)) if highest > lowest else _BOTTOM

    def y(self, value: Decimal) -> int:
        return _TOP + int((self._highest - value) * (_BOTTOM - _TOP) / self._span)


def _text(x: float, y: int, kind: str, text: str) -> str:
    return f'<text x="{x:.1f}" y="{y}" class="{kind}">{escape(text)}</text>'


def _short(value: Decimal) -> str:
    """A number for a label: about three digits, a unit and a true minus sign."""
    size = abs(value)
    for power, letter in ((12, " T"), (9, " G"), (6, " M"), (3, " k"), (0, "")):
        if size >= Decimal(10) ** power:
            text = f"{size / Decimal(10) ** power:,.2f}".rstrip("0").rstrip(".") + letter
            break
    else:
        text = f"{size:.3g}" if size else "0"
    return f"−{text}" if value < 0 else text
