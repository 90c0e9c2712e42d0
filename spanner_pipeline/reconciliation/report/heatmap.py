"""The completeness of subjects and days as a picture, and the runs of days that are not complete.

States are told apart by marks, not by colour alone: a cross, a half, a dot, and a full square.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from decimal import Decimal
from typing import Any

from spanner_pipeline.reconciliation.report.completeness import (
    MISSING,
    PARTIAL,
    PRESENT,
    ZERO,
    Completeness,
)
from spanner_pipeline.reconciliation.report.svg import WIDTH, bar, line, picture, text
from spanner_pipeline.reconciliation.spelling import grouped

_LEFT, _TOP, _ROW, _WIDEST = 190, 40, 20, 26
_LONGEST = 24
SHADES = 4
_TICKS_APART = 58
EVERYONE = "all"


def heat_map(found: Completeness, unit: str) -> str:
    """The picture: a row for each subject, a column for each day or month.

    Args:
        found: The completeness.
        unit: What usage is counted in.
    """
    width = min((WIDTH - _LEFT) // len(found.columns), _WIDEST)
    places = {day: _LEFT + width * index for index, day in enumerate(found.columns)}
    rows = {subject: _TOP + _ROW * index for index, subject in enumerate(found.subjects)}
    most = _most(found)
    marks = [*_calendar(found, width)]
    for subject, y in rows.items():
        name = subject or EVERYONE
        cut = f"{name[: _LONGEST - 1]}…" if len(name) > _LONGEST else name
        marks.append(text(_LEFT - 10, y + 14, "name", cut, "end"))
    cells = found.cells.select("subject", "day", "state", "usage", "events").iter_rows()
    for subject, day, state, usage, events in cells:
        label = f"{_named(found, day)}: {state}"
        shade = ""
        if events:
            label += f", {grouped(usage)} {unit}"
            shade = f" shade{_shade(usage, most[subject])}"
        marks += _mark(places[day], rows[subject], width - 1, state, shade, label)
    height = _TOP + _ROW * len(found.subjects) + 6
    says = f"Completeness of {len(found.subjects)} subjects by {found.grain}"
    return picture(height, says, marks, "map")


def legend(state: str, shade: int = 0) -> str:
    """One mark, as large as in the picture, for the text that explains it."""
    marks = "".join(_mark(0, 0, 16, state, f" shade{shade}" if shade else "", ""))
    return f'<svg viewBox="0 0 16 18" class="map mark" aria-hidden="true">{marks}</svg>'


def gap_rows(found: Completeness, most: int) -> list[dict[str, Any]]:
    """Runs of missing and partial days for people, at most so many."""
    rows = []
    for row in found.gaps.head(most).iter_rows(named=True):
        subjects = row["subjects"]
        everyone = len(subjects) == len(found.subjects) > 1
        shown = ", ".join(name or EVERYONE for name in subjects[:5])
        more = f" and {len(subjects) - 5} more" if len(subjects) > 5 else ""
        days = (row["last"] - row["first"]).days + 1
        rows.append(
            {
                **row,
                "who": f"all {len(subjects)} subjects shown" if everyone else shown + more,
                "when": str(row["first"])
                if days == 1
                else f"{row['first']} to {row['last']} ({days} days)",
            }
        )
    return rows


def _named(found: Completeness, day: date) -> str:
    return f"{day:%Y-%m}" if found.grain == "month" else f"{day}"


def _most(found: Completeness) -> dict[str, Decimal | int]:
    return {
        subject: part["usage"].max() or 0  # type: ignore[misc]  # decimals or counts
        for (subject,), part in found.cells.partition_by("subject", as_dict=True).items()
    }


def _shade(usage: Decimal | int | None, most: Decimal | int) -> int:
    """1 to 4: how near usage is to the most that the subject had."""
    if not usage or usage <= 0 or most <= 0:
        return 1
    return min(int(usage * SHADES // most) + 1, SHADES)


def _calendar(found: Completeness, width: int) -> Iterator[str]:
    """Names of years and months above the columns, of days too where there is room."""
    monthly, last = found.grain == "month", -_TICKS_APART
    for index, day in enumerate(found.columns):
        x = _LEFT + width * index
        opens = day.month == 1 if monthly else day.day == 1
        if index == 0 or (opens and x - last >= _TICKS_APART):
            yield text(x, 16, "tick", f"{day:%Y}" if monthly else f"{day:%Y-%m}", "start")
            yield line([(x, 22), (x, _TOP - 4)], "axis")
            last = x
        if not monthly and (width >= 22 or day.day in (10, 20)):
            yield text(x + width // 2, 32, "tick small", str(day.day))
        elif monthly and width >= 22:
            yield text(x + width // 2, 32, "tick small", str(day.month))


def _mark(x: int, y: int, width: int, state: str, shade: str, said: str) -> list[str]:
    """One cell: a square, and on it what tells the states apart without colour."""
    top, height = y + 1, _ROW - 3
    marks = [bar(x, top, width, height, state + (shade if state == PRESENT else ""), said)]
    right, bottom, middle = x + width, top + height, top + height // 2
    if state == MISSING:
        inset = 1 if width < 10 else 3
        half = min(width, height) // 2 - inset
        centre = x + width // 2
        for way in (1, -1):
            ends = [(centre - half, middle - way * half), (centre + half, middle + way * half)]
            marks.append(line(ends, "cross"))
    elif state == PARTIAL:
        marks.append(f'<path d="M{x} {bottom}L{right} {top}L{right} {bottom}Z" class="half"/>')
    elif state == ZERO:
        marks.append(f'<circle cx="{x + width // 2}" cy="{middle}" r="1.5" class="dot"/>')
    return marks
