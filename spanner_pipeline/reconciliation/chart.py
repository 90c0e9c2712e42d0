"""The picture of a report: old and new totals of each period, as an inline SVG."""

from __future__ import annotations

from decimal import Decimal
from html import escape

import polars as pl

from spanner_pipeline.control import EXACT, exact_sum

MOST_PERIODS = 36
_WIDTH, _HEIGHT, _FLOOR, _TOP, _LEFT = 960, 260, 210, 24, 8


def period_chart(cells: pl.DataFrame, unit: str) -> str:
    """Paired bars of the latest periods; under each the difference of the two."""
    periods = [
        (period, exact_sum(part["old"]), exact_sum(part["new"]))
        for (period,), part in sorted(cells.partition_by("period", as_dict=True).items())
    ][-MOST_PERIODS:]
    if not periods:
        return ""
    highest = max((max(old, new) for _, old, new in periods), default=Decimal(0)) or Decimal(1)
    slot = (_WIDTH - 2 * _LEFT) / len(periods)
    bar = min(slot * 0.32, 56)
    parts = [
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" '
        f'aria-label="Old and new totals by period, in {escape(unit)}">',
        f'<line x1="0" y1="{_FLOOR}" x2="{_WIDTH}" y2="{_FLOOR}" class="axis"/>',
    ]
    step = max(1, len(periods) // 12)
    for index, (period, old, new) in enumerate(periods):
        middle = _LEFT + slot * (index + 0.5)
        for value, name, x in ((old, "old", middle - bar - 1), (new, "new", middle + 1)):
            height = _height(value, highest)
            parts.append(
                f'<rect x="{x:.1f}" y="{_FLOOR - height}" width="{bar:.1f}" height="{height}" '
                f'class="{name}"><title>{period} {name}: {_short(value)}</title></rect>'
            )
        if index % step == 0:
            gap = EXACT.subtract(new, old)
            label = "=" if gap == 0 else f"{'+' if gap > 0 else '−'}{_short(abs(gap))}"
            state = "even" if gap == 0 else "off"
            parts += [
                f'<text x="{middle:.1f}" y="{_FLOOR + 18}" class="tick">{_label(period)}</text>',
                f'<text x="{middle:.1f}" y="{_FLOOR + 38}" class="gap {state}">{label}</text>',
            ]
            if len(periods) <= 12:
                top = _FLOOR - _height(max(old, new), highest) - 7
                parts.append(f'<text x="{middle:.1f}" y="{top}" class="tick">{_short(new)}</text>')
    return "".join([*parts, "</svg>"])


def _height(value: Decimal, highest: Decimal) -> int:
    return max(0, int(value * (_FLOOR - _TOP) / highest))


def _label(period: object) -> str:
    text = str(period)
    return text[:7] if text.endswith("-01") else text[5:]


def _short(value: Decimal) -> str:
    """A number for a label: three or four digits and a unit."""
    for power, letter in ((12, "T"), (9, "G"), (6, "M"), (3, "k")):
        if abs(value) >= Decimal(10) ** power:
            return f"{value / Decimal(10) ** power:.2f} {letter}"
    return f"{value.normalize():f}"
