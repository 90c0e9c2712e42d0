"""When something is started by itself, as cron spells it."""

from __future__ import annotations

import re

NIGHTLY = "0 2 * * *"
"""When the imports of a source start where it declares nothing, in UTC."""

_FIELDS = (
    ("minute", 0, 59),
    ("hour", 0, 23),
    ("day of the month", 1, 31),
    ("month", 1, 12),
    ("day of the week", 0, 6),
)
_LONGEST = {2: 29, 4: 30, 6: 30, 9: 30, 11: 30}
_PART = re.compile(r"(?:(\*)|(\d{1,2})(?:-(\d{1,2}))?)(?:/(\d{1,2}))?")


def cron(text: str) -> str:
    """Check a cron schedule of five fields: numbers, lists, ranges and steps.

    Raises:
        ValueError: When it is none, or names a day that no year has.
    """
    fields = text.split()
    if len(fields) != len(_FIELDS):
        raise ValueError(
            f"must have five fields, minute hour day month weekday, such as `{NIGHTLY}`."
        )
    _, _, days, months, _ = (
        _values(field, *known) for field, known in zip(fields, _FIELDS, strict=True)
    )
    if fields[4] == "*" and all(min(days) > _LONGEST.get(month, 31) for month in months):
        raise ValueError("names a day that its months do not have, so it would never start.")
    return " ".join(fields)


def _values(field: str, name: str, low: int, high: int) -> set[int]:
    found: set[int] = set()
    for part in field.split(","):
        read = _PART.fullmatch(part)
        if read is None:
            raise ValueError(
                f"has a field for the {name} that is no number, list, range or step: {part}."
            )
        anything, first, last, step = read.groups()
        start = low if anything else int(first)
        end = high if anything or (step and not last) else int(last or first)
        if not low <= start <= end <= high or step == "0" or step == "00":
            raise ValueError(
                f"has a field for the {name} beyond {low} to {high}, or a step of 0: {part}."
            )
        found |= set(range(start, end + 1, int(step or 1)))
    return found
